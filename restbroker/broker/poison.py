"""Finds out which job crashes processes, without harm to those beside it.

The poller calls `make_ready` for the jobs that it fetched. A job that was in progress when two processes died is a
suspect: it runs with nothing else in progress, so that a crash then can only be its own (`jobs.isolate` marks it, and
the reaper makes it dead after that crash). Always holds: a job that must wait for a suspect is requeued; a suspect that
is not run stays reserved, and is requeued at the end of the generation; and no suspect holds other jobs up for long:
other jobs run between two suspects, and beside a suspect that has run for `_PATIENCE_S` seconds.
"""

from collections.abc import Collection, Sequence
from functools import partial

import attrs
import trio

from restbroker.broker.acker import Acker
from restbroker.broker.agent import Agent
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.errors import StoreRefused
from restbroker.job.settlement import Requeue
from restbroker.store import jobs as store_jobs
from restbroker.telemetry.events import OperatorWarning

# Why: docs/design.md#poison
SUSPECT_AFTER = 2
"""In how many crashes a suspect was in progress; one may be an accident."""
_PATIENCE_S = 10.0
"""Seconds that the others may take to end before a suspect runs, and that a suspect runs before others join it."""
_LOOK_AGAIN_S = 0.5


@attrs.define(eq=False)
class PoisonDetector(Agent):
    """Gives jobs to the worker of one pool, in such a way that suspects run alone."""

    acker: Acker
    _others_first: bool = False

    async def make_ready(self, jobs: Sequence[JobInProgress]) -> None:
        """Give reserved jobs to the worker, in the order of their tickets.

        With a suspect among them, wait until that is settled, or has lived for a while. Wait while Redis is away. Safe
        to cancel. Raise `StoreRefused`: then those that no worker has are no longer in progress here.
        """
        crashes, places = self.crashes, set[int]()
        if max(crashes.counts.values(), default=0) >= SUSPECT_AFTER:
            places = {place for place, job in enumerate(jobs) if crashes.of(job.raw) >= SUSPECT_AFTER}
        others = [job for place, job in enumerate(jobs) if place not in places]
        if not places:
            self.ready.send_nowait(jobs)
        elif self._others_first and others:
            self._others_first = False
            self.ready.send_nowait(others)
            await self._requeue([jobs[place] for place in sorted(places)])
        else:
            self._others_first = True
            first = min(places)
            self.ready.send_nowait(jobs[:first])
            await self._requeue(jobs[first + 1 :])
            await self._run_alone(jobs[first])

    async def _requeue(self, jobs: Sequence[JobInProgress]) -> None:
        for job in jobs:
            job.decide(Requeue())
        await self.acker.commit(list(jobs))

    async def _run_alone(self, suspect: JobInProgress) -> None:
        """Wait until it is alone, then let it start; with others if that takes too long."""
        try:
            is_alone = await self._until_reserved({suspect.ticket})
            if is_alone and not await self._isolate(suspect):
                self.reservations.release(suspect.ticket)
                return
        except StoreRefused:
            # No worker has it now: the reconcile before the next fetch takes it up again.
            self.reservations.release(suspect.ticket)
            raise
        if is_alone:
            self._report(suspect)
            # Redis knows: it marks as started what it isolates. Else `_confirm` tells it first.
            self.ready.confirm(suspect.number, suspect.number)
        self.ready.send_nowait([suspect])
        if not await self._until_reserved(()):
            await self.health.call_until_up(self.store, store_jobs.rejoin, self.identity.name, suspect.ticket)

    async def _isolate(self, suspect: JobInProgress) -> bool:
        """Record in Redis that the suspect runs alone; return False if it is no longer in progress.

        Raise `StoreRefused`.
        """
        answer = await self.health.call_until_up(self.store, store_jobs.isolate, self.identity.name, suspect.ticket)
        if isinstance(answer, store_jobs.IdentityUnknown):
            self.identity.fence()
            await trio.sleep_forever()
        return bool(answer)

    def _report(self, suspect: JobInProgress) -> None:
        self.identity.report(
            OperatorWarning(
                "SuspectJob",
                f"A job of the queue {suspect.queue!r} was in progress when processes died "
                f"({self.crashes.of(suspect.raw)} times); it runs alone.",
                "If a process dies again while this job runs, the job becomes dead with the code Poison.",
            )
        )

    async def _until_reserved(self, tickets: Collection[str]) -> bool:
        """Wait until no job but these is reserved; return False if that takes longer than `_PATIENCE_S`."""
        deadline_s = trio.current_time() + _PATIENCE_S
        while self.reservations.jobs.keys() - tickets:
            if trio.current_time() >= deadline_s:
                return False
            if self.ready.is_blocked:
                await self._confirm()
            with trio.move_on_after(_LOOK_AGAIN_S):
                await self.reservations.wait_for_release()
        return True

    async def _confirm(self) -> None:
        """Tell Redis which jobs may be started, by a fetch of none."""
        last, mark = self.reservations.last_number, self.ready.high_water
        request = store_jobs.FetchRequest(
            identity=self.identity.name, target=self.plan.target.name, queues=(), base=last, count=0, hwm=mark
        )
        answer = await self.health.await_until_up(partial(self.store.fetch, request))
        if isinstance(answer, store_jobs.IdentityUnknown):
            self.identity.fence()
        elif not isinstance(answer, store_jobs.Duplicate):
            self.ready.confirm(request.hwm, request.base)
