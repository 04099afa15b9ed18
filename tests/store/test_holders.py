"""The job that holds a lock is found wherever it is and however it moves; only one that is nowhere loses its lock."""

import json
import threading
import time
from collections.abc import Iterator

import attrs
import pytest
import redis

from restbroker.job.claims import Lock
from restbroker.job.settlement import ClaimChange, Requeue, Retry, Schedule, Settlement
from restbroker.store import heartbeats, holders, periodic, queues, sets
from restbroker.store.client import Client, open_client
from restbroker.store.queues import HeldLock
from restbroker.store.sets import Placement
from tests.store.pools import Pool, Server, on_both
from tests.store.test_periodic import LOCK, begun

OLD = Lock("l", "key", 600.0)
JID = "a1b2c3"
JOB = json.dumps({"class": "A", "jid": JID, "queue": "a", "args": []}).encode()
RENEWED = (ClaimChange("unique", "l", (JID,), becomes=JID, keep_s=600.0, later_s=0.0),)


def aged(server: Server, seconds: float, jid: str = JID) -> str:
    """The lock is as old as that; its value."""
    value = f"{jid} {server.now_us() - round(seconds * 1e6)}"
    server.raw.set(LOCK, value)
    return value


def push(client: Client, lock: Lock = OLD, over: str = "") -> HeldLock | None:
    return queues.push_once(client, "a", "second", b"second", at_s=None, lock=lock, over=over)


def crowd(server: Server, key: str) -> None:
    for start in range(0, 3000, 500):
        server.raw.lpush(key, *(b'{"jid":"other-%d"}' % number for number in range(start, start + 500)))


@pytest.mark.parametrize("where", ["list", "unlisted", "line", "in progress", "dying", "retry", "schedule"])
def test_a_job_is_found_wherever_it_is(pool: Pool, server: Server, where: str) -> None:
    client, raw = pool.client, server.raw
    match where:
        case "list" | "unlisted":
            crowd(server, "ns:queue:a")
            raw.lpush("ns:queue:a", JOB)
            crowd(server, "ns:queue:a")
            if where == "list":
                raw.sadd("ns:queues", "a")
        case "line":
            raw.sadd("ns:queues", "a")
            raw.lpush("ns:restbroker:line:a\x1ek", JOB)
            raw.set("ns:restbroker:line:a", 1)
            raw.zadd("ns:restbroker:turn:a", {"k": 1})
        case "in progress" | "dying":
            raw.lpush("ns:queue:a", JOB)
            assert pool.take(5, hwm=5).jobs
            if where == "dying":
                assert heartbeats.fence(client, pool.identity, int(raw.hget("ns:restbroker:beats", pool.identity)))
        case _:
            raw.zadd(f"ns:{where}", {f"other-{number}": number for number in range(500)})
            raw.zadd(f"ns:{where}", {JOB: 4e9})
    assert holders.search(client, JID, "a") == "found"
    assert holders.search(client, "another", "a") == "missing"


def test_a_dead_job_holds_no_lock(client: Client, server: Server) -> None:
    server.raw.zadd("ns:dead", {JOB: 1})
    assert holders.search(client, JID, "a") == "missing"


def test_unfinished_or_forbidden_search_is_believed(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.raw.sadd("ns:queues", "a")
    crowd(server, "ns:queue:a")
    monkeypatch.setattr(holders, "_MOST_S", 0.0)
    assert holders.search(client, JID, "a") == "unsearched"
    monkeypatch.undo()
    server.raw.delete("ns:queue:a")
    server.raw.set("ns:retry", "of another type")
    assert holders.search(client, JID, "a") == "unsearched"
    server.raw.delete("ns:retry")
    server.raw.execute_command("ACL", "SETUSER", "producer", "on", ">p", "~*", "+@all", "-zrange")
    allowed = open_client(attrs.evolve(server.settings, url=server.settings.url.replace("//", "//producer:p@")))
    assert holders.search(allowed, JID, "a") == "unsearched"
    allowed.close()
    server.raw.execute_command("ACL", "DELUSER", "producer")


@on_both
def test_only_an_old_dated_lock_is_searched_for(client: Client, server: Server) -> None:
    assert push(client) is None
    (jid, _) = server.raw.get(LOCK).split()
    assert jid == b"second"
    for seconds, is_stale in ((50, False), (70, True), (-70, True)):
        value = aged(server, seconds)
        server.raw.delete("ns:restbroker:pushed:second")
        assert push(client) == HeldLock(value, is_stale)


@on_both
def test_a_lock_is_taken_over_by_its_value_alone(client: Client, server: Server) -> None:
    lock = aged(server, 70)
    renewed = aged(server, 69)
    assert push(client, over=lock) == HeldLock(renewed, is_stale=True)
    assert server.raw.llen("ns:queue:a") == 0
    assert push(client, over=renewed) is None
    assert push(client, over=renewed) is None, "an answer may be lost"
    assert (server.raw.lrange("ns:queue:a", 0, -1), server.raw.get(LOCK).split()[0]) == ([b"second"], b"second")


@on_both
@pytest.mark.parametrize(
    "settled",
    [
        Retry(3600.0, JOB, claims=RENEWED),
        Schedule(3600.0, JOB, claims=RENEWED),
        Requeue(claims=RENEWED),
    ],
)
def test_each_settlement_renews_the_lock(pool: Pool, server: Server, settled: Settlement) -> None:
    """By that who looked for its job at the same time learns that it moved."""
    lock = aged(server, 70)
    server.raw.lpush("ns:queue:a", JOB)
    pool.settle((pool.take(5, hwm=5).jobs[0].ticket, settled), hwm=1)
    held = push(pool.client, over=lock)
    assert held is not None
    assert (held.is_stale, held.value.split()[0]) == (False, JID)


def test_no_job_that_moves_all_the_time_is_taken_for_deleted(
    pool: Pool, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Round and round as fast as Redis goes: queue, in progress, retries, queue; in progress, schedule; given back."""
    monkeypatch.setattr(holders, "AGAIN_S", 0.0)
    server.raw.sadd("ns:queues", "a")
    server.raw.lpush("ns:queue:a", JOB)
    aged(server, 70)
    end_s, rounds, looks = time.monotonic() + 1.5, 0, 0

    def moves() -> Iterator[Settlement]:
        while True:
            yield Retry(0.0, JOB, claims=RENEWED)
            yield Requeue(claims=RENEWED)
            yield Schedule(0.0, JOB, claims=RENEWED)

    def move() -> None:
        nonlocal rounds
        own = open_client(server.settings)
        moved = Pool(own, pool.identity)
        for base, settled in enumerate(moves()):
            (taken,) = moved.take(5, hwm=base + 5, base=base).jobs
            moved.settle((taken.ticket, settled), hwm=base + 1)
            for zset in ("retry", "schedule"):
                sets.place(own, zset, [Placement(raw, "a", new=raw) for raw, _ in sets.due(own, zset, 5).members])
            rounds += 1
            if time.monotonic() >= end_s and rounds > 100 and looks > 10:
                break
        own.close()

    mover = threading.Thread(target=move)
    mover.start()
    while mover.is_alive():
        looks += 1
        value = server.raw.get(LOCK).decode()
        if holders.search_twice(pool.client, JID, "a") == "missing":
            held = push(pool.client, over=value)
            assert held is not None, "taken over from a job that was moving"
    mover.join()
    assert server.raw.llen("ns:queue:a") + server.raw.zcard("ns:retry") + server.raw.zcard("ns:schedule") == 1


def test_a_job_at_the_head_of_a_busy_queue_is_found(client: Client, server: Server) -> None:
    """Thousands are pushed behind it, and taken before it, while the queue is read."""
    server.raw.sadd("ns:queues", "a")
    crowd(server, "ns:queue:a")
    server.raw.lpush("ns:queue:a", JOB)
    crowd(server, "ns:queue:a")
    busy = True

    def others() -> None:
        own = redis.Redis(port=server.process.port)
        for number in range(2500):
            if not busy:
                break
            own.lpush("ns:queue:a", f"new-{number}")
            own.rpop("ns:queue:a")
        own.close()

    thread = threading.Thread(target=others)
    thread.start()
    outcomes = {holders.search(client, JID, "a") for _ in range(20)}
    busy = False
    thread.join()
    assert outcomes == {"found"}


@on_both
def test_time_of_a_command_waits_for_a_look_at_its_last_job(client: Client, server: Server) -> None:
    due = attrs.evolve(begun(client, server, -60), lock="l", keep_s=90)
    value = aged(server, 70)
    mark_s = due.mark_s
    assert periodic.tick(client, due) == (HeldLock(value, is_stale=True), mark_s)
    assert periodic.tick(client, attrs.evolve(due, looked_for=value)) == ("overlap", due.tick_s)
    assert server.raw.get(LOCK).decode() == value
    server.raw.hset("ns:restbroker:periodic", "nightly", f"ab {mark_s}")
    late = attrs.evolve(due, looked_for=value, is_missing=True, late_s=0)
    assert periodic.tick(client, attrs.evolve(late, looked_for=f"{value}0")) == (HeldLock(value, is_stale=True), mark_s)
    assert periodic.tick(client, late) == ("pushed", due.tick_s)
    assert server.raw.get(LOCK).split()[0] == b"j1"
