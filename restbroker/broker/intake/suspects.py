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

from restbroker.broker.item import Item
from restbroker.broker.lane import Lane
from restbroker.broker.settling.committer import commit
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
class Suspects:
    """The hand-over of one life of a lane, in which suspects run alone."""

    lane: Lane
    _others_first: bool = False

    async def hand_over(self, items: Sequence[Item]) -> None:
        """Give jobs that are in progress to the workers, in the order of their tickets.

        With a suspect among them, wait until that is settled, or has lived for a while. Wait while Redis is away. Safe
        to cancel. Raise `StoreRefused`: then those that no worker has are no longer in progress here.
        """
        places = self._suspects(items)
        others = [item for place, item in enumerate(items) if place not in places]
        if not places:
            self.lane.handover.put(items)
        elif self._others_first and others:
            self._others_first = False
            self.lane.handover.put(others)
            await self._give_back([items[place] for place in sorted(places)])
        else:
            self._others_first = True
            first = min(places)
            self.lane.handover.put(items[:first])
            await self._give_back(items[first + 1 :])
            await self._run_alone(items[first])

    def _suspects(self, items: Sequence[Item]) -> set[int]:
        """Return the places of the suspects in `items`."""
        counts = self.lane.recovered
        if max(counts.values(), default=0) < SUSPECT_AFTER:
            return set()
        return {place for place, item in enumerate(items) if counts.get(digest(item.raw), 0) >= SUSPECT_AFTER}

    async def _give_back(self, items: Sequence[Item]) -> None:
        for item in items:
            item.settlement = Back()
        self.lane.refused += await commit(self.lane, list(items))

    async def _run_alone(self, suspect: Item) -> None:
        lane = self.lane
        if await self._until_in_hand({suspect.ticket}):
            if not await self._isolate(suspect):
                return
            self._tell(suspect)
        lane.handover.put([suspect])
        lane.handover.allow(suspect.number)
        if not await self._until_in_hand(()):
            await lane.health.insist(lane.store, jobs.rejoin, lane.identity, suspect.ticket)

    async def _isolate(self, suspect: Item) -> bool:
        """Record in Redis that the suspect runs alone; return False if it is no longer in progress.

        Raise `StoreRefused`, once the suspect is let go.
        """
        lane = self.lane
        try:
            answer = await lane.health.insist(lane.store, jobs.isolate, lane.identity, suspect.ticket)
        except StoreRefused:
            # Nobody has it now: the reconcile before the next fetch takes it up again.
            lane.let_go(suspect.ticket)
            raise
        if isinstance(answer, jobs.IdentityUnknown):
            lane.fence()
            await trio.sleep_forever()
        if not answer:
            lane.let_go(suspect.ticket)
        return bool(answer)

    def _tell(self, suspect: Item) -> None:
        count = self.lane.recovered.get(digest(suspect.raw), 0)
        self.lane.report(
            Warned(
                "SuspectJob",
                f"A job of the queue {suspect.queue!r} was in progress when processes died ({count} times); it "
                "runs alone.",
                "If processes die of it again, it becomes dead as Poison.",
            )
        )

    async def _until_in_hand(self, tickets: Collection[str]) -> bool:
        """Wait until nothing but these tickets is in progress; return False if that takes longer than `_PATIENCE_S`."""
        lane = self.lane
        deadline_s = trio.current_time() + _PATIENCE_S
        while lane.in_hand.keys() - tickets:
            if trio.current_time() >= deadline_s:
                return False
            if lane.handover.is_blocked:
                await self._confirm()
            with trio.move_on_after(_LOOK_AGAIN_S):
                await lane.settled.park()
        return True

    async def _confirm(self) -> None:
        """Tell Redis which jobs may be started, by a fetch of none."""
        lane = self.lane
        request = jobs.FetchRequest(lane.identity, lane.plan.target.name, (), lane.base, 0, lane.high_water)
        answer = await lane.health.insist_on(partial(lane.store.fetch, request))
        if isinstance(answer, jobs.IdentityUnknown):
            lane.fence()
        elif not isinstance(answer, jobs.Duplicate):
            lane.told(request.hwm, request.base)
