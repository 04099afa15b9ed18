"""Fetching and settling: every row of the script contracts."""

import time

import pytest
import redis

from restbroker.errors import StoreRefused
from restbroker.job.settlement import Ack, Dead, Drop, Reply, Requeue, Retry, Schedule, Settlement
from restbroker.store import heartbeats, queues
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Refused
from restbroker.store.in_progress import read_jobs, read_jobs_in_pieces
from restbroker.store.jobs import FetchResult, TargetPaused
from restbroker.store.scripts import names, script
from tests.store.pools import Pool, Server, die, is_retired, on_both

NOW_S = 1_700_000_000.25
DAY = "2023-11-14"


def test_a_batch_is_at_most_500_jobs(pool: Pool) -> None:
    queues.push(pool.client, "a", [b"%d" % n for n in range(700)])
    assert len(pool.take(5000).jobs) == 500


@pytest.mark.promise("A good citizen", "a pause stops the taking")
def test_a_paused_queue_is_left_alone_and_named(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1"])
    queues.push(pool.client, "b", [b"2"])
    server.raw.sadd("ns:paused", "a", "elsewhere")
    answer = pool.ask()
    assert isinstance(answer, FetchResult)
    assert answer.paused == {"a"}
    assert [job.raw for job in answer.jobs] == [b"2"]


def test_paused_target_learns_the_millisecond_its_pause_ends(pool: Pool, server: Server) -> None:
    for _ in range(20):
        until_us = server.now_us() + 990_000
        server.raw.hset("ns:restbroker:pause:t", "operator", until_us)
        before_us = server.now_us()
        answer = pool.ask()
        after_us = server.now_us()
        assert isinstance(answer, TargetPaused)
        assert until_us - after_us <= 1000 * answer.for_ms < until_us - before_us + 1000


def test_an_in_progress_key_of_another_type_costs_no_job(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1"])
    server.raw.set(f"ns:restbroker:ip:{pool.identity}", "x")
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        pool.ask()
    assert queues.sizes(pool.client, ["a"]) == {"a": 1}


@on_both
def test_jobs_that_cannot_be_written_down_go_back_in_order(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1", b"2", b"3"])
    server.raw.acl_setuser("default", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-hset"])
    try:
        answer = pool.ask(2)
        assert isinstance(answer, FetchResult)
        assert answer.bad == {"a"}
    finally:
        server.raw.acl_setuser("default", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"3", b"2", b"1"]


@on_both
def test_each_fate_lands_in_its_place_and_is_counted(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1", b"2", b"3", b"4", b"5", b"6"])
    pool.take()
    codes = pool.settle(
        ("1:1", Ack()),
        ("2:1", Retry(5.5, b"two")),
        ("3:1", Dead(6.0, b"three")),
        ("4:1", Schedule(7.0, b"four")),
        ("5:1", Drop()),
        ("6:1", Requeue()),
        now_s=NOW_S,
    )
    assert codes == [Applied()] * 6
    now_s = server.now_us() / 1e6
    assert server.raw.zrange("ns:retry", 0, -1, withscores=True) == [(b"two", pytest.approx(now_s + 5.5, abs=5))]
    assert server.raw.zrange("ns:dead", 0, -1, withscores=True) == [(b"three", 6.0)]
    assert server.raw.zrange("ns:schedule", 0, -1, withscores=True) == [(b"four", pytest.approx(now_s + 7.0, abs=5))]
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"6"]
    assert [entry[1][b"payload"] for entry in server.raw.xrange("ns:restbroker:parked")] == [b"three"]
    counters = ["ns:stat:processed", "ns:stat:failed", f"ns:stat:processed:{DAY}", f"ns:stat:failed:{DAY}"]
    assert server.raw.mget(counters) == [b"4", b"3", b"4", b"3"]
    assert server.raw.ttl(f"ns:stat:failed:{DAY}") > 157_000_000
    assert read_jobs(pool.client, pool.identity).jobs == {}


def test_a_reply_to_a_key_expires_and_makes_no_queue(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1"])
    pool.take()
    pool.settle(("1:1", Ack((Reply(b"r", key="restbroker:reply:x-1", ttl_s=3600),))))
    assert server.raw.lrange("ns:restbroker:reply:x-1", 0, -1) == [b"r"]
    assert 3500 < server.raw.ttl("ns:restbroker:reply:x-1") <= 3600
    assert server.raw.smembers("ns:queues") == {b"a"}


def test_a_reply_may_not_go_into_a_foreign_key(pool: Pool) -> None:
    queues.push(pool.client, "a", [b"1"])
    pool.take()
    for key in ("queue:a", "restbroker:beats", *(f"restbroker:reply:{name}" for name in ("", "a b", "x" * 65))):
        [code] = pool.settle(("1:1", Ack((Reply(b"r", key=key, ttl_s=9),))))
        assert isinstance(code, Refused), key
    assert read_jobs(pool.client, pool.identity).jobs == {"1:1": b"1"}


def test_broken_counters_and_copies_do_not_hold_jobs_up(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1"])
    pool.take()
    for name in ("stat:processed", f"stat:failed:{DAY}", "restbroker:parked"):
        server.raw.sadd(f"ns:{name}", "x")
    assert pool.settle(("1:1", Dead(1.0, b"p")), now_s=NOW_S) == [Applied()]
    assert server.raw.zcard("ns:dead") == 1


def test_requeued_jobs_are_taken_again_in_their_first_order(pool: Pool) -> None:
    queues.push(pool.client, "a", [b"%d" % n for n in range(1200)])
    tickets: list[str] = []
    while len(tickets) < 1100:
        tickets += [job.ticket for job in pool.take(min(500, 1100 - len(tickets)), base=len(tickets)).jobs]
    assert pool.settle(*((ticket, Requeue()) for ticket in tickets)) == [Applied()] * 1100
    assert [job.raw for job in pool.take(500, base=1100).jobs] == [b"%d" % n for n in range(500)]


@on_both
def test_names_and_bytes_of_any_kind_are_stored_as_they_are(pool: Pool, server: Server) -> None:
    """Names of what becomes of a job are JSON on their way, payloads are bytes that need not be UTF-8."""
    odd, payload = 'q"\\é\n\t\x00\x1e', b'\xff\x00"{'
    queues.push(pool.client, "a", [b"1", b"2", b"3"])
    fates: list[Settlement] = [
        Ack((Reply(payload, queue=odd), Reply(payload, key="restbroker:reply:x", ttl_s=60))),
        Retry(1.5, payload, (Reply(payload, queue=odd),)),
        Dead(NOW_S + 0.123456, payload, large=odd, unadmitted_in=odd),
    ]
    items = [(job.ticket, fate) for job, fate in zip(pool.take(3).jobs, fates, strict=True)]
    assert pool.settle(*items) == [Applied()] * 3
    assert server.raw.lrange(f"ns:queue:{odd}", 0, -1) == [payload] * 2
    assert server.raw.lrange("ns:restbroker:reply:x", 0, -1) == [payload]
    assert server.raw.zrange("ns:retry", 0, -1) == [payload]
    assert server.raw.zrange("ns:dead", 0, -1, withscores=True) == [(payload, NOW_S + 0.123456)]
    assert server.raw.get(pool.client.keys.large(odd)) == b"3"
    assert server.raw.hgetall(pool.client.keys.unadmitted_counts) == {odd.encode(): b"1"}


@on_both
def test_a_full_redis_is_drained(pool: Pool, server: Server) -> None:
    payloads = [b"%d" % n + b"x" * 1000 for n in range(100)]
    queues.push(pool.client, "a", payloads)
    server.raw.config_set("maxmemory", 1)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        server.raw.set("x", "y")
    assert heartbeats.write_heartbeats(pool.client, [(pool.identity, 1)], {}) == [True]
    jobs = pool.take(100).jobs
    fates: list[Settlement] = [Retry(1.0, b"x"), Dead(1.0, b"x"), Requeue()]
    fates += [Ack((Reply(b"r", queue="out"),))] * 97
    items = [(job.ticket, fate) for job, fate in zip(jobs, fates, strict=True)]
    assert pool.settle(*items) == [Applied()] * 100
    die(pool.client, pool.identity, 1)
    assert is_retired(pool.client, pool.identity)


def test_full_redis_refuses_only_scripts_that_bring_more() -> None:
    heads = {name: script(name).source.partition(b"\n")[0] for name in names()}
    brings = {"bulk_push", "push", "push_event", "roster_change", "tick"}
    assert {name for name, head in heads.items() if head == b"#!lua"} == brings
    rest = {name: head for name, head in heads.items() if name not in brings}
    assert set(rest.values()) == {b"#!lua flags=allow-oom", b"#!lua flags=no-writes"}


def test_only_keys_with_the_namespace_are_touched(client: Client, server: Server, pool: Pool) -> None:
    queues.push(client, "a", [b"1", b"2", b"3"])
    queues.schedule(client, b"later", time.time())
    pool.take(hwm=3)
    pool.settle(("1:1", Dead(1.0, b"p", (Reply(b"r", queue="out"), Reply(b"r", key="restbroker:reply:z", ttl_s=9)))))
    heartbeats.write_heartbeats(client, [(pool.identity, 1)], {pool.identity: b"{}"})
    die(client, pool.identity, 1)
    assert [key for key in server.raw.keys("*") if not key.startswith(b"ns:")] == []


def test_jobs_in_progress_are_read_in_pieces_without_settled(pool: Pool, server: Server) -> None:
    pushed = [b"%d" % number for number in range(1, 51)]
    queues.push(pool.client, "a", pushed)
    pool.take(50, hwm=50)
    server.raw.hset(f"ns:restbroker:ip:{pool.identity}", "odd", "no job")
    pieces = read_jobs_in_pieces(pool.client, pool.identity)
    first = next(pieces).values()
    settled = next(job for job in pushed if job not in first)
    assert pool.settle((f"{settled.decode()}:1", Ack())) == [Applied()]
    rest = [job for piece in pieces for job in piece.values()]
    assert 0 < len(first) < 50
    assert sorted([*first, *rest, settled]) == sorted(pushed)


@on_both
def test_refused_reply_holds_up_only_its_job(pool: Pool, server: Server) -> None:
    """The other replies of this job are taken back."""
    queues.push(pool.client, "a", [b"1", b"2", b"3"])
    pool.take()
    server.raw.lpush("ns:queue:out", "older")
    server.raw.set("ns:restbroker:reply:bad", "x")
    replies = (Reply(b"r", queue="out"), Reply(b"r", queue="more"), Reply(b"r", key="restbroker:reply:bad", ttl_s=9))
    bad = Dead(5.0, b"two", replies)
    first, second, third = pool.settle(("1:1", Ack()), ("2:1", bad), ("3:1", Ack()))
    assert (first, third) == (Applied(), Applied())
    assert isinstance(second, Refused)
    assert "WRONGTYPE" in second.text
    assert read_jobs(pool.client, pool.identity).jobs == {"2:1": b"2"}
    assert server.raw.lrange("ns:queue:out", 0, -1) == [b"older"]
    assert server.raw.exists("ns:dead", "ns:queue:more", "ns:restbroker:parked", "ns:stat:failed") == 0
    assert server.raw.get("ns:stat:processed") == b"2"
    assert pool.settle(("2:1", Dead(5.0, b"two"))) == [Applied()]


def test_paused_target_gets_nothing_and_learns_when_to_ask(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1"])
    for operator in (0, server.now_us() + 10**9):
        server.raw.hset("ns:restbroker:pause:t", mapping={"operator": operator, "retry_after": 1})
        assert pool.ask() == TargetPaused(1000)
    assert queues.sizes(pool.client, ["a"]) == {"a": 1}
    server.raw.hdel("ns:restbroker:pause:t", "operator")
    assert len(pool.take().jobs) == 1, "the other pause is over"
