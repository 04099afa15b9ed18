"""Life, death and recovery of identities."""

import hashlib
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from restbroker.errors import StoreRefused
from restbroker.job.settlement import Ack, Dead, OrphanedJob
from restbroker.store import heartbeats, identities, queues
from restbroker.store.client import Client, items, raw
from restbroker.store.heartbeats import Recovered
from restbroker.store.in_progress import read_jobs
from restbroker.store.jobs import FetchRequest, IdentityUnknown, isolate, mark, register, rejoin
from restbroker.store.server import time_s
from restbroker.store.stats import overview
from tests.store.pools import FACTS, QUEUES, Pool, Server, as_dead, dead_payload, on_both
from tests.support.store_calls import fetch


def today() -> str:
    return datetime.now(UTC).strftime("%Y%m%d")


def sha(job: bytes) -> str:
    return hashlib.sha1(job, usedforsecurity=False).hexdigest()


def test_dead_pools_jobs_return_in_order_and_living_ones_stay(pool: Pool) -> None:
    queues.push(pool.client, "a", [b"%d" % n for n in range(450)])
    queues.push(pool.client, "b", [b"b1"])
    pool.take(451, hwm=300)
    assert heartbeats.recover(pool.client, pool.identity, as_dead) == Recovered(0, 0, set(), 0, retired=False)
    heartbeats.fence(pool.client, pool.identity, 0)
    found = heartbeats.recover(pool.client, pool.identity, as_dead)
    assert found == Recovered(451, 300, set(), 0, retired=True)
    register(pool.client, "new", FACTS, QUEUES)
    jobs = Pool(pool.client, "new").take(500).jobs
    assert [job.raw for job in jobs] == [b"%d" % n for n in range(450)] + [b"b1"]
    assert identities.fenced_identities(pool.client) == {}


def test_jobs_killed_together_share_no_score(pool: Pool) -> None:
    queues.push(pool.client, "a", [b"%d" % n for n in range(250)])
    pool.take(250, hwm=250)
    mark(pool.client, pool.identity, [f"{n}:1" for n in range(1, 251)])
    heartbeats.fence(pool.client, pool.identity, 0)
    assert heartbeats.recover(pool.client, pool.identity, as_dead).dead == 250
    flat = items(pool.client.command("ZRANGE", pool.client.keys.sorted_set("dead"), 0, -1, "WITHSCORES"))
    assert len({raw(score) for score in flat[1::2]}) == 250


def test_perhaps_run_count_rises_once_per_dead_pool(client: Client, server: Server) -> None:
    """It rises up to the pool's high-water mark, and lasts three days."""
    for life in ("one", "two"):
        register(client, life, FACTS, QUEUES)
        size = queues.push(client, "a", [b"same", b"same", b"other"] if life == "one" else [])
        assert size == 3
        Pool(client, life).take(3, hwm=2)
        heartbeats.fence(client, life, 0)
        assert heartbeats.recover(client, life, as_dead).maybe_run == 2
    assert heartbeats.maybe_run(client) == {sha(b"same"): 2}
    register(client, "three", FACTS, QUEUES)
    assert Pool(client, "three").take(1).recoveries_version == 2
    assert 250_000 < server.raw.ttl(f"ns:restbroker:recovered:{today()}") <= 259_200


def test_scripts_that_redis_forgot_are_loaded_again(pool: Pool, server: Server) -> None:
    server.raw.script_flush()
    assert heartbeats.write_heartbeats(pool.client, [(pool.identity, 1), ("nobody", 1), (pool.identity, 2)], {}) == [
        True,
        False,
        True,
    ]


def test_queue_that_is_no_list_has_no_size_and_hides_no_other(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "good", [b"{}"])
    server.raw.sadd("ns:queues", "bad")
    server.raw.set("ns:queue:bad", "x")
    sizes = {queue.name: queue.size for queue in overview(pool.client).queues}
    assert (sizes["good"], sizes["bad"]) == (1, None)
    assert queues.sizes(pool.client, ["bad", "good", "none"]) == {"bad": None, "good": 1, "none": 0}


def crash(client: Client, life: str, *, alone: bool) -> Recovered:
    """A pool that takes one job, isolates it or not, and dies of it."""
    identity = f"h:1:{life}:t"
    register(client, identity, attrs.evolve(FACTS, pid=sum(life.encode())), QUEUES)
    (taken,) = Pool(client, identity).take(1, hwm=1).jobs
    if alone:
        assert isolate(client, identity, taken.ticket) is True
    assert heartbeats.fence(client, identity, 0)
    return heartbeats.recover(client, identity, as_dead, as_poison, waits)


def as_poison(fallen: OrphanedJob) -> Dead:
    return Dead(0.0, b'{"poison":"%s"}' % fallen.raw)


def waits(raw: bytes, _queue: str) -> bool:
    return raw.startswith(b"w")


def test_job_is_poison_once_it_caused_the_last_three_crashes(client: Client, server: Server) -> None:
    queues.push(client, "a", [b"1"])
    crash(client, "one", alone=False)
    crash(client, "two", alone=False)
    assert [crash(client, life, alone=True).dead for life in ("three", "four", "five")] == [0, 0, 1]
    assert heartbeats.maybe_run(client) == {sha(b"1"): 5}
    assert server.raw.zrange("ns:dead", 0, -1) == [b'{"poison":"1"}']
    assert queues.sizes(client, ["a"]) == {"a": 0}


@pytest.mark.promise("No command is lost", "a job kills every process that sends it")
def test_lone_job_is_no_poison_where_processes_die_otherwise_too(client: Client) -> None:
    for number in range(4):
        queues.push(client, "a", [b"innocent"])
        assert crash(client, f"alone {number}", alone=True).dead == 0
        assert crash(client, f"alone again {number}", alone=True).dead == 0
        (taken,) = take_all(client, f"settler {number}")
        assert taken == b"innocent"
        queues.push(client, "a", [b"other"])
        crash(client, f"among others {number}", alone=False)
        take_all(client, f"second settler {number}")


def take_all(client: Client, life: str) -> list[bytes]:
    """Takes and settles everything."""
    register(client, life, FACTS, QUEUES)
    jobs = Pool(client, life).take(100).jobs
    Pool(client, life).settle(*((job.ticket, Ack()) for job in jobs))
    return [job.raw for job in jobs]


def test_job_waits_5_s_after_its_third_crash_and_5_min_at_most(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    jitters = iter([1.0, 1.0, 0.75, 1.25, *[1.0] * 6])

    def jitter(least: float, most: float) -> float:
        return min(max(next(jitters), least), most)

    monkeypatch.setattr("restbroker.store.heartbeats.random.uniform", jitter)
    for life in ("one", "two"):
        queues.push(client, "a", [b"w1"])
        crash(client, life, alone=False)
        server.raw.delete("ns:queue:a")
    for number, wait_s in enumerate((3.75, 12.5, 20, 40, 80, 160, 300, 300)):
        queues.push(client, "a", [b"w1"])
        before_s = time_s(client)
        crash(client, f"life {number}", alone=number == 4)
        score = server.raw.zscore("ns:schedule", b"w1")
        assert before_s + wait_s - 1e-5 <= score <= time_s(client) + wait_s
        assert queues.sizes(client, ["a"]) == {"a": 0}
        server.raw.delete("ns:schedule")


def test_crash_beside_another_pool_of_the_process_proves_nothing(client: Client, server: Server) -> None:
    queues.push(client, "a", [b"1"])
    for life in range(10):
        process = sum(f"life {life}".encode())
        register(client, f"other {life}", attrs.evolve(FACTS, pid=process, target="other"), QUEUES)
        queues.push(client, "b", [b"beside"])
        fetch(client, FetchRequest(f"other {life}", "other", ("b",), 0, 1, 1))
        if life >= 5:
            heartbeats.fence(client, f"other {life}", 0)
        assert crash(client, f"life {life}", alone=True).dead == 0
        heartbeats.fence(client, f"other {life}", 0)
        heartbeats.recover(client, f"other {life}", as_dead)
        server.raw.delete("ns:queue:b")
    assert queues.sizes(client, ["a"]) == {"a": 1}


def test_jobs_of_another_pool_are_known_though_returned_before(client: Client, server: Server) -> None:
    queues.push(client, "a", [b"1"])
    for life in range(5):
        other, mine = f"h:1:{life}:o", f"h:1:{life}:t"
        register(client, other, attrs.evolve(FACTS, target="o"), QUEUES)
        queues.push(client, "b", [b"beside"])
        fetch(client, FetchRequest(other, "o", ("b",), 0, 1, 1))
        register(client, mine, FACTS, QUEUES)
        (taken,) = Pool(client, mine).take(1, hwm=1).jobs
        isolate(client, mine, taken.ticket)
        for identity in (other, mine):
            heartbeats.fence(client, identity, 0)
            assert heartbeats.recover(client, identity, as_dead).dead == 0
        server.raw.delete("ns:queue:b")


def test_job_joined_by_others_is_not_alone_and_keeps_its_marks(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1"])
    pool.take(1, hwm=1)
    isolate(pool.client, pool.identity, "1:1")
    rejoin(pool.client, pool.identity, "1:1")
    assert server.raw.exists(f"ns:restbroker:sent:{pool.identity}") == 0
    mark(pool.client, pool.identity, ["1:1"])
    rejoin(pool.client, pool.identity, "1:1")
    assert server.raw.hgetall(f"ns:restbroker:sent:{pool.identity}") == {b"1:1": b"once"}


def test_a_job_that_was_alone_and_is_settled_leaves_no_mark(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1"])
    pool.take(1, hwm=1)
    assert isolate(pool.client, pool.identity, "1:1") is True
    pool.settle(("1:1", Ack()), hwm=1)
    assert server.raw.exists(f"ns:restbroker:sent:{pool.identity}") == 0


def test_unsafe_job_dies_as_unsafe_even_when_it_was_alone(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1"])
    pool.take(1, hwm=1)
    isolate(pool.client, pool.identity, "1:1")
    mark(pool.client, pool.identity, ["1:1"])
    heartbeats.fence(pool.client, pool.identity, 0)
    assert heartbeats.recover(pool.client, pool.identity, as_dead).dead == 1
    assert server.raw.zrange("ns:dead", 0, -1) == [dead_payload("a", b"1")]


def test_a_fenced_pool_isolates_nothing(pool: Pool) -> None:
    queues.push(pool.client, "a", [b"1"])
    pool.take(1, hwm=1)
    assert isolate(pool.client, pool.identity, "9:1") is False
    heartbeats.fence(pool.client, pool.identity, 0)
    assert isolate(pool.client, pool.identity, "1:1") == IdentityUnknown()


def test_foreign_field_is_reported_and_the_jobs_go_back(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1"])
    pool.take(1, hwm=1)
    odd = ("note", "5:9", "0:1", "1:0", "1:x")
    server.raw.hset(f"ns:restbroker:ip:{pool.identity}", mapping=dict.fromkeys(odd, "x"))
    heartbeats.fence(pool.client, pool.identity, 0)
    with pytest.raises(StoreRefused, match="has entries that restbroker did not write") as caught:
        heartbeats.recover(pool.client, pool.identity, as_dead)
    assert not [field for field in odd if field not in caught.value.message]
    assert queues.sizes(pool.client, ["a"]) == {"a": 1}
    server.raw.hdel(f"ns:restbroker:ip:{pool.identity}", *odd)
    server.raw.hset(f"ns:restbroker:ip:{pool.identity}", "", "x")
    with pytest.raises(StoreRefused, match="has entries that restbroker did not write"):
        heartbeats.recover(pool.client, pool.identity, as_dead)
    server.raw.hdel(f"ns:restbroker:ip:{pool.identity}", "")
    assert heartbeats.recover(pool.client, pool.identity, as_dead).retired


def test_a_pool_without_its_record_takes_nothing_more(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1"])
    server.raw.delete(f"ns:restbroker:info:{pool.identity}")
    assert pool.ask(1, hwm=1) == IdentityUnknown()


def test_counts_of_last_days_add_up_without_those_of_no_job(pool: Pool, server: Server) -> None:
    now = datetime.fromtimestamp(time_s(pool.client), UTC)
    days = (
        {"x": "1/0/0:a", "#t": "5"},
        {"x": "2/0/0:b", "odd": "garbage"},
        {"y": "1/0/0:b"},
        {"z": "1/0/0:c"},
        {"old": "1/0/0:c"},
    )
    for back, fields in enumerate(days):
        server.raw.hset(f"ns:restbroker:recovered:{now - timedelta(days=back):%Y%m%d}", mapping=fields)
    assert heartbeats.maybe_run(pool.client) == {"x": 3, "y": 1, "z": 1}


def test_counts_written_by_others_cost_no_job(client: Client, server: Server) -> None:
    for alone in (True, False):
        server.raw.flushdb()
        server.raw.hset(f"ns:restbroker:recovered:{today()}", mapping={"#t": "many", sha(b"1"): "some"})
        queues.push(client, "a", [b"1"])
        assert crash(client, "one", alone=alone) == Recovered(1, 1, set(), 0, retired=True)
        assert queues.sizes(client, ["a"]) == {"a": 1}
        assert heartbeats.maybe_run(client) == {sha(b"1"): 1}


def test_crash_counts_and_jobs_return_though_news_is_unwritable(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1"])
    pool.take(1, hwm=1)
    server.raw.lpush("ns:restbroker:recovered:version", "no number")
    assert heartbeats.fence(pool.client, pool.identity, 0)
    assert heartbeats.recover(pool.client, pool.identity, as_dead) == Recovered(1, 1, set(), 0, retired=True)
    assert queues.sizes(pool.client, ["a"]) == {"a": 1}
    assert heartbeats.maybe_run(pool.client) == {sha(b"1"): 1}


def test_record_without_facts_is_refused_with_the_place_of_jobs(pool: Pool, server: Server) -> None:
    server.raw.hdel("ns:restbroker:info:h:1:abc:t", "pid")
    with pytest.raises(StoreRefused, match="is incomplete \\('pid'\\)") as caught:
        identities.read(pool.client, pool.identity)
    assert "restbroker:ip:*" in (caught.value.hint or "")


@on_both
def test_jobs_killed_together_stay_in_their_order(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1", b"2", b"3"])
    taken = pool.take(3, hwm=3).jobs
    mark(pool.client, pool.identity, [job.ticket for job in taken])
    assert heartbeats.fence(pool.client, pool.identity, 0)
    before_s = time_s(pool.client)
    found = heartbeats.recover(pool.client, pool.identity, as_dead)
    assert (found.jobs, found.dead, found.maybe_run, found.refused, found.retired) == (3, 3, 3, 0, True)
    scores = [score for _, score in server.raw.zrange("ns:dead", 0, -1, withscores=True)]
    assert all(before_s - 1 <= score <= time_s(pool.client) + 1 for score in scores)
    assert scores[2] - scores[0] == pytest.approx(2e-6, abs=1e-6)
    copies = [fields for _, fields in server.raw.xrange("ns:restbroker:parked")]
    assert copies == [
        {b"ticket": b"%d:1" % number, b"payload": dead_payload("a", b"%d" % number)} for number in (3, 2, 1)
    ]


def test_crash_while_another_process_works_still_counts_for_job(client: Client) -> None:
    queues.push(client, "a", [b"other", b"1"])
    register(client, "h:1:busy:t", attrs.evolve(FACTS, pid=7), QUEUES)
    assert len(Pool(client, "h:1:busy:t").take(1, hwm=1).jobs) == 1
    assert [crash(client, life, alone=True).dead for life in ("one", "two", "three")] == [0, 0, 1]


def test_counts_are_dropped_though_news_is_unwritable(pool: Pool, server: Server) -> None:
    server.raw.hset(f"ns:restbroker:recovered:{today()}", mapping={"x": "1/0/0:a", "!x": "1/0/0:", "y": "1/0/0:a"})
    server.raw.lpush("ns:restbroker:recovered:version", "no number")
    heartbeats.forget(pool.client, ["x"])
    assert heartbeats.maybe_run(pool.client) == {"y": 1}


def test_job_unable_to_wait_in_schedule_returns_to_its_queue(client: Client, server: Server) -> None:
    queues.push(client, "a", [b"w1"])
    crash(client, "one", alone=False)
    crash(client, "two", alone=False)
    server.raw.zadd("ns:schedule", {"w1": 5.5})
    assert crash(client, "three", alone=False).jobs == 1
    assert queues.sizes(client, ["a"]) == {"a": 1}
    assert server.raw.zrange("ns:schedule", 0, -1, withscores=True) == [(b"w1", 5.5)]
    server.raw.delete("ns:schedule")
    server.raw.set("ns:schedule", "no set")
    assert crash(client, "four", alone=False).jobs == 1
    assert queues.sizes(client, ["a"]) == {"a": 1}


def test_keys_of_another_type_hold_no_recovery_up(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1", b"2"])
    pool.take(2, hwm=2)
    mark(pool.client, pool.identity, ["1:1"])
    for key in ("restbroker:inflight:t", "restbroker:parked"):
        server.raw.set(f"ns:{key}", "neither hash nor stream")
    assert heartbeats.fence(pool.client, pool.identity, 0)
    found = heartbeats.recover(pool.client, pool.identity, as_dead)
    assert (found.jobs, found.dead, found.retired) == (2, 1, True)
    assert (server.raw.zcard("ns:dead"), server.raw.llen("ns:queue:a")) == (1, 1)


def test_job_unable_to_wait_or_return_stays_in_progress(client: Client, server: Server) -> None:
    queues.push(client, "a", [b"w1"])
    crash(client, "one", alone=False)
    crash(client, "two", alone=False)
    identity = "h:1:three:t"
    register(client, identity, FACTS, QUEUES)
    Pool(client, identity).take(1, hwm=1)
    server.raw.set("ns:schedule", "no set")
    server.raw.set("ns:queue:a", "no list")
    assert heartbeats.fence(client, identity, 0)
    found = heartbeats.recover(client, identity, as_dead, as_poison, waits)
    assert (found.jobs, found.refused, found.retired) == (0, 1, False)
    assert read_jobs(client, identity).jobs == {"1:1": b"w1"}


def test_a_pool_without_a_response_queue_says_so(pool: Pool, server: Server) -> None:
    found = identities.read(pool.client, pool.identity)
    assert found is not None
    assert found.responses is None
    server.raw.hset("ns:restbroker:info:h:1:abc:t", mapping={"response_queue": b"\xff", "response_class": ""})
    spoilt = identities.read(pool.client, pool.identity)
    assert spoilt is not None
    assert (spoilt.responses, spoilt.queues) == (None, QUEUES)


def test_marked_job_with_dead_twin_stays_in_progress(pool: Pool, server: Server) -> None:
    """The twin keeps its score."""
    queues.push(pool.client, "a", [b"1"])
    pool.take(1, hwm=1)
    mark(pool.client, pool.identity, ["1:1"])
    assert heartbeats.fence(pool.client, pool.identity, 0)
    server.raw.zadd("ns:dead", {dead_payload("a", b"1"): 5.5})
    found = heartbeats.recover(pool.client, pool.identity, as_dead)
    assert (found.jobs, found.dead, found.retired) == (0, 0, False)
    assert server.raw.zrange("ns:dead", 0, -1, withscores=True) == [(dead_payload("a", b"1"), 5.5)]
    assert read_jobs(pool.client, pool.identity).jobs == {"1:1": b"1"}
    server.raw.delete("ns:dead")
    assert heartbeats.recover(pool.client, pool.identity, as_dead).dead == 1, "its mark is still there"
