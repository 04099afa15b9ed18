"""Several targets in one broker: what befalls one pool, and what the others notice of it."""

import pytest

from restbroker.broker.worker_pool import WorkerPool
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered
from restbroker.store import identities, jobs
from restbroker.telemetry.events import BrokerStarted, BrokerStopped, IdentityFenced, JobFinished, TargetDown
from restbroker.transport.message import NotSent
from tests.broker.conftest import Harness, Held, Scripted, ok, refuse

JOBS = 300


def done(harness: Harness, target: str) -> list[JobFinished]:
    return [event for event in harness.of(JobFinished) if event.target == target]


@pytest.mark.promise("A good citizen", "a dead or slow target holds no other up")
@pytest.mark.promise("Security: who controls a server's answers", "to hold other targets up")
async def test_third_target_finishes_while_one_is_dead_and_one_slow(harness: Harness) -> None:
    late = Held()
    harness.target = Scripted(refuse, probe_answer=NotSent("refused"))
    harness.others = {"slow": Scripted(late), "well": Scripted(ok)}
    for queue in ("rest", "slow", "well"):
        harness.push(count=JOBS, into=queue)
    async with harness.broker():
        await harness.until(lambda: len(done(harness, "well")) == JOBS, "the third does all its jobs")
        assert done(harness, "slow") == done(harness, "t") == []
        await harness.until(lambda: len(harness.others["slow"].calls) == harness.concurrency, "the slow one is busy")
        late.let.set()
        await harness.until(lambda: len(done(harness, "slow")) == JOBS, "the slow one goes on")
    assert {event.outcome for event in harness.of(JobFinished)} == {"delivered"}
    assert harness.size("queue:rest") == JOBS
    assert harness.size("retry") == harness.size("dead") == 0
    assert {event.target for event in harness.of(TargetDown)} == {"t"}


async def test_lost_rights_of_one_pool_renew_those_of_all(harness: Harness) -> None:
    harness.others = {"two": Scripted(ok)}
    async with harness.broker():
        await harness.until(lambda: harness.of(BrokerStarted), "the broker serves")
        before = identities.live_identities(harness.client)
        (victim,) = (identity for identity in before if identity.endswith(":two"))
        await harness.fence(victim)
        await harness.until(lambda: len(harness.of(BrokerStarted)) == 2, "it serves again")
        harness.push(count=5)
        harness.push(count=5, into="two")
        await harness.until_ended(10)
        assert not set(before) & set(identities.live_identities(harness.client))
    assert [event.identity for event in harness.of(IdentityFenced)] == [victim]


async def test_a_stop_puts_back_the_jobs_of_each_pool_to_its_own_queue(harness: Harness) -> None:
    harness.target.answer = Held()
    harness.others = {"two": Scripted(Held(), judge=lambda _call, _response: Delivered("0", 0, 200))}
    harness.shutdown_timeout_s = 0.1
    harness.push("once", count=20)
    harness.push("once", count=20, into="two")
    await harness.serve_until(lambda: len(harness.target.sent) == 3 == len(harness.others["two"].sent), "all are busy")
    assert harness.size("queue:rest") == harness.size("queue:two") == 17
    assert sorted(job["queue"] for job in harness.members("retry")) == ["rest"] * 3 + ["two"] * 3
    stopped = harness.of(BrokerStopped)[0]
    assert (stopped.clean, stopped.uncertain) == (True, 6)


async def test_the_limits_of_a_target_hold_for_it_alone(harness: Harness) -> None:
    harness.limits = jobs.Limits(in_flight=1)
    harness.target.answer = held = Held()
    harness.others = {"two": Scripted(ok)}
    harness.push(count=3)
    harness.push(count=20, into="two")
    async with harness.broker():
        await harness.until(lambda: len(done(harness, "two")) == 20, "the other one is not held up")
        assert len(harness.target.calls) == 1
        held.let.set()
        await harness.until(lambda: len(done(harness, "t")) == 3, "its jobs follow one by one")


@pytest.mark.parametrize(("pools", "ways"), [(10, 10), (11, 1)])
async def test_many_pools_share_a_connection_and_settle_their_own_jobs(harness: Harness, pools: int, ways: int) -> None:
    trips: set[int] = set()

    def look(pool: WorkerPool) -> dict[str, Json]:
        trips.add(id(pool.acker.store.trips))
        return {}

    harness.snapshot = look
    names = [f"target{number}" for number in range(1, pools)]
    harness.others = {name: Scripted(ok) for name in names}
    for queue in ("rest", *names):
        harness.push(count=JOBS // 10, into=queue)
    async with harness.broker():
        await harness.until(lambda: len(trips) >= ways, "there was a heartbeat")
        await harness.until(lambda: len(harness.of(JobFinished)) == pools * JOBS // 10, "all jobs are done")
    assert len(trips) == ways
    assert all(len(done(harness, name)) == JOBS // 10 for name in ("t", *names))
    assert harness.size("retry") == harness.size("dead") == 0
