"""Settles finished jobs in Redis, in groups: all that was finished while the last group was written is the next one.

One task per pool. Always holds: a job leaves `in_hand` only when Redis has confirmed its settlement; an outage of Redis
keeps the settlements here, bounded by the workers, and they are written when it is back.
"""

import time
from functools import partial
from typing import assert_never

import attrs
import trio

from restbroker.broker import reports
from restbroker.broker.ack_buffer import group_size
from restbroker.broker.admission import stored
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.worker_pool import WorkerPool
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job import settle
from restbroker.job.settlement import Ack, Dead, Drop, Retry, Schedule, by_other_clock, goes_back_as_it_came
from restbroker.store import heartbeats, jobs

_REFUSED_WAIT_S = 5.0
_UNNOTICED_S = 10.0


@attrs.define(eq=False)
class Acker:
    """The committer of one pool.

    It ends when the pool's `finished` is closed and empty: when the last worker is gone.
    """

    pool: WorkerPool

    async def run(self) -> None:
        """Settle until the workers are gone. When cancelled, what is not settled stays in `in_hand`."""
        async with trio.open_nursery() as beside:
            beside.start_soon(self._insist)
            while await self.pool.finished.gathered():
                async with self.pool.turn:
                    self.pool.refused += await commit(self.pool, self.pool.finished.take())
            beside.cancel_scope.cancel()

    async def _insist(self) -> None:
        """Try again and again to settle what Redis refuses; a person must mend the key's type or the rights.

        Also forget what is too old, for a pool in which nothing more is settled after a burst.
        """
        pool = self.pool
        while True:
            await trio.sleep(_REFUSED_WAIT_S)
            if pool.health.is_up:
                # An outage that nobody noticed yet must not count as time in which they grew old.
                pool.recent.forget(trio.current_time() - pool.health.away_s - _UNNOTICED_S)
            if pool.refused:
                self._complain(pool.refused[0])
                tried = list(pool.refused)
                # They stay listed meanwhile: nothing is fetched, and /readyz says so.
                pool.refused[: len(tried)] = await commit(pool, tried)

    def _complain(self, item: JobInProgress) -> None:
        self.pool.complain(
            "StoreRefused",
            f"Redis refuses to settle a job ({type(item.settlement).__name__.lower()}).",
            "No more jobs are taken until it does. Check that the keys retry, schedule and dead are sorted sets and "
            "that restbroker may write them.",
        )


async def commit(pool: WorkerPool, items: list[JobInProgress]) -> list[JobInProgress]:
    """Settle `items`; return those that Redis refuses in every form. Wait as long as Redis is away."""
    refused: list[JobInProgress] = []
    rest = items
    while rest:
        count = group_size(rest)
        items, rest = rest[:count], rest[count:]
        request, base = finish_request(pool, items), pool.base
        try:
            codes = await pool.health.insist_on(partial(_finish, pool, request, time.time(), items), is_write=True)
        except StoreRefused as error:
            pool.complain("StoreRefused", error.message, error.cure)
            return refused + items + rest
        pool.told(request.hwm, base)
        again = note(pool, items, codes, refused)
        await _forget_recoveries(pool, items, codes)
        rest = again + rest
    return refused


async def _finish(
    pool: WorkerPool, request: jobs.FinishRequest, now_s: float, items: list[JobInProgress]
) -> list[jobs.Code]:
    try:
        return await pool.store.finish(request, now_s)
    except StoreUnavailable:
        note_asked(items)
        raise


def note_asked(items: list[JobInProgress]) -> None:
    """Note that Redis may have settled these items, since it did not answer."""
    for item in items:
        item.asked = True


def finish_request(pool: WorkerPool, items: list[JobInProgress]) -> jobs.FinishRequest:
    """Return the request that settles those of these items that have a settlement."""
    settlements = [(item.ticket, item.settlement) for item in items if item.settlement is not None]
    ahead_s = pool.health.clock_ahead_s
    if ahead_s:
        # What is due is found by Redis' clock.
        settlements = [(ticket, by_other_clock(settlement, ahead_s)) for ticket, settlement in settlements]
    target = pool.plan.target
    # Most brokers keep none: they pay no more than this look for a group of jobs.
    records = None if pool.plan.history_s is None else reports.records(pool, items, pool.plan.history_s)
    return jobs.FinishRequest(pool.identity, target.name, target.queues, pool.high_water, settlements, records)


def note(
    pool: WorkerPool, items: list[JobInProgress], codes: list[jobs.Code], refused: list[JobInProgress]
) -> list[JobInProgress]:
    """Note what Redis answered; return the items that have a new settlement, to be tried at once.

    What Redis refuses in every form is added to `refused`; what is settled is let go and reported.
    """
    applied: list[JobInProgress] = []
    gone: list[JobInProgress] = []
    again: list[JobInProgress] = []
    for item, code in zip(items, codes, strict=True):
        match code:
            case jobs.Applied():
                applied.append(item)
            case jobs.Gone():
                (applied if item.asked else gone).append(item)
            case jobs.Clash():
                assert isinstance(item.settlement, Retry | Dead | Schedule)  # noqa: S101 - only these go to a set
                item.settlement = settle.perturb(item.settlement, item.number)
                again.append(item)
            case jobs.Refused(text):
                (again if _without_reply(pool, item, text) else refused).append(item)
            case _:
                assert_never(code)
    over = applied + gone
    tickets = [item.ticket for item in over]
    now_s = trio.current_time()
    # What was settled just before an outage is not older after it, however long it was.
    pool.recent.add(
        tickets,
        [item.settlement for item in over if item.settlement is not None],
        [item.raw for item in over],
        now_s - pool.health.away_s,
    )
    pool.let_go(*tickets)
    pool.pace.settled(len(items) - len(again), now_s)
    reports.tell(pool, applied)
    return again


async def _forget_recoveries(pool: WorkerPool, items: list[JobInProgress], codes: list[jobs.Code]) -> None:
    """End the count of runs before a crash: equal bytes that come later are another job.

    Only for what was settled here. What is gone may be in other hands, and they need the count.
    """
    if not pool.recovered:
        return
    digests = {
        item.recovered
        for item, code in zip(items, codes, strict=True)
        if item.recovered is not None and isinstance(code, jobs.Applied) and not goes_back_as_it_came(item.settlement)
    }
    if digests:
        pool.recovered = {name: count for name, count in pool.recovered.items() if name not in digests}
        try:
            await pool.health.insist(pool.store, heartbeats.forget, sorted(digests))
        except StoreRefused as error:
            pool.complain("StoreRefused", error.message, error.cure)


def _without_reply(pool: WorkerPool, item: JobInProgress, text: str) -> bool:
    settlement = item.settlement
    if not isinstance(settlement, Ack | Retry | Dead | Drop) or not settlement.replies:
        return False
    if item.job is None or item.context is None:
        return False
    item.settlement = settle.reply_refused(stored(pool, item, item.job), settlement, text, item.context)
    event = reports.of(pool, item)
    if event is not None:
        item.event = attrs.evolve(event, code="ReplyRefused", message=text, fate="dead")
    return True
