"""The last thing a lane does: gives every job that Redis still lists as its own a place, and takes its leave.

Called at the end of each life, shielded and bounded by the caller. Always holds: the list is read from Redis, since
memory may have lost track; what was sent and not answered is uncertain, never pushed back; what was not sent is.
"""

import attrs

from restbroker.broker.committer import commit
from restbroker.broker.item import Item
from restbroker.broker.lane import Lane
from restbroker.broker.worker import cut_off, read_job
from restbroker.rules.settlement import Back
from restbroker.store import jobs
from restbroker.store.tickets import ticket_number, ticket_queue


@attrs.frozen
class Left:
    """`pushed_back` jobs went back unsent, `uncertain` were sent and not answered.

    `complete`: nothing is left for a reaper.
    """

    pushed_back: int = 0
    uncertain: int = 0
    complete: bool = True

    def plus(self, other: "Left") -> "Left":
        """Both together."""
        return Left(
            self.pushed_back + other.pushed_back,
            self.uncertain + other.uncertain,
            complete=self.complete and other.complete,
        )


async def settle(lane: Lane) -> Left:
    """Settles what is left and retires the identity. Waits while Redis is away: the caller bounds it."""
    held = await lane.health.insist(lane.store, jobs.held, lane.identity)
    items = [lane.in_hand.get(ticket) or _unknown(lane, ticket, raw) for ticket, raw in held.jobs.items()]
    uncertain = 0
    for item in items:
        if item.settlement is None and item.sending:
            cut_off(lane, item)
            uncertain += 1
        if item.settlement is None:
            item.settlement = Back()
    back = sum(isinstance(item.settlement, Back) for item in items)
    refused = await commit(lane, items)
    retired = await lane.health.insist(lane.store, jobs.retire, lane.identity)
    return Left(back, uncertain, complete=retired and not refused)


def _unknown(lane: Lane, ticket: str, raw: bytes) -> Item:
    """A job whose fetch was cut off before it got here: not sent. Or one that was settled, which Redis has forgotten:
    settled again if we remember how, else it may have run.
    """
    queue = lane.plan.target.queues[ticket_queue(ticket) - 1]
    item = Item(ticket, ticket_number(ticket), queue, raw, settlement=lane.recent.get(ticket))
    if item.settlement is None and item.number <= lane.handed:
        item.sending = True
        read_job(lane, item)
    return item
