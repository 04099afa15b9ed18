"""What bounds a target over all processes: rate, jobs in progress, dead set, pauses."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restbroker.errors import StoreRefused
from restbroker.job.settlement import Ack, Dead, Requeue
from restbroker.store import heartbeats, limits, queues
from restbroker.store.client import Client, open_client
from restbroker.store.codes import Applied, Gone
from restbroker.store.in_progress import read_jobs
from restbroker.store.jobs import (
    FetchAnswer,
    FetchRequest,
    FetchResult,
    LimitReached,
    Limits,
    UnknownTickets,
    register,
    retire,
)
from tests.store.pools import FACTS, QUEUES, Pool, Server, as_dead, is_retired, on_both
from tests.support.store_calls import fetch

RATE, IN_FLIGHT, PAUSE = "ns:restbroker:rate:t", "ns:restbroker:inflight:t", "ns:restbroker:pause:t"
SLOW = Limits(emission_us=60_000_000, burst=3)
"""A minute per job: no token comes back while a test runs."""


def ask(pool: Pool, bound: Limits, *, want: int = 10, hwm: int = 0) -> FetchAnswer:
    """One fetch of a pool that knows what it has."""
    return pool.ask(want, hwm, base=read_jobs(pool.client, pool.identity).last, limits=bound)


def taken(pool: Pool, bound: Limits, *, want: int = 10) -> int:
    answer = ask(pool, bound, want=want)
    assert isinstance(answer, FetchResult), answer
    return len(answer.jobs)


def acknowledge(pool: Pool, count: int, hwm: int = 0) -> None:
    tickets = sorted(read_jobs(pool.client, pool.identity).jobs)[:count]
    assert pool.settle(*((ticket, Ack()) for ticket in tickets), hwm=hwm) == [Applied()] * count


def second(pool: Pool) -> Pool:
    assert register(pool.client, "second", FACTS, QUEUES)
    return Pool(pool.client, "second")


@pytest.fixture(autouse=True)
def many_jobs(client: Client, server: Server) -> None:
    queues.push(client, "a", [b"%d" % n for n in range(100)])


def test_no_more_than_the_burst_is_taken_at_once_by_all_together(pool: Pool) -> None:
    other = second(pool)
    assert taken(pool, SLOW, want=2) == 2
    assert taken(other, SLOW) == 1
    assert ask(other, SLOW) == ask(pool, SLOW) == LimitReached("rate", 1000)


def test_missing_job_costs_no_token(pool: Pool, server: Server) -> None:
    server.raw.delete("ns:queue:a")
    assert taken(pool, SLOW) == 0
    assert server.raw.exists(RATE) == 0
    queues.push(pool.client, "b", [b"1"])
    assert taken(pool, SLOW) == 1
    assert queues.push(pool.client, "b", [b"2", b"3", b"4"]) == 3
    assert taken(pool, SLOW) == 2


def test_a_fetch_whose_answer_was_lost_is_paid_once(pool: Pool) -> None:
    pool.take(2, limits=SLOW)
    assert pool.ask(2, limits=SLOW) == UnknownTickets(2)
    assert taken(pool, SLOW) == 1


def test_jobs_that_go_back_do_not_give_their_tokens_back(pool: Pool) -> None:
    assert taken(pool, SLOW) == 3
    pool.settle(*((ticket, Requeue()) for ticket in read_jobs(pool.client, pool.identity).jobs))
    assert ask(pool, SLOW) == LimitReached("rate", 1000)


def test_asking_for_no_job_is_never_limited(pool: Pool, server: Server) -> None:
    assert taken(pool, Limits(60_000_000, 1, 1, 1)) == 1
    server.raw.zadd("ns:dead", {"x": 1})
    assert taken(pool, Limits(60_000_000, 1, 1, 1), want=0) == 0


def test_each_bound_limits_alone_and_confirms_started_jobs(pool: Pool, server: Server) -> None:
    taken(pool, SLOW, want=3)
    server.raw.zadd("ns:dead", {"x": 1})
    for hwm, bound in enumerate((SLOW, Limits(in_flight=3), Limits(dead=1)), 1):
        assert isinstance(ask(pool, bound, want=1, hwm=hwm), LimitReached)
        assert read_jobs(pool.client, pool.identity).hwm == hwm
    acknowledge(pool, 3)
    assert taken(pool, Limits()) == 10
    assert server.raw.hlen(IN_FLIGHT) == 0, "without bounds nothing is written for them"


@on_both
def test_rate_is_forgotten_in_the_millisecond_the_bucket_is_full(pool: Pool, server: Server) -> None:
    for is_late in (False, True):
        server.raw.delete(RATE)
        before_us = server.now_us()
        if is_late:
            assert limits.charge(pool.client, "t", SLOW) == 0
        else:
            assert taken(pool, SLOW, want=1) == 1
        full_us = int(server.raw.get(RATE))
        assert before_us + 60_000_000 <= full_us <= server.now_us() + 60_000_000
        assert 0 <= server.raw.pexpiretime(RATE) * 1000 - full_us < 1000


def test_waiting_pool_learns_the_millisecond_of_its_token(pool: Pool, server: Server) -> None:
    bound = Limits(emission_us=1_000_000, burst=1)
    for is_late in (False, True) * 10:
        token_us = server.now_us() + 990_000
        server.raw.set(RATE, token_us)
        before_us = server.now_us()
        answer = LimitReached("rate", limits.charge(pool.client, "t", bound)) if is_late else ask(pool, bound)
        after_us = server.now_us()
        assert isinstance(answer, LimitReached)
        assert token_us - after_us <= 1000 * answer.for_ms < token_us - before_us + 1000


@pytest.mark.promise("A good citizen", "RateLimit holds for all processes together")
def test_time_of_a_faster_clock_delays_by_one_burst_at_most(pool: Pool, server: Server) -> None:
    server.raw.set(RATE, server.now_us() + 3_600_000_000)
    bound = Limits(emission_us=1_000_000, burst=5)
    assert ask(pool, bound) == LimitReached("rate", 1000)
    assert 4_000_000 < int(server.raw.get(RATE)) - server.now_us() <= 5_000_000
    assert 4_000 < server.raw.pttl(RATE) <= 5_001
    server.raw.set(RATE, server.now_us() + 3_600_000_000)
    assert limits.charge(pool.client, "t", bound) == 1000
    assert 4_000_000 < int(server.raw.get(RATE)) - server.now_us() <= 5_000_000


def test_pool_waits_for_as_many_tokens_as_come_soon(pool: Pool, server: Server) -> None:
    rows = {
        (2_000, 6, 10): 6,  # half the burst
        (2_000, 7, 10): 6,
        (2_000, 6, 2): 4,  # what is wanted
        (2_000, 6, 1): 2,
        (2_000, 1, 10): 2,
        (4_000, 10, 10): 10,  # what comes within 10 ms
        (20_000, 10, 10): 20,  # the next one
        (1_500, 1, 10): 2,
        (100, 4, 10): 1,
        (2_000_000, 10, 10): 1000,
    }
    answers = {}
    for emission_us, burst, want in rows:
        server.raw.set(RATE, server.now_us() + 3_600_000_000)
        answers[emission_us, burst, want] = ask(pool, Limits(emission_us, burst), want=want)
    assert answers == {row: LimitReached("rate", wait_ms) for row, wait_ms in rows.items()}


Step = tuple[int, int, int]


@pytest.mark.promise("A good citizen", "RateLimit holds for all processes together")
@given(
    emission_us=st.integers(100, 500_000),
    burst=st.integers(1, 40),
    steps=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 30), st.integers(0, 1_000_000)), max_size=25),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_starts_never_exceed_burst_and_rate(server: Server, emission_us: int, burst: int, steps: list[Step]) -> None:
    server.raw.flushall()
    bound, client = Limits(emission_us, burst), open_client(server.settings)
    pools = [Pool(client, name) for name in ("one", "two")]
    assert all(register(client, pool.identity, FACTS, QUEUES) for pool in pools)
    queues.push(client, "a", [b"x"] * 900)
    passed_us, history = 0, []
    for who, want, gap_us in steps:
        before = server.now_us() + passed_us
        if who == 2:
            wait_ms = limits.charge(client, "t", bound)
            started = int(wait_ms == 0)
        else:
            answer = ask(pools[who], bound, want=want)
            assert isinstance(answer, LimitReached | FetchResult)
            started = len(answer.jobs) if isinstance(answer, FetchResult) else 0
            wait_ms = answer.for_ms if isinstance(answer, LimitReached) else 0
        history.append((before, server.now_us() + passed_us, started))
        assert started > 0 or wait_ms > 0
        passed_us += pass_time(server, wait_ms * 1000 or gap_us)
        if wait_ms:
            history.append((server.now_us() + passed_us, server.now_us() + passed_us + 10**6, 1))
            assert limits.charge(client, "t", bound) == 0, "who waited that long finds a token"
    client.close()
    for first, (begin, _, _) in enumerate(history):
        for last in range(first, len(history)):
            window_us = history[last][1] - begin
            assert sum(started for _, _, started in history[first : last + 1]) <= burst + window_us / emission_us


def pass_time(server: Server, by_us: int) -> int:
    """As if so much time had passed: nobody sleeps."""
    until = server.raw.get(RATE)
    if until is not None:
        server.raw.set(RATE, int(until) - by_us, keepttl=True)
    return by_us


@pytest.mark.promise("A good citizen", "MaxInFlight holds for all processes together")
def test_a_dead_pool_s_share_is_held_until_its_jobs_are_back(pool: Pool, server: Server) -> None:
    other, bound = second(pool), Limits(in_flight=3)
    assert taken(pool, bound) == 3
    heartbeats.fence(pool.client, pool.identity, 0)
    assert isinstance(ask(other, bound), LimitReached)
    heartbeats.recover(pool.client, pool.identity, as_dead)
    assert is_retired(pool.client, pool.identity)
    assert server.raw.exists(IN_FLIGHT) == 0
    assert taken(other, bound) == 3


def test_wrong_share_is_mended_by_next_settlement_and_fetch(pool: Pool, server: Server) -> None:
    bound = Limits(in_flight=5)
    taken(pool, bound, want=3)
    server.raw.hset(IN_FLIGHT, pool.identity, 0)
    assert taken(pool, bound) == 2
    server.raw.hset(IN_FLIGHT, pool.identity, 99)
    acknowledge(pool, 1, hwm=1)
    assert server.raw.hget(IN_FLIGHT, pool.identity) == b"4"
    server.raw.delete(IN_FLIGHT)
    server.raw.delete("ns:queue:a")
    assert taken(pool, bound) == 0
    assert server.raw.hget(IN_FLIGHT, pool.identity) == b"4"
    server.raw.delete(f"ns:restbroker:ip:{pool.identity}")
    assert pool.settle(("1:1", Ack()), hwm=1) == [Gone()]
    assert server.raw.hget(IN_FLIGHT, pool.identity) == b"0", "nothing is left"


def test_smallest_bound_counts_and_only_what_passes_is_paid(pool: Pool) -> None:
    bound = Limits(emission_us=60_000_000, burst=5, in_flight=3)
    assert taken(pool, bound) == 3
    acknowledge(pool, 3)
    assert taken(pool, bound) == 2


@pytest.mark.promise("A good citizen", "at DeadLimit no jobs are taken, and none is trimmed")
def test_a_dead_set_at_its_limit_stops_fetching_and_nothing_else(pool: Pool, server: Server) -> None:
    bound = Limits(dead=2)
    assert taken(pool, bound, want=2) == 2
    server.raw.zadd("ns:dead", {"x": 1})
    assert taken(pool, bound, want=1) == 1
    assert pool.settle(("1:1", Dead(1.0, b"one")), ("2:1", Dead(1.0, b"two"))) == [Applied()] * 2
    assert ask(pool, bound) == LimitReached("dead", 1000)
    assert server.raw.zcard("ns:dead") == 3, "nothing was trimmed"
    server.raw.zrem("ns:dead", "x", "one")
    assert taken(pool, bound, want=1) == 1


def test_key_of_another_type_costs_no_job_and_no_settlement(pool: Pool, server: Server) -> None:
    taken(pool, Limits(), want=4)
    for key in (RATE, IN_FLIGHT, PAUSE, "ns:dead"):
        server.raw.rpush(key, "no such thing")
        with pytest.raises(StoreRefused, match="WRONGTYPE"):
            ask(pool, Limits(60_000_000, 3, 5, 5))
        assert queues.sizes(pool.client, ["a"]) == {"a": 96}
        acknowledge(pool, 1)
        server.raw.delete(key)
    server.raw.rpush(IN_FLIGHT, "no such thing")
    assert retire(pool.client, pool.identity)


def test_unwritable_rate_is_reported_and_costs_no_job(pool: Pool, server: Server) -> None:
    server.raw.acl_setuser("default", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-set"])
    try:
        with pytest.raises(StoreRefused):
            ask(pool, SLOW)
        assert pool.ask(1, limits=SLOW) == UnknownTickets(3)
    finally:
        server.raw.acl_setuser("default", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
    assert read_jobs(pool.client, pool.identity).jobs == {"1:1": b"0", "2:1": b"1", "3:1": b"2"}
    acknowledge(pool, 3)


@on_both
def test_a_pause_of_one_reason_gets_longer_and_never_shorter(client: Client, server: Server) -> None:
    server.raw.hset(PAUSE, "retry_after", 1)
    assert limits.pauses(client, "t") == {}, "one that is over may be made again"
    for length_s, left_s in ((60, 60), (6000, 6000), (60, 6000)):
        limits.pause(client, "t", "retry_after", length_s)
        assert limits.pauses(client, "t")["retry_after"] == pytest.approx(left_s, abs=50)
        assert server.raw.ttl(PAUSE) == pytest.approx(left_s, abs=50), "it ends with its pauses"
    for forever_s in (None, 5):
        limits.pause(client, "t", "retry_after", forever_s)
        assert (limits.pauses(client, "t"), server.raw.ttl(PAUSE)) == ({"retry_after": None}, -1)
    limits.pause(client, "t", "operator", None)
    limits.resume(client, "t", "retry_after")
    assert limits.pauses(client, "t") == {"operator": None}, "the other reason stays"


def test_pause_written_by_hand_has_no_end(client: Client, server: Server) -> None:
    server.raw.hset(PAUSE, "operator", "until Monday")
    assert limits.pauses(client, "t") == {"operator": None}
    limits.pause(client, "t", "operator", 5)
    assert limits.pauses(client, "t") == {"operator": None}


def test_a_recovery_that_redis_refuses_in_part_frees_the_rest(pool: Pool, server: Server) -> None:
    other, bound = second(pool), Limits(in_flight=3)
    queues.push(pool.client, "b", [b"b"])
    fetch(pool.client, FetchRequest(pool.identity, "t", ("b", "a"), 0, 3, 2, bound))
    heartbeats.fence(pool.client, pool.identity, 0)
    server.raw.set("ns:queue:b", "no list")
    assert heartbeats.recover(pool.client, pool.identity, as_dead).refused == 1
    assert server.raw.hgetall(IN_FLIGHT) == {b"h:1:abc:t": b"1"}
    assert taken(other, bound) == 2
