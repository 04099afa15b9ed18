"""Life, death and recovery of identities."""

import json

import pytest

from restbroker.errors import StoreRefused
from restbroker.store import heartbeats, identities, queues
from restbroker.store.client import Client
from restbroker.store.heartbeats import Recovered
from restbroker.store.in_progress import read_jobs
from restbroker.store.jobs import IdentityUnknown, mark, register
from restbroker.store.server import time_s
from restbroker.store.stats import overview
from tests.store.pools import FACTS, QUEUES, Pool, Server, as_dead, dead_payload, die, is_retired, on_both


def test_dead_pools_jobs_return_in_order_and_living_ones_stay(pool: Pool) -> None:
    queues.push(pool.client, "a", [b"%d" % n for n in range(450)])
    queues.push(pool.client, "b", [b"b1"])
    pool.take(451, hwm=300)
    assert heartbeats.recover(pool.client, pool.identity, as_dead) == Recovered()
    found = die(pool.client, pool.identity)
    assert found == Recovered(451, 300)
    register(pool.client, "new", FACTS, QUEUES)
    jobs = Pool(pool.client, "new").take(500).jobs
    assert [job.raw for job in jobs] == [b"%d" % n for n in range(450)] + [b"b1"]
    assert identities.fenced_identities(pool.client) == {}


JOB = b'{"class":"Add","args":["check_account",{},"t"],"jid":"j"}'
"""As README's example pushes it: it names no queue."""


def crash(client: Client, life: str, count: int = 1, hwm: int = 1) -> Recovered:
    """A pool takes jobs of the queue, up to `hwm` reach its worker, and it dies."""
    identity = f"h:1:{life}:t"
    register(client, identity, FACTS, QUEUES)
    assert len(Pool(client, identity).take(count, hwm=hwm).jobs) == count
    return die(client, identity)


def counts_in(queue: list[bytes]) -> list[int]:
    return [json.loads(job).get("restbroker_crashes", 0) for job in queue]


@on_both
def test_each_job_that_a_worker_may_have_had_counts_the_crash(client: Client, server: Server) -> None:
    """Equal ones each for themselves; what no worker had, and what is no job, counts none."""
    queues.push(client, "a", [JOB, JOB, b"no job", JOB])
    found = crash(client, "one", count=4, hwm=3)
    assert (found.jobs, found.maybe_run, found.put_off) == (4, 3, [])
    back = server.raw.lrange("ns:queue:a", 0, -1)[::-1]
    assert back[2:] == [b"no job", JOB]
    assert counts_in(back[:2]) == [1, 1]
    assert server.raw.keys("ns:restbroker:recovered*") == []


@on_both
@pytest.mark.promise("No command is lost", "a job kills every process that sends it")
def test_a_job_waits_from_its_second_crash_on_also_equal_ones(client: Client, server: Server) -> None:
    queues.push(client, "a", [JOB, JOB])
    crash(client, "one", count=2, hwm=2)
    before_s = time_s(client)
    found = crash(client, "two", count=2, hwm=2)
    assert queues.sizes(client, ["a"]) == {"a": 0}
    waiting = server.raw.zrange("ns:schedule", 0, -1, withscores=True)
    assert len(waiting) == 2
    for member, due_s in waiting:
        assert before_s + 10 <= due_s <= time_s(client) + 30
        fields = json.loads(member)
        assert (fields["restbroker_crashes"], fields["queue"], fields["jid"]) == (2, "a", "j")
    assert {(late.queue, late.job.crashes) for late in found.put_off} == {("a", 2)}
    assert {late.job.raw for late in found.put_off} == {member for member, _ in waiting}


def test_a_job_that_cannot_wait_stays_in_progress_until_it_can(client: Client, server: Server) -> None:
    queues.push(client, "a", [JOB])
    crash(client, "one")
    server.raw.set("ns:schedule", "no set")
    found = crash(client, "two")
    assert (found.jobs, found.refused, found.put_off) == (0, 1, [])
    assert not is_retired(client, "h:1:two:t")
    assert queues.sizes(client, ["a"]) == {"a": 0}
    assert counts_in(list(read_jobs(client, "h:1:two:t").jobs.values())) == [1]
    server.raw.delete("ns:schedule")
    found = heartbeats.recover(client, "h:1:two:t", as_dead)
    assert (found.jobs, is_retired(client, "h:1:two:t")) == (1, True)
    assert counts_in(server.raw.zrange("ns:schedule", 0, -1)) == [2]


def test_a_job_is_back_at_once_after_its_sixth_crash_to_be_dead(client: Client, server: Server) -> None:
    queues.push(client, "a", [b'{"restbroker_crashes":5,"class":"Add"}'])
    for life in ("one", "two"):
        assert server.raw.llen("ns:queue:a") == 1
        crash(client, life)
    assert server.raw.llen("ns:queue:a") == 0
    assert counts_in(server.raw.zrange("ns:schedule", 0, -1)) == [6]


def test_recovery_of_what_is_not_fenced_does_nothing(pool: Pool) -> None:
    queues.push(pool.client, "a", [JOB])
    pool.take(1, hwm=1)
    mark(pool.client, pool.identity, ["1:1"])
    for identity in (pool.identity, "nobody"):
        assert heartbeats.recover(pool.client, identity, as_dead) == Recovered()
    assert read_jobs(pool.client, pool.identity).jobs == {"1:1": JOB}


def test_scripts_that_redis_forgot_are_loaded_again(pool: Pool, server: Server) -> None:
    server.raw.script_flush()
    assert heartbeats.write_heartbeats(pool.client, [(pool.identity, 1), ("nobody", 1), (pool.identity, 2)], {}) == [
        True,
        False,
        True,
    ]


def test_many_identities_beat_in_few_calls_and_each_learns_its_own(pool: Pool, server: Server) -> None:
    names = [f"me:{number}" for number in range(401)]
    for name in names:
        register(pool.client, name, FACTS, ("a",))
    heartbeats.fence(pool.client, names[300], 0)
    shown = {names[0]: b"first", names[400]: b"last"}
    server.raw.config_resetstat()
    lives = heartbeats.write_heartbeats(pool.client, [(name, 7) for name in names], shown)
    assert server.raw.info("commandstats")["cmdstat_hset"]["calls"] == 3 + len(shown)
    assert [name for name, is_alive in zip(names, lives, strict=True) if not is_alive] == [names[300]]
    beats = server.raw.hgetall("ns:restbroker:beats")
    assert {name: beats.get(name.encode()) for name in names} == dict.fromkeys(names, b"7") | {names[300]: None}
    assert server.raw.hget("ns:restbroker:info:me:400", "snapshot") == b"last"


def test_queue_that_is_no_list_has_no_size_and_hides_no_other(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "good", [b"{}"])
    server.raw.sadd("ns:queues", "bad")
    server.raw.set("ns:queue:bad", "x")
    sizes = {queue.name: queue.size for queue in overview(pool.client).queues}
    assert (sizes["good"], sizes["bad"]) == (1, None)
    assert queues.sizes(pool.client, ["bad", "good", "none"]) == {"bad": None, "good": 1, "none": 0}


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
    heartbeats.recover(pool.client, pool.identity, as_dead)
    assert is_retired(pool.client, pool.identity)


def test_a_pool_without_its_record_takes_nothing_more(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1"])
    server.raw.delete(f"ns:restbroker:info:{pool.identity}")
    assert pool.ask(1, hwm=1) == IdentityUnknown()


@on_both
def test_jobs_killed_together_share_no_score(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"%d" % number for number in range(1, 251)])
    taken = pool.take(250, hwm=250).jobs
    mark(pool.client, pool.identity, [job.ticket for job in taken])
    assert heartbeats.fence(pool.client, pool.identity, 0)
    assert mark(pool.client, pool.identity, [taken[0].ticket]) == IdentityUnknown()
    before_s = time_s(pool.client)
    found = heartbeats.recover(pool.client, pool.identity, as_dead)
    assert (found.jobs, found.dead, found.maybe_run, found.refused) == (250, 250, 250, 0)
    assert is_retired(pool.client, pool.identity)
    assert mark(pool.client, pool.identity, [taken[0].ticket]) == IdentityUnknown()
    scores = {score for _, score in server.raw.zrange("ns:dead", 0, -1, withscores=True)}
    assert len(scores) == 250
    assert all(before_s - 1 <= score <= time_s(pool.client) + 1 for score in scores)
    copies = [fields for _, fields in server.raw.xrange("ns:restbroker:parked")]
    assert copies[-3:] == [
        {b"ticket": b"%d:1" % number, b"payload": dead_payload("a", b"%d" % number)} for number in (3, 2, 1)
    ]


def test_keys_of_another_type_hold_no_recovery_up(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1", b"2"])
    pool.take(2, hwm=2)
    mark(pool.client, pool.identity, ["1:1"])
    for key in ("restbroker:inflight:t", "restbroker:parked"):
        server.raw.set(f"ns:{key}", "neither hash nor stream")
    found = die(pool.client, pool.identity)
    assert (found.jobs, found.dead, is_retired(pool.client, pool.identity)) == (2, 1, True)
    assert (server.raw.zcard("ns:dead"), server.raw.llen("ns:queue:a")) == (1, 1)


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
    assert (found.jobs, found.dead, is_retired(pool.client, pool.identity)) == (0, 0, False)
    assert server.raw.zrange("ns:dead", 0, -1, withscores=True) == [(dead_payload("a", b"1"), 5.5)]
    assert read_jobs(pool.client, pool.identity).jobs == {"1:1": b"1"}
    server.raw.delete("ns:dead")
    assert heartbeats.recover(pool.client, pool.identity, as_dead).dead == 1, "its mark is still there"
