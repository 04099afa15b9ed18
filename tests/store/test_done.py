"""Fingerprints of signed jobs that were done: written in the step that settles them, bounded, gone when over."""

import math
from typing import Any

import pytest

from restbroker.job.settlement import Ack, Dead, Fingerprint, Reply, Retry, Settlement
from restbroker.store.claims import stored_for_s
from restbroker.store.codes import Applied, Gone, Refused
from tests.store.pools import Pool, Server, on_both

KEY = "ns:restbroker:done:t:first:a"
MOST = 250_000


def fingerprint(text: str = "m1", keep_s: float = 60.0, queue: str = "a", **how: Any) -> Fingerprint:
    return Fingerprint("t", queue, text, keep_s, **how)


def done(*fingerprints: Fingerprint) -> Ack:
    return Ack(claims=fingerprints)


def are_done(pool: Pool, *fingerprints: Fingerprint) -> list[bool]:
    return [left_s == math.inf for left_s in stored_for_s(pool.client, fingerprints)]


def test_done_job_leaves_its_fingerprint_once_with_its_answer(pool: Pool, server: Server) -> None:
    one, two, three = pool.start(3)
    settled: list[tuple[str, Settlement]] = [
        (one, done(fingerprint("m1"))),
        (two, Ack((Reply(b"r", queue="out"),), (fingerprint("m2", queue="b"),))),
        (three, Ack()),
    ]
    assert pool.settle(*settled) == [Applied()] * 3
    assert pool.settle(*settled) == [Gone()] * 3
    other_token = Fingerprint("u", "a", "m1", 60.0)
    prints = fingerprint("m1"), fingerprint("m1", queue="b"), fingerprint("m2"), fingerprint("m3"), other_token
    assert are_done(pool, *prints) == [True, True, True, False, False], "whichever the queue; by token"
    assert server.raw.lrange("ns:queue:out", 0, -1) == [b"r"]
    assert [int(server.raw.get(f"ns:stat:{name}") or 0) for name in ("processed", "failed")] == [3, 0]


def test_a_job_that_redis_refuses_to_settle_was_not_done(pool: Pool, server: Server) -> None:
    (ticket,) = pool.start(1)
    server.raw.set("ns:queue:out", "no list")
    (code,) = pool.settle((ticket, Ack((Reply(b"r", queue="out"),), (fingerprint(),))))
    assert isinstance(code, Refused)
    assert are_done(pool, fingerprint()) == [False]


def test_job_is_settled_though_its_fingerprint_is_unwritable(pool: Pool, server: Server) -> None:
    one, two = pool.start(2)
    server.raw.set(KEY, "no sorted set")
    assert pool.settle((one, done(fingerprint())), (two, Ack())) == [Applied()] * 2


@on_both
def test_fingerprint_lasts_as_long_as_ever_asked_and_the_set_as_its_last_one(pool: Pool, server: Server) -> None:
    server.raw.zadd(KEY, {"over": server.now_us() // 1000 - 2000})
    kept = ("long", 5000.0), ("short", 50.0), ("now", 0.0), ("long", 60.0)
    for ticket, (text, keep_s) in zip(pool.start(4), kept, strict=True):
        assert pool.settle((ticket, done(fingerprint(text, keep_s)))) == [Applied()]
    left_s = {
        name: score / 1000 - server.now_us() / 1e6 for name, score in server.raw.zrange(KEY, 0, -1, withscores=True)
    }
    assert left_s.keys() - {b"now"} == {b"long", b"short"}
    assert (left_s[b"long"], left_s[b"short"]) == pytest.approx((5000.0, 50.0), abs=10)
    assert server.raw.pttl(KEY) / 1000 == pytest.approx(5000.0, abs=10)


def test_oldest_of_too_many_fingerprints_go_first(pool: Pool, server: Server) -> None:
    tickets = pool.start(2)
    at_ms = server.now_us() // 1000
    for start in range(1, MOST, 10_000):
        server.raw.zadd(KEY, {f"old{number}": at_ms + 1_000_000 + number for number in range(start, start + 10_000)})
    newest = [fingerprint(f"new{number}", 1e6) for number in range(2)]
    assert (
        pool.settle(*((ticket, done(proof)) for ticket, proof in zip(tickets, newest, strict=True))) == [Applied()] * 2
    )
    assert server.raw.zcard(KEY) == MOST
    assert are_done(pool, fingerprint("old2"), fingerprint("old3"), *newest) == [False, True, True, True]


def test_records_that_are_kept_long_push_out_none_of_the_others(pool: Pool, server: Server) -> None:
    """250,000 jobs that were tried again within 30 days must not make a busy token forget its newest ones."""
    tickets = pool.start(3)
    pool.settle((tickets[0], done(fingerprint("kept", 1e6, is_stored=True))))
    at_ms, key = server.now_us() // 1000, "ns:restbroker:done:t:stored:a"
    server.raw.zadd(key, {f"old{number}": at_ms + 2_000_000_000 + number for number in range(MOST)})
    pool.settle((tickets[1], done(fingerprint("new"))), (tickets[2], done(fingerprint("other", queue="b"))))
    assert are_done(pool, fingerprint("new"), fingerprint("other"), fingerprint("kept")) == [True] * 3


def test_job_stored_with_a_mark_is_known_until_it_is_done(pool: Pool) -> None:
    stored = fingerprint("m1", 5000.0, is_stored=True, is_done=False)
    fates: list[Settlement] = [Retry(1e6, b"1", claims=(stored,)), Dead(1.0, b"2"), done(fingerprint("m1", 1.0, "b"))]
    for ticket, settlement in zip(pool.start(3), fates, strict=True):
        pool.settle((ticket, settlement))
        left_s = stored_for_s(pool.client, [fingerprint("m1", queue="b"), fingerprint("m2")])
        expected = math.inf if isinstance(settlement, Ack) else pytest.approx(5000.0, abs=10)
        assert left_s == [expected, 0.0]
