"""Finds out which job crashes processes, without harm to those beside it.

The fetcher hands every job over through this. A job that was in progress when two processes died is a suspect: it runs
with nothing else in progress, so that only its own crash is laid at its door (`jobs.isolate`; the reaper then parks
it). Always holds: every job that makes way for a suspect goes back to its queue; a suspect that is not run stays in
progress, to be given back at the end of the life; and no suspect holds the others up for long: between two of them
others have their turn, and one that lives for a while runs on among the others.
"""

from collections.abc import Collection, Sequence
from functools import partial

import attrs
import trio

from restbroker.broker.acker import commit
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.worker_pool import WorkerPool
from restbroker.errors import StoreRefused
from restbroker.job.job import digest
from restbroker.job.settlement import Back
from restbroker.store import jobs
from restbroker.telemetry.events import Warned

SUSPECT_AFTER = 2
"""In how many crashes a suspect was in progress; one may be an accident."""
_PATIENCE_S = 10.0
"""Seconds that the others may take to end before a suspect runs, and that a suspect runs before others join it."""
_LOOK_AGAIN_S = 0.5


@attrs.define(eq=False)
class PoisonDetector:
    """The hand-over of one life of a pool, in which suspects run alone."""

    pool: WorkerPool
    _others_first: bool = False

    async def hand_over(self, items: Sequence[JobInProgress]) -> None:
        """Give jobs that are in progress to the workers, in the order of their tickets.

        With a suspect among them, wait until that is settled, or has lived for a while. Wait while Redis is away. Safe
        to cancel. Raise `StoreRefused`: then those that no worker has are no longer in progress here.
        """
        places = self._suspects(items)
        others = [item for place, item in enumerate(items) if place not in places]
        if not places:
            self.pool.ready.put(items)
        elif self._others_first and others:
            self._others_first = False
            self.pool.ready.put(others)
            await self._give_back([items[place] for place in sorted(places)])
        else:
            self._others_first = True
            first = min(places)
            self.pool.ready.put(items[:first])
            await self._give_back(items[first + 1 :])
            await self._run_alone(items[first])

    def _suspects(self, items: Sequence[JobInProgress]) -> set[int]:
        """Return the places of the suspects in `items`."""
        counts = self.pool.recovered
        if max(counts.values(), default=0) < SUSPECT_AFTER:
            return set()
        return {place for place, item in enumerate(items) if counts.get(digest(item.raw), 0) >= SUSPECT_AFTER}

    async def _give_back(self, items: Sequence[JobInProgress]) -> None:
        for item in items:
            item.settlement = Back()
        self.pool.refused += await commit(self.pool, list(items))

    async def _run_alone(self, suspect: JobInProgress) -> None:
        pool = self.pool
        if await self._until_in_hand({suspect.ticket}):
            if not await self._isolate(suspect):
                return
            self._tell(suspect)
        pool.ready.put([suspect])
        pool.ready.allow(suspect.number)
        if not await self._until_in_hand(()):
            await pool.health.insist(pool.store, jobs.rejoin, pool.identity, suspect.ticket)

    async def _isolate(self, suspect: JobInProgress) -> bool:
        """Record in Redis that the suspect runs alone; return False if it is no longer in progress.

        Raise `StoreRefused`, once the suspect is let go.
        """
        pool = self.pool
        try:
            answer = await pool.health.insist(pool.store, jobs.isolate, pool.identity, suspect.ticket)
        except StoreRefused:
            # Nobody has it now: the reconcile before the next fetch takes it up again.
            pool.let_go(suspect.ticket)
            raise
        if isinstance(answer, jobs.IdentityUnknown):
            pool.fence()
            await trio.sleep_forever()
        if not answer:
            pool.let_go(suspect.ticket)
        return bool(answer)

    def _tell(self, suspect: JobInProgress) -> None:
        count = self.pool.recovered.get(digest(suspect.raw), 0)
        self.pool.report(
            Warned(
                "SuspectJob",
                f"A job of the queue {suspect.queue!r} was in progress when processes died ({count} times); it "
                "runs alone.",
                "If processes die of it again, it becomes dead as Poison.",
            )
        )

    async def _until_in_hand(self, tickets: Collection[str]) -> bool:
        """Wait until nothing but these tickets is in progress; return False if that takes longer than `_PATIENCE_S`."""
        pool = self.pool
        deadline_s = trio.current_time() + _PATIENCE_S
        while pool.in_hand.keys() - tickets:
            if trio.current_time() >= deadline_s:
                return False
            if pool.ready.is_blocked:
                await self._confirm()
            with trio.move_on_after(_LOOK_AGAIN_S):
                await pool.settled.park()
        return True

    async def _confirm(self) -> None:
        """Tell Redis which jobs may be started, by a fetch of none."""
        pool = self.pool
        request = jobs.FetchRequest(pool.identity, pool.plan.target.name, (), pool.base, 0, pool.high_water)
        answer = await pool.health.insist_on(partial(pool.store.fetch, request))
        if isinstance(answer, jobs.IdentityUnknown):
            pool.fence()
        elif not isinstance(answer, jobs.Duplicate):
            pool.told(request.hwm, request.base)
