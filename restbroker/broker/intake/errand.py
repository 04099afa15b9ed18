"""The fetcher's way to Redis: it takes along what is finished, since a round trip costs more than what it carries.

Only the fetcher calls it. Always holds: what is taken along has been noted or is back in `Lane.finished` when this
ends, however it ends; the committer then goes on with it as if nothing had happened.
"""

import time

from restbroker.broker.item import Item
from restbroker.broker.lane import Lane
from restbroker.broker.settling.committer import finish_request, note, note_asked
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store import jobs


async def own_turn(lane: Lane) -> None:
    """Wait for the lane's turn, and take it.

    Trio's own way lets all other tasks run first, also when the turn is free. What they finish meanwhile makes a group
    larger; a lane that has nothing in progress is spared that.
    """
    if lane.in_hand or lane.turn.locked():
        await lane.turn.acquire()
    else:
        lane.turn.acquire_nowait()


async def fetch(lane: Lane, wanted: jobs.FetchRequest) -> jobs.FetchAnswer:
    """Fetch jobs, and settle finished ones in the same round trip; raise what `jobs.fetch` raises.

    The caller has the lane's turn. Safe to cancel: what was not settled is back in `Lane.finished`.
    """
    items = _taken_along(lane)
    if not items:
        return await lane.store.fetch(wanted)
    finished = finish_request(lane, items)
    unsettled = items
    try:
        codes, got = await lane.store.exchange(finished, time.time(), wanted)
        if not isinstance(codes, StoreRefused):
            lane.told(finished.hwm, wanted.base)
            unsettled = note(lane, items, codes, lane.refused)
    except StoreUnavailable:
        note_asked(items)
        raise
    finally:
        lane.finished.put_back(unsettled)
    if isinstance(got, StoreRefused):
        raise got
    return got


def _taken_along(lane: Lane) -> list[Item]:
    """Take what is finished, except jobs whose crashes are counted: only the committer ends such a count."""
    items = lane.finished.take()
    if not lane.recovered:
        return items
    lane.finished.put_back([item for item in items if item.recovered is not None])
    return [item for item in items if item.recovered is None]
