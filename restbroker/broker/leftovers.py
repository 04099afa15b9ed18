"""The last thing a lane does: gives every job that Redis still lists as its own a place, and takes its leave.

Called at the end of each life, shielded and bounded by the caller. Always holds: the list is read from Redis, since
memory may have lost track; what was sent and not answered is uncertain, never pushed back; what was not sent is.
"""

import time

import attrs

from restbroker.broker.item import Item
from restbroker.broker.lane import Lane
from restbroker.broker.worker import cut_off
from restbroker.rules.settlement import Back, Settlement
from restbroker.store import jobs


@attrs.frozen
class Left:
    """`pushed_back` jobs went back unsent, `uncertain` were sent and not answered."""

    pushed_back: int = 0
    uncertain: int = 0


async def settle(lane: Lane) -> Left:
    """Settles what is left and retires the identity. Raises `StoreUnavailable` if Redis is away: the entries stay."""
    held = await lane.store.call(jobs.held, lane.identity)
    settlements = [(ticket, _fate(lane, ticket)) for ticket in held.jobs]
    if settlements:
        request = jobs.FinishRequest(lane.identity, lane.plan.target.queues, lane.high_water, settlements)
        codes = await lane.store.call(jobs.finish, request, time.time())
        for (ticket, _), code in zip(settlements, codes, strict=True):
            item = lane.in_hand.get(ticket)
            if isinstance(code, jobs.Applied) and item is not None and item.event is not None:
                lane.report(item.event)
    await lane.store.call(jobs.retire, lane.identity)
    back = sum(isinstance(settlement, Back) for _, settlement in settlements)
    uncertain = sum(_is_cut_off(lane.in_hand.get(ticket)) for ticket, _ in settlements)
    return Left(back, uncertain)


def _fate(lane: Lane, ticket: str) -> Settlement:
    item = lane.in_hand.get(ticket)
    if item is None:
        return Back()
    if item.settlement is None and item.sending:
        cut_off(lane, item)
    return item.settlement or Back()


def _is_cut_off(item: Item | None) -> bool:
    return item is not None and item.event is not None and item.event.code == "CutOff"
