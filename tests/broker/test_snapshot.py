"""What a process tells of a target with its beat, for `restbroker stats`."""

from restbroker.app.snapshot import snapshot
from restbroker.broker.worker_pool import WorkerPool
from restbroker.telemetry.counters import Counters
from tests.broker.conftest import Harness, Held


async def test_jobs_that_the_server_has_are_told_from_those_that_wait_in_the_process(harness: Harness) -> None:
    pools: list[WorkerPool] = []
    harness.target.answer = held = Held()
    harness.snapshot = lambda pool: pools.append(pool) or {}  # type: ignore[func-returns-value]
    harness.push(count=30)
    async with harness.broker():
        await harness.until(lambda: pools, "it beats")
        jobs = pools[0].reservations.jobs
        await harness.until(lambda: len(jobs) > 3 == len(harness.target.calls), "three are sent")
        told = snapshot(pools[0], Counters())
        assert (told["at_work"], told["workers"]) == (3, 3)
        assert told["limits"] == {"concurrency": 3, "now": 3, "rate_per_s": None, "burst": None, "in_flight": None}
        assert told["gate_code"] is None
        assert told["ahead"] == len(jobs) - 3
        held.let.set()
        await harness.until(lambda: not jobs, "all are settled")
        told = snapshot(pools[0], Counters())
        assert (told["at_work"], told["ahead"]) == (0, 0)
