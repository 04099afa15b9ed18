"""What a cause of failed jobs says to do."""

import pytest

from restbroker.console import causes
from restbroker.operate.summary import Cause


@pytest.mark.parametrize(
    ("message", "has_hint"),
    [
        ("The server has no host x. Correct the host, or add it.", False),
        ("Correct the host.", False),
        ("The server has no host x.", True),
        ("It is Incorrect there.", True),
        (None, True),
    ],
)
def test_what_the_message_says_to_do_is_not_said_again(message: str | None, has_hint: bool) -> None:
    cause = Cause("g", "k", None, "one", "register", "UnknownHost", message)
    text = causes.hint(cause)
    assert (text is not None) == has_hint
    assert text is None or text.startswith("Correct ")
