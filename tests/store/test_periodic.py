"""Marks of periodic commands: of all that find a moment due, one pushes its job, whatever is lost, full or rewound."""

from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest
import redis

from restbroker.errors import RestbrokerError, StoreNotNow, StoreRefused
from restbroker.store import pauses, periodic
from restbroker.store.client import Client, open_client
from restbroker.store.pauses import Pause, PauseEnd
from restbroker.store.periodic import DueTick, PeriodicState
from tests.store.pools import Server, on_both
from tests.support.wait import until

KEY, QUEUE, LOCK = "ns:restbroker:periodic", "ns:queue:rest", "ns:restbroker:unique:l"


def begun(client: Client, server: Server, mark_s: int) -> DueTick:
    """A command that was dealt with up to so long ago, and a moment of it a second ago."""
    now_s = server.now_us() // 1_000_000
    server.raw.hset(KEY, "nightly", f"ab {now_s + mark_s}")
    return DueTick("nightly", "ab", now_s + mark_s, now_s - 1, 60, between=0, jid="j1", queue="rest", payload=b"job")


def jobs(server: Server) -> object:
    return server.raw.lrange(QUEUE, 0, -1)


def state(client: Client) -> PeriodicState:
    return periodic.read(client)[1]["nightly"]


@on_both
def test_a_new_command_begins_now_and_a_known_one_goes_on(client: Client, server: Server) -> None:
    now_s = server.now_us() // 1_000_000
    mark_s = periodic.begin(client, "nightly", "ab")
    assert now_s <= mark_s <= now_s + 5
    server.raw.hset(KEY, "nightly", f"ab {now_s - 500}")
    assert periodic.begin(client, "nightly", "ab") == now_s - 500
    again_s = periodic.begin(client, "nightly", "cd")
    assert now_s <= again_s <= now_s + 5, "another schedule is new, too"
    server.raw.hset(KEY, "nightly", f"cd {now_s + 500}")
    assert periodic.begin(client, "nightly", "ab") == now_s + 500, "the mark never goes back"
    assert jobs(server) == []


@on_both
def test_a_moment_is_pushed_once(client: Client, server: Server) -> None:
    due = begun(client, server, -60)
    assert periodic.tick(client, due) == ("pushed", due.tick_s)
    assert periodic.tick(client, due) == ("done", due.tick_s), "an answer may be lost"
    assert (jobs(server), server.raw.smembers("ns:queues")) == ([b"job"], {b"rest"})
    found = state(client)
    assert found.pushed_at_s is not None
    assert due.tick_s <= found.pushed_at_s <= due.tick_s + 5
    assert found == PeriodicState(due.tick_s, found.pushed_at_s, "j1", "pushed")


def test_one_of_many_processes_pushes(client: Client, server: Server) -> None:
    due = begun(client, server, -60)

    def ask(_: int) -> str:
        own = open_client(server.settings)
        answer, _ = periodic.tick(own, due)
        own.close()
        return str(answer)

    with ThreadPoolExecutor(20) as pool:
        assert sorted(pool.map(ask, range(40))) == ["done"] * 39 + ["pushed"]
    assert jobs(server) == [b"job"]


def test_future_moment_by_redis_clock_is_not_pushed(client: Client, server: Server) -> None:
    due = begun(client, server, -60)
    hour = attrs.evolve(due, tick_s=due.tick_s + 3600)
    assert periodic.tick(client, hour) == ("early", due.mark_s)
    assert (jobs(server), state(client).mark_s) == ([], due.mark_s)


def test_stale_mark_learns_the_current_one_and_pushes_nothing(client: Client, server: Server) -> None:
    due = begun(client, server, -60)
    assert periodic.tick(client, attrs.evolve(due, mark_s=due.mark_s - 60)) == ("other", due.mark_s)
    assert jobs(server) == []


def test_late_moment_is_counted_with_all_between(client: Client, server: Server) -> None:
    due = begun(client, server, -600)
    late = attrs.evolve(due, tick_s=due.tick_s - 99, between=7)
    assert periodic.tick(client, late) == ("missed", late.tick_s)
    assert (jobs(server), state(client)) == ([], PeriodicState(late.tick_s, outcome="missed", missed=8))
    once = attrs.evolve(due, mark_s=late.tick_s, between=2)
    assert periodic.tick(client, once) == ("pushed", due.tick_s)
    assert (jobs(server), state(client).missed) == ([b"job"], 10)


@on_both
def test_a_job_that_is_not_done_yet_holds_the_next_one_back(client: Client, server: Server) -> None:
    due = attrs.evolve(begun(client, server, -60), lock="l", keep_s=90)
    assert periodic.tick(client, attrs.evolve(due, tick_s=due.tick_s - 5))[0] == "pushed"
    jid, moment_us = server.raw.get(LOCK).split()
    assert (jid, abs(int(moment_us) - server.now_us()) < 10_000_000) == (b"j1", True)
    assert 80 < server.raw.ttl(LOCK) <= 90
    later = attrs.evolve(due, mark_s=due.tick_s - 5, jid="j2", payload=b"2")
    assert periodic.tick(client, later) == ("overlap", due.tick_s)
    found = state(client)
    assert (jobs(server), found.outcome, found.blocked_by, found.skipped) == ([b"job"], "overlap", "j1", 1)
    assert (found.jid, server.raw.get(LOCK).split()[0]) == ("j1", b"j1")


def test_a_pause_skips_what_is_due_until_it_is_over(client: Client, server: Server) -> None:
    due = attrs.evolve(begun(client, server, -60), between=2)
    pauses.pause_periodic(client, "nightly", "ann", "the server moves", 600.0)
    assert periodic.tick(client, due) == ("paused", due.tick_s)
    found = state(client)
    assert found.pause is not None
    remaining_s, since_s = found.pause.remaining_s, found.pause.since_s
    assert remaining_s is not None
    assert 590 < remaining_s <= 600
    assert found.pause == Pause("operator", remaining_s, "ann", "the server moves", since_s)
    assert (found.outcome, found.skipped, found.missed, jobs(server)) == ("paused", 3, 0, [])
    assert pauses.resume_periodic(client, "nightly") is True
    assert pauses.resume_periodic(client, "nightly") is False
    pauses.pause_periodic(client, "nightly", "bob", "", None)
    later = attrs.evolve(due, mark_s=due.tick_s - 2, tick_s=due.tick_s - 1)
    server.raw.hset(KEY, "nightly", f"ab {later.mark_s}")
    assert periodic.tick(client, later)[0] == "paused"


def test_a_pause_ends_by_itself(client: Client, server: Server) -> None:
    due = begun(client, server, -60)
    pauses.pause_periodic(client, "nightly", "ann", "soon over", 0.001)
    ended = until(lambda: pauses.end_due(client), "a millisecond passes")
    assert ended == [PauseEnd("periodic", "nightly", "ann", "soon over")]
    pauses.pause_periodic(client, "nightly", "ann", "", 0.0)
    assert periodic.tick(client, due)[0] == "pushed", "also while its note is still there"
    assert state(client).pause is None


@on_both
def test_full_redis_is_asked_again_and_the_moment_is_only_late(client: Client, server: Server) -> None:
    due = begun(client, server, -60)
    server.raw.config_set("maxmemory", 1)
    with pytest.raises(StoreNotNow):
        periodic.tick(client, due)
    assert (jobs(server), state(client).mark_s) == ([], due.mark_s)
    server.raw.config_set("maxmemory", 0)
    assert periodic.tick(client, due)[0] == "pushed"


@pytest.mark.parametrize("key", [QUEUE, "ns:queues", LOCK])
def test_moment_stays_due_where_redis_refuses_the_push(client: Client, server: Server, key: str) -> None:
    due = attrs.evolve(begun(client, server, -60), lock="l", keep_s=90)
    server.raw.hset(key, "of", "another")
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        periodic.tick(client, due)
    assert state(client).mark_s == due.mark_s
    assert (server.raw.exists(LOCK), server.raw.exists(QUEUE)) == (int(key == LOCK), int(key == QUEUE))
    server.raw.delete(key)
    assert periodic.tick(client, due)[0] == "pushed"


@pytest.mark.parametrize("denied", ["-hset", "-sadd", "-lpush", "-set"])
def test_user_lacking_a_right_pushes_nothing_again_and_again(server: Server, denied: str) -> None:
    server.raw.execute_command("ACL", "SETUSER", "half", "on", "nopass", "~*", "+@all", denied)
    half = open_client(attrs.evolve(server.settings, url=f"redis://half@127.0.0.1:{server.process.port}/0"))
    due = attrs.evolve(begun(half, server, -60), lock="l", keep_s=90)
    try:
        for _ in range(3):
            with pytest.raises(RestbrokerError):
                periodic.tick(half, due)
        assert (jobs(server), server.raw.hget(KEY, "nightly")) == ([], f"ab {due.mark_s}".encode())
    finally:
        half.close()
        server.raw.execute_command("ACL", "DELUSER", "half")


def test_a_redis_that_was_set_back_gets_the_same_job_again(client: Client, server: Server) -> None:
    due = begun(client, server, -60)
    was = server.raw.dump(KEY)
    periodic.tick(client, due)
    server.raw.restore(KEY, 0, was, replace=True)
    assert periodic.tick(client, due)[0] == "pushed"
    assert jobs(server) == [b"job", b"job"], "of one id, so that it is known as the same"


@pytest.mark.parametrize("record", ["", "ab", "ab -5", "ab x", "xy 5", "\0"])
def test_unreadable_record_starts_afresh(client: Client, server: Server, record: str) -> None:
    due = begun(client, server, -60)
    server.raw.hset(KEY, "nightly", record)
    assert periodic.tick(client, due)[0] == "begun"
    assert jobs(server) == []
    assert (state(client).mark_s or 0) >= due.tick_s


def test_spoilt_notes_keep_no_job_back(client: Client, server: Server) -> None:
    due = attrs.evolve(begun(client, server, -60), between=1)
    server.raw.hset(KEY, "nightly missed", "many")
    server.raw.hset(KEY, "nightly tick", "\xff\xfe")
    assert state(client).missed == 0
    assert periodic.tick(client, due)[0] == "pushed"


def test_a_key_of_another_type_is_refused(client: Client, server: Server) -> None:
    server.raw.set(KEY, "x")
    with pytest.raises((StoreRefused, redis.ResponseError)):
        periodic.begin(client, "nightly", "ab")


def test_a_push_by_a_person_is_noted_and_leaves_the_mark_alone(client: Client, server: Server) -> None:
    due = begun(client, server, -60)
    periodic.write_push(client, "nightly", "by-hand")
    found = state(client)
    assert (found.jid, found.mark_s) == ("by-hand", due.mark_s)
    assert found.pushed_at_s is not None
    assert due.tick_s <= found.pushed_at_s <= due.tick_s + 5
