"""What a stream sends: each message is made once, and has only what its readers do not know."""

import json

from restbroker.web.live import Shown


def test_a_message_is_written_once_for_all_who_know_the_same_and_has_only_what_they_do_not() -> None:
    first = Shown(-1, {}, {}).after(3, {"a": "1", "b": "2"})
    second = first.after(4, {"a": "1", "b": "3"})
    assert json.loads(first.message(-1).removeprefix(b"data: ")) == {"a": "1", "b": "2"}
    assert first.message(3) == b""
    assert json.loads(second.message(3).removeprefix(b"data: ")) == {"b": "3"}
    assert json.loads(second.message(-1).removeprefix(b"data: ")) == {"a": "1", "b": "3"}
    assert second.message(3) is second.message(3)
    assert second.message(4) == b""
