"""What is written down for people: what they did, tokens last used, copies of dead jobs; and how a queue is cleared."""

import pytest

from restbroker.errors import StoreRefused
from restbroker.operate.audit import MOST_JIDS, AuditEntry, entries, write
from restbroker.store import dead_copies, queues
from restbroker.store.client import Client
from restbroker.store.dead_copies import newest, restore
from restbroker.store.records import token_uses, write_token_uses
from restbroker.store.sets import Placement, place
from tests.store.pools import Server, on_both


def test_a_note_reads_back_as_it_was_written_with_redis_time(client: Client, server: Server) -> None:
    note = AuditEntry(
        who="ann@web1", action="retry", place="dead", state="begun", where="error = BadToken", why="mended",
        done=1, refused=2, gone=3, jids=("j1", "j2"),
    )  # fmt: skip
    name = write(client, note)
    (written,) = entries(client, 10)
    assert (written.name, written.note) == (name, note)
    assert abs(written.at_s - server.now_us() / 1e6) < 5


def test_notes_come_newest_first_over_pages_as_many_as_asked(client: Client) -> None:
    names = [write(client, AuditEntry(who="ann", action="delete", place="dead", done=n)) for n in range(450)]
    assert [written.name for written in entries(client, 430)] == names[:19:-1]
    assert [written.name for written in entries(client, 5, before=names[3])] == names[2::-1]


def test_foreign_notes_are_read_all_the_same(client: Client, server: Server) -> None:
    server.raw.xadd("ns:restbroker:audit", {"who": b"\xff", "done": "many", "state": "odd", "x": "y"})
    (written,) = entries(client, 10)
    assert (written.note.done, written.note.state, written.note.action) == (0, "done", "")


def test_written_text_is_bounded_without_breaks_or_credentials(client: Client) -> None:
    jids = tuple(f"j {n}" for n in range(MOST_JIDS + 5))
    where = "message ~ Basic dXNlcjpwYXNz" + "x" * 1000
    write(client, AuditEntry(who="ann\nroot", action="retry", place="dead", where=where, jids=jids))
    (written,) = entries(client, 1)
    assert written.note.who == "ann root"
    assert written.note.jids == tuple(f"j_{n}" for n in range(MOST_JIDS))
    assert "dXNlcjpwYXNz" not in written.note.where
    assert len(written.note.where) <= 500


def test_the_last_use_of_each_token_is_known_to_all(client: Client, server: Server) -> None:
    assert token_uses(client) == {}
    write_token_uses(client, {"app": 5.9, "shop": 6.0})
    write_token_uses(client, {"app": 7.5})
    write_token_uses(client, {})
    assert token_uses(client) == {"app": 7.0, "shop": 6.0}


def test_invalid_time_is_refused_with_its_key(client: Client, server: Server) -> None:
    server.raw.hset("ns:restbroker:tokens", "app", "yesterday")
    with pytest.raises(StoreRefused, match="ns:restbroker:tokens has values that are not times") as caught:
        token_uses(client)
    assert "may delete it" in (caught.value.hint or "")


def kill(client: Client, server: Server, count: int) -> None:
    """Kill unreadable members: 0, 1, 2, ..."""
    server.raw.zadd("ns:retry", {str(n): n for n in range(count)})
    place(
        client, "retry", [Placement(b"%d" % n, zset="dead", new=b"dead %d" % n, score=float(n)) for n in range(count)]
    )


@on_both
def test_copies_come_newest_first_and_page_by_page(client: Client, server: Server) -> None:
    kill(client, server, 5)
    first = newest(client, 3)
    assert [copy.payload for copy in first] == [b"dead 4", b"dead 3", b"dead 2"]
    assert [copy.payload for copy in newest(client, 3, before=first[-1].entry)] == [b"dead 1", b"dead 0"]
    assert newest(client, 3, before=newest(client, 5)[-1].entry) == []
    seconds, _ = server.raw.time()
    assert abs(first[0].at_s - seconds) < 5


@pytest.mark.promise("Security: who can push to the queues", "to crash or stall it")
def test_large_copies_come_few_at_a_time_and_all_of_them_come(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_copies, "MAX_BYTES", 20)
    kill(client, server, 20)
    page = newest(client, 10)
    found = [copy.payload for copy in page]
    assert len(found) < 5
    while page := newest(client, 10, before=page[-1].entry):
        assert len(page) < 5
        found += [copy.payload for copy in page]
    assert found == [b"dead %d" % n for n in reversed(range(20))]


def test_job_trimmed_from_the_dead_set_can_return_once(client: Client, server: Server) -> None:
    kill(client, server, 3)
    copies = newest(client, 10)
    server.raw.zremrangebyrank("ns:dead", 0, 0)
    trimmed = copies[-1]
    assert trimmed.payload == b"dead 0"
    assert (restore(client, trimmed), restore(client, trimmed)) == (True, False)
    assert server.raw.zrevrange("ns:dead", 0, 0) == [b"dead 0"], "not the next to be trimmed"


def test_failed_copy_does_not_keep_a_job_from_dying(client: Client, server: Server) -> None:
    server.raw.set("ns:restbroker:parked", "no stream")
    kill(client, server, 1)
    assert server.raw.zrange("ns:dead", 0, -1) == [b"dead 0"]


def test_deletion_spares_newly_pushed_and_other_jobs(client: Client, server: Server) -> None:
    queues.push(client, "a", [b"1", b"2", b"3", b"4"])
    assert (queues.newest(client, "a"), queues.newest(client, "b")) == (b"4", None)
    queues.push(client, "a", [b"later"])
    assert server.raw.rpop("ns:queue:a") == b"1"
    assert queues.clear(client, "a", b"4", 2) == (2, 1, [])
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"later", b"4"], "what would be taken next goes first"
    assert queues.clear(client, "a", b"4", 10) == (1, 0, [])
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"later"]


def test_nothing_is_deleted_once_the_newest_meant_job_was_taken(client: Client, server: Server) -> None:
    queues.push(client, "a", [b"1", b"2"])
    queues.push(client, "a", [b"later"])
    assert server.raw.rpop("ns:queue:a", 2) == [b"1", b"2"]
    assert queues.clear(client, "a", b"2", 10) == (0, 0, [])
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"later"]


def test_key_that_is_no_list_is_refused(client: Client, server: Server) -> None:
    server.raw.set("ns:queue:a", "precious")
    with pytest.raises(StoreRefused):
        queues.clear(client, "a", b"1", 10)
    assert server.raw.get("ns:queue:a") == b"precious"
