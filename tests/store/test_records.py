"""What is written down for people: what they did, and when tokens were last used."""

import pytest

from restbroker.errors import StoreRefused
from restbroker.operate.audit import MOST_JIDS, AuditEntry, entries, write
from restbroker.store.client import Client
from restbroker.store.tokens import last_uses, remember
from tests.store.pools import Server


def test_a_note_reads_back_as_it_was_written_with_redis_time(client: Client, server: Server) -> None:
    note = AuditEntry(
        who="ann@web1", action="retry", place="dead", state="begun", where="error = BadToken", why="mended",
        done=1, refused=2, gone=3, jids=("j1", "j2"),
    )  # fmt: skip
    name = write(client, note)
    (written,) = entries(client, 10)
    assert (written.name, written.note) == (name, note)
    assert abs(written.at_s - server.now_us() / 1e6) < 5


def test_notes_come_newest_first_over_pages_and_no_more_than_asked_for(client: Client) -> None:
    names = [write(client, AuditEntry(who="ann", action="delete", place="dead", done=n)) for n in range(450)]
    assert [written.name for written in entries(client, 430)] == names[:19:-1]
    assert [written.name for written in entries(client, 5, before=names[3])] == names[2::-1]


def test_what_others_wrote_there_is_read_all_the_same(client: Client, server: Server) -> None:
    server.raw.xadd("ns:restbroker:audit", {"who": b"\xff", "done": "many", "state": "odd", "x": "y"})
    (written,) = entries(client, 10)
    assert (written.note.done, written.note.state, written.note.action) == (0, "done", "")


def test_what_is_written_has_bounds_and_no_line_breaks_or_credentials(client: Client) -> None:
    jids = tuple(f"j {n}" for n in range(MOST_JIDS + 5))
    where = "message ~ Basic dXNlcjpwYXNz" + "x" * 1000
    write(client, AuditEntry(who="ann\nroot", action="retry", place="dead", where=where, jids=jids))
    (written,) = entries(client, 1)
    assert written.note.who == "ann root"
    assert written.note.jids == tuple(f"j_{n}" for n in range(MOST_JIDS))
    assert "dXNlcjpwYXNz" not in written.note.where
    assert len(written.note.where) <= 500


def test_the_last_use_of_each_token_is_known_to_all(client: Client, server: Server) -> None:
    assert last_uses(client) == {}
    remember(client, {"app": 5.9, "shop": 6.0})
    remember(client, {"app": 7.5})
    remember(client, {})
    assert last_uses(client) == {"app": 7.0, "shop": 6.0}


def test_what_is_no_time_is_refused_with_the_key_to_look_at(client: Client, server: Server) -> None:
    server.raw.hset("ns:restbroker:tokens", "app", "yesterday")
    with pytest.raises(StoreRefused, match="ns:restbroker:tokens has values that are not times") as caught:
        last_uses(client)
    assert "may delete it" in (caught.value.hint or "")
