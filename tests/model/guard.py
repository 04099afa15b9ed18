"""Looks over the shoulders of the brokers of a simulated world in the moments that matter, with Redis in full view.

After each step of any task it compares what the next fetch reads with what it is of: where an update was left out, a
pool might never fetch again.

What is found is noted, not raised: the broker takes an exception for a bug of one job, and nothing else would be seen.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import pytest
import trio

from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.worker_pool import WorkerPool
from restbroker.job.job import MAY_HAVE_RUN_FIELD, UNCERTAIN_FIELD
from tests.model.world import OWNER, Process, World


@attrs.define(eq=False)
class Guard(trio.abc.Instrument):
    """To be among the instruments of the run that it looks at."""

    broken: list[str] = attrs.field(factory=list)
    pools: list[WorkerPool] = attrs.field(factory=list)

    def after_task_step(self, _task: trio.lowlevel.Task) -> None:
        """Nothing is in the middle of anything now."""
        for pool in self.pools:
            self.look_at_demand(pool)

    def look_at_demand(self, pool: WorkerPool) -> None:
        """While the worker takes jobs, it says of them and of the breaker what these say themselves."""
        demand, breaker = pool.ready.demand, pool.breaker
        if not demand.places:
            return
        deliveries = list(pool.worker.life.deliveries.values())
        limit = breaker.semaphore.limit if breaker.admits and not breaker.stopped else 0
        free = pool.ready.places - sum(delivery.has_worker_place for delivery in deliveries)
        capacity = limit - sum(delivery.has_breaker_place for delivery in deliveries)
        if (demand.places - demand.busy, demand.limit - demand.in_delivery) != (free, capacity):
            self.broken.append(f"{free} places of the worker and {capacity} of the breaker are free: {demand}")
        if demand.line is not breaker.semaphore.line or pool.ready.waiting_tickets() - pool.reservations.jobs.keys():
            self.broken.append(f"other jobs wait: {demand}")

    def look_at_sending(self, job: JobInProgress) -> None:
        """Its first byte leaves now: it is ours, our lease is fresh and the breaker admits it."""
        pool = next((pool for pool in self.pools if pool.reservations.jobs.get(job.ticket) is job), None)
        if pool is None:
            self.broken.append(f"{job.ticket} is sent, and is not ours")
            return
        if not pool.lease.is_fresh:
            self.broken.append(f"{job.ticket} is sent without a fresh lease")
        if not pool.breaker.admits or pool.breaker.stopped:
            self.broken.append(f"{job.ticket} is sent though its breaker admits none")

    def look_at_confirming(self, job: JobInProgress) -> None:
        """It is released now: Redis does not list it as ours any more."""
        owner = OWNER.get()
        assert owner is not None
        for identity in owner.identities:
            if job.raw and owner.world.reference.data.held[identity].jobs.get(job.ticket) == job.raw:
                self.broken.append(f"{job.ticket} is released, and Redis lists it")

    def look_at_stop(self, process: Process) -> None:
        """It ended, and nothing had kept it from Redis: it left no job behind for others to find."""
        if not process.cleanly:
            self.broken.append("a process left jobs behind when it stopped")

    def look_at_dead(self, world: World) -> None:
        """A person who finds a job that they cancelled learns there whether it may have run."""
        ran = set(world.target.jids)
        for raw in world.reference.data.sets["dead"]:
            entry = json.loads(raw)
            is_noted = entry.get(MAY_HAVE_RUN_FIELD) or entry.get(UNCERTAIN_FIELD)
            if entry.get("error_class") == "Cancelled" and entry["jid"] in ran and not is_noted:
                self.broken.append(f"{entry['jid']} ran, and is dead as one that was not sent")


@contextmanager
def guarded(patch: pytest.MonkeyPatch) -> Iterator[Guard]:
    """Looks on inside the block; fails behind it if something was wrong."""
    guard, make = Guard(), WorkerPool.__attrs_post_init__
    start_sending, confirm = JobInProgress.start_sending, JobInProgress.confirm

    def look_and_start(job: JobInProgress) -> None:
        guard.look_at_sending(job)
        start_sending(job)

    def look_and_confirm(job: JobInProgress) -> None:
        guard.look_at_confirming(job)
        confirm(job)

    def make_and_note(pool: WorkerPool) -> None:
        make(pool)
        guard.pools.append(pool)

    patch.setattr(WorkerPool, "__attrs_post_init__", make_and_note)
    patch.setattr(JobInProgress, "start_sending", look_and_start)
    patch.setattr(JobInProgress, "confirm", look_and_confirm)
    yield guard
    assert not guard.broken, guard.broken
