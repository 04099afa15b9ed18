"""Finds out which job crashes processes, without harm to those beside it.

The fetcher calls this for what it took. A job that was in hand when two processes died is a suspect: it runs with
nothing else in hand, so that only its own crash is laid at its door (`jobs.isolate`; the reaper then parks it). Always
holds: whatever is taken aside for a suspect goes back to its queue; a suspect that is not run stays in hand, to be
given back at the end of the life.
"""

from collections.abc import Collection, Sequence

import trio

from restbroker.broker.committer import commit
from restbroker.broker.item import Item
from restbroker.broker.lane import Lane
from restbroker.rules.job import digest
from restbroker.rules.settlement import Back
from restbroker.store import jobs
from restbroker.telemetry.events import Warned

SUSPECT_AFTER = 2
"""In so many crashes a job was in hand; one may be an accident."""
_LOOK_AGAIN_S = 0.5


def first_suspect(lane: Lane, items: Sequence[Item]) -> int | None:
    """The place of the first suspect among `items`."""
    if max(lane.recovered.values(), default=0) < SUSPECT_AFTER:
        return None
    counts = (lane.recovered.get(digest(item.raw), 0) for item in items)
    return next((place for place, count in enumerate(counts) if count >= SUSPECT_AFTER), None)


async def run_alone(lane: Lane, suspect: Item, behind: Sequence[Item]) -> None:
    """Runs `suspect` once all before it are settled; returns when it is settled too. `behind` goes back at once.

    All of them are in hand already. Waits while Redis is away; safe to cancel.
    """
    for item in behind:
        item.settlement = Back()
    lane.refused += await commit(lane, list(behind))
    await _until_in_hand(lane, {suspect.ticket})
    answer = await lane.health.insist(lane.store, jobs.isolate, lane.identity, suspect.ticket)
    if isinstance(answer, jobs.Fenced):
        lane.fence()
        await trio.sleep_forever()
    elif answer:
        count = lane.recovered.get(digest(suspect.raw), 0)
        lane.report(
            Warned(
                "SuspectJob",
                f"A job of the queue {suspect.queue!r} was in hand when processes died ({count} times); it runs alone.",
                "If processes die of it again, it is parked as Poison.",
            )
        )
        lane.handover.put([suspect])
        lane.handover.allow(suspect.number)
        await _until_in_hand(lane, ())
    else:
        lane.let_go(suspect.ticket)


async def _until_in_hand(lane: Lane, tickets: Collection[str]) -> None:
    """Until nothing but these is in hand."""
    while lane.in_hand.keys() - tickets:
        if lane.handover.is_blocked:
            await _confirm(lane)
        with trio.move_on_after(_LOOK_AGAIN_S):
            await lane.settled.park()


async def _confirm(lane: Lane) -> None:
    """Tells Redis which jobs may be started, by a fetch of none."""
    target = lane.plan.target
    request = jobs.FetchRequest(lane.identity, target.name, (), lane.base, 0, lane.high_water)
    answer = await lane.health.insist(lane.store, jobs.fetch, request)
    if isinstance(answer, jobs.Fenced):
        lane.fence()
    elif not isinstance(answer, jobs.Duplicate):
        lane.handover.allow(request.hwm)
