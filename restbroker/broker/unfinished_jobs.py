"""The last thing a pool does: puts every job that Redis still lists as its own in a place, and retires its identity.

`settle` is called at the end of each life, shielded and bounded by the caller; `give_back` before, by a life that was
replaced. Always holds: the list is read from Redis, since memory may have lost track; what was sent and not answered is
uncertain, and goes back only where it is safe to repeat, as one that may have run; what was not sent goes back.
"""

import attrs

from restbroker.broker.acker import commit
from restbroker.broker.admission import proof_of
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.processor import cut_off, put_back, read_job
from restbroker.broker.worker_pool import WorkerPool
from restbroker.errors import StoreRefused
from restbroker.job.job import Job
from restbroker.job.settlement import Back
from restbroker.store import jobs
from restbroker.store.tickets import queue_of, ticket_number


@attrs.frozen
class Remainder:
    """What was left at the end. `pushed_back` jobs went back unsent.

    `uncertain` jobs were sent and not answered, wherever they are now. `complete`: nothing is left for a reaper; else
    `left` is how many jobs are, as far as known.
    """

    pushed_back: int = 0
    uncertain: int = 0
    complete: bool = True
    left: int = 0

    def plus(self, other: "Remainder") -> "Remainder":
        """Return the sum of both."""
        return Remainder(
            self.pushed_back + other.pushed_back,
            self.uncertain + other.uncertain,
            complete=self.complete and other.complete,
            left=self.left + other.left,
        )


async def settle(pool: WorkerPool, *, told: bool) -> Remainder:
    """Settle what is left, retire the identity, and return what was left.

    Wait while Redis is away: the caller bounds it. `told`: the process got the order to stop. What Redis refuses stays
    in progress, for a reaper, and is reported.
    """
    try:
        return await _settle(pool, told=told)
    except StoreRefused as error:
        pool.complain("StoreRefused", error.message, error.cure)
        return Remainder(complete=False)


async def _settle(pool: WorkerPool, *, told: bool) -> Remainder:
    held = await pool.health.insist(pool.store, jobs.read_jobs, pool.identity)
    found = [pool.in_hand.get(ticket) or _unknown(pool, ticket, held) for ticket in held.tickets]
    items = [item for item in found if item is not None]
    uncertain = [item for item in items if item.settlement is None and item.is_uncertain]
    for item in uncertain:
        cut_off(pool, item, told=told)
    for item in items:
        if item.settlement is None:
            put_back(pool, item)
    back = sum(isinstance(item.settlement, Back) and item not in uncertain for item in items)
    refused = await commit(pool, items)
    # Said before it is so: a beat that comes just behind it is no fence.
    pool.retired = True
    retired = await pool.health.insist(pool.store, jobs.retire, pool.identity)
    return Remainder(back, len(uncertain), complete=retired and not refused)


async def give_back(pool: WorkerPool, *, workers_gone: bool) -> None:
    """Give back what no worker has begun and, once they are gone (`workers_gone`), what they could not send.

    To be called when the pool has been stopped. What this leaves, or Redis refuses, is left to `settle`. Safe to
    cancel.
    """
    try:
        held = await pool.health.insist(pool.store, jobs.read_jobs, pool.identity)
    except StoreRefused as error:
        pool.complain("StoreRefused", error.message, error.cure)
        return
    back: list[JobInProgress] = []
    for ticket in held.tickets:
        item = pool.in_hand.get(ticket)
        if item is None and ticket_number(ticket) > pool.base:
            item = _unknown(pool, ticket, held)
        if item is None or item.settlement is not None:
            continue
        if item.started_at_s is None or (workers_gone and not item.is_uncertain):
            put_back(pool, item)
            back.append(item)
    pool.refused += await commit(pool, back)


def _unknown(pool: WorkerPool, ticket: str, held: jobs.JobsInProgress) -> JobInProgress | None:
    """Return the item of a ticket that only Redis lists; None: no pool with our queues made this ticket.

    Either its fetch was cut off before it got here: it was not sent. Or it was settled, which Redis has forgotten: it
    is settled again if we remember how, else it may have run.
    """
    queue = queue_of(ticket, pool.plan.target.queues)
    if queue is None:
        return None
    raw, size_bytes = held.jobs.get(ticket, b""), held.large.get(ticket, 0)
    item = JobInProgress(ticket, ticket_number(ticket), queue, raw, size_bytes, settlement=pool.recent.get(ticket))
    if item.settlement is None and item.number <= pool.handed and not size_bytes:
        item.sending = True
        entry = read_job(pool, item)
        # So that it is stored like the others, without its token.
        item.proof = proof_of(pool, entry) if isinstance(entry, Job) else None
    return item
