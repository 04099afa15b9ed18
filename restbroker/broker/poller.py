"""Takes jobs from Redis for one pool, in batches, and hands them to the worker.

One task per pool: it waits until jobs are needed, fetches, and waits for more jobs when fewer came than it asked for:
fetches stand in Redis until there is a job (`standing_fetches.py`). The task that listens for their answers hands the
jobs out, and sends the next fetch where there is nothing but jobs to be dealt with, else leaves that to the poller.
Always holds: one fetch at a time, but for those that stand; no fetch while the breaker is tripped or Redis refuses
to settle; after anything that may have lost an answer, what Redis lists as ours is compared with what we know before
more is taken. A pool that stops, or is quiet, takes no job in any way; while it is quiet all else goes on.
"""

import math
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import assert_never

import trio

from restbroker.broker.acker import Acker
from restbroker.broker.agent import Agent
from restbroker.broker.breaker import Breaker
from restbroker.broker.health import FIRST_WAIT_S, LONGEST_WAIT_S, Lease, boot_time_s
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.scopes import until
from restbroker.broker.standing_fetches import REFUSED_WAIT_S, StandingFetches
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job.format import PAYLOAD_LIMIT_BYTES
from restbroker.light import define, field
from restbroker.store import jobs as store_jobs
from restbroker.store.connection import LOOK_EVERY_S
from restbroker.store.in_progress import FetchedJob
from restbroker.store.jobs import FetchAnswer, FetchRequest, FetchResult, QueueCounts
from restbroker.store.settling import TakeNext
from restbroker.store.tickets import MAX_BATCH
from restbroker.telemetry.events import JobsClassified

HELD_BYTES = 16 * 1024 * 1024
"""Nothing more is taken while a pool's jobs take so many bytes of memory: few pools need more at a time."""
_FULL_WAIT_S = 0.1
_IDLE_WAIT_S = 1.0
_COMPARED_WITHIN_S = 2.0
_DRAIN_WAIT_S = 0.25
_LOOK_AGAIN_S = 2.0
"""How soon it looks again whether a queue can be read: at one that cannot, a wait might end again and again."""
_ON_ITS_WAY_S = 0.001


@define(eq=False)
class Poller(Agent):
    """The poller of one pool.

    `reconcile` is `Recovery.reconcile`, called after an outage. `quiet` is set when the process takes no more jobs.
    """

    lease: Lease
    quiet: trio.Event
    breaker: Breaker
    acker: Acker
    standing: StandingFetches
    reconcile: Callable[[], Awaitable[list[JobInProgress]]]
    limited: str | None = None
    """Why the last fetch took nothing though there is room, or None.

    It is one of paused, rate, in_flight, dead, old_order, refused.
    """
    counts: tuple[QueueCounts, ...] = ()
    """How many jobs each queue's list and lists of keys had at the last fetch, where there are keys."""
    has_backlog: trio.Event = field(factory=trio.Event)
    """Set when jobs of a list are to be moved into lists of keys; the classifier puts another event in its place."""
    _outages: int = 0
    _failed: bool = False
    _called_at_s: float = 0.0
    """When the last call of Redis began (Trio's clock)."""
    _compared: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)
    _has_ended: bool = False
    _shares: bool = field(init=False)
    """Whether all processes share a limit: then what lies ready here is missing elsewhere, or starts too late."""

    def __attrs_post_init__(self) -> None:
        """Find out once what does not change."""
        plan = self.plan
        self._shares = bool(plan.limits.emission_us or plan.limits.in_flight)
        if plan.order is not None and len(plan.target.queues) == 1 and not self._shares:
            self.acker.ask_next, self.acker.take_next = self._ask_next, self._take_next

    async def run(self) -> None:
        """Fetch until cancelled, or until the pool stops; begin once the first heartbeat is confirmed.

        Once the pool is fenced, wait to be cancelled.
        """
        try:
            await self._run()
        finally:
            self._has_ended = True
            self.standing.close()
            self._compared.unpark_all()

    async def wait_to_compare(self) -> None:
        """Wait until what Redis lists was compared with what we hold since the last outage, while `run` runs.

        Return after two seconds at most: then Redis is still away, and the lease says what may be sent.
        """
        with trio.move_on_after(_COMPARED_WITHIN_S):
            while self.health.outages != self._outages and not self._has_ended:
                await self._compared.park()

    async def _run(self) -> None:
        wait_s = FIRST_WAIT_S
        await self.lease.granted.wait()
        while not self.breaker.stopped:
            try:
                if self.breaker.admits:
                    await self._once()
                else:
                    await self._wait_to_admit()
            except StoreUnavailable as error:
                self.health.record_outage(error, self._called_at_s)
                self._failed = True
                await trio.sleep(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
            except StoreRefused as error:
                self.limited = "refused"
                self.identity.warn_once("FetchRefused", error.message, error.hint)
                await trio.sleep(REFUSED_WAIT_S)
            else:
                wait_s = FIRST_WAIT_S

    async def _wait_to_admit(self) -> None:
        """Wait until the breaker admits jobs, or the pool stops.

        What the worker holds meanwhile is compared with Redis too: it is sent in the instant in which the breaker
        admits jobs, so the prober waits for this (`wait_to_compare`).
        """
        breaker = self.breaker
        self.standing.close()
        while not breaker.admits and not breaker.stopped:
            self.limited = None
            if self._is_behind:
                await self._catch_up()
            with trio.move_on_after(_IDLE_WAIT_S):
                await breaker.wait_to_admit()
            if self._is_behind:
                await self._catch_up()

    @property
    def _takes_no_more(self) -> bool:
        """Whether no job may be taken any more, in whatever way: the process is quiet, or the pool stops."""
        return self.quiet.is_set() or self.ready.closed

    @property
    def _is_behind(self) -> bool:
        """Whether an answer of Redis may have been lost since the last comparison."""
        standing = self.standing
        is_lost = self._failed or standing.is_lost or self.health.outages != self._outages
        return is_lost or (bool(standing.early) and standing.is_late)

    @property
    def _reserve(self) -> int:
        """How many jobs to keep ready."""
        return 0 if self._shares else self.ready.batch_size.reserve(trio.current_time())

    async def _once(self) -> None:
        # What is closed below, and took jobs perhaps, is compared with Redis next.
        if self.acker.refused:
            self.standing.close()
            await trio.sleep(REFUSED_WAIT_S)
            return
        if self._takes_no_more:
            self.standing.close()
        if self._is_behind:
            await self._catch_up()
        if (brought := self.standing.take_brought()) is not None:
            await self._deal_with(*brought)
            return
        reserve = self._reserve
        await self.ready.wait_for_demand(reserve)
        fetched, ready = None, self.ready
        # Not if there are enough jobs, and a settlement is on its way that lets Redis know that they may start.
        if not (ready.demand.is_blocked and len(ready) > reserve // 2 and self.acker.is_busy):
            fetched = await self.acker.settle_and_fetch(lambda: self._request(reserve))
        if fetched is not None:
            self.standing.take_brought()
            self._take(*fetched, self._called_at_s)
            self.standing.take_early()
            await self._deal_with(*fetched)
        else:
            # Places are free, but all that the breaker permits is in delivery, or what they wait for is on its way.
            with trio.move_on_after(_IDLE_WAIT_S if self._takes_no_more else _FULL_WAIT_S):
                await self.reservations.wait_for_release()

    def _request(self, reserve: int, *, stands: bool = False) -> FetchRequest | None:
        """Return what to fetch now; None if nothing is wanted, or nothing may be taken.

        One that `stands` brings its share. Its count is decided now: at most one batch comes too much, as with the
        reserve.
        """
        plan, ready, demand, reservations = self.plan, self.ready, self.ready.demand, self.reservations
        # Another fetch, and not one that stands, tells Redis at once which of them may start.
        needs_mark = bool(demand.waiting) and not demand.is_free
        is_held = needs_mark or self.acker.refused if stands else self.acker.is_taking_next
        if is_held or self._is_behind:
            # The acker had its turn, and waited with it for the end of an outage; or has it, and no one waits for it.
            return None
        want = min(demand.room + reserve - len(demand.waiting) - len(demand.line), MAX_BATCH)
        if plan.limits.in_flight:
            want = min(want, plan.limits.in_flight - len(reservations.jobs))
        # What it takes in memory shows only when it is here: one of the largest at a time.
        most_bytes = min(PAYLOAD_LIMIT_BYTES, HELD_BYTES - reservations.memory_bytes)
        if most_bytes <= 0 or self.quiet.is_set() or ready.closed:
            want = 0
        if not self.breaker.admits or not (want > 0 or demand.is_blocked):
            return None
        target = plan.target
        queues = draw_order(target.weights, random.random) if target.weights else target.queues
        self._called_at_s = trio.current_time()
        if plan.order is not None and not stands:
            # What it was set for until now, this fetch learns.
            self.acker.successor = trio.Event()
        return FetchRequest(
            identity=self.identity.name,
            target=target.name,
            queues=queues,
            base=reservations.last_number,
            count=-(-want // len(queues)) if stands else max(0, want),
            hwm=ready.high_water,
            limits=plan.limits,
            most_bytes=most_bytes,
            key_rules=plan.key_rules,
            follows=stands,
        )

    def _ask_next(self, count: int) -> TakeNext | None:
        """Return what may come with the settlement of so many jobs: the next ones of their keys."""
        plan, demand = self.plan, self.ready.demand
        is_held = self._takes_no_more or not self.breaker.admits or self.acker.refused
        if is_held or self.reservations.has_old_keys or self._is_behind or not demand.is_free:
            return None
        room = min(count, demand.room) - len(demand.waiting) - len(demand.line)
        if room <= 0 or self.reservations.memory_bytes + PAYLOAD_LIMIT_BYTES > HELD_BYTES:
            return None
        return TakeNext(self.reservations.last_number, room, plan.limits.dead)

    def _take_next(self, found: Sequence[FetchedJob]) -> None:
        """Hand out what came with a settlement."""
        self.ready.send_nowait(self._reserve_jobs(found))
        self.standing.take_early()

    def _take(self, request: FetchRequest, got: FetchAnswer, sent_at_s: float) -> bool:
        """Note what Redis answered, and hand out the jobs that it gave; return whether that is all there is to do."""
        self.health.record_write(sent_at_s)
        self.limited = None
        if not isinstance(got, FetchResult):
            return False
        if request.count:
            self.counts = got.counts
            if got.counts and self.plan.target.fairness is not None:
                self._report_counts(got.counts)
            if got.has_old_keys or got.base < self.reservations.old_keys_until:
                self.reservations.record_keys(got.base, has_old_keys=got.has_old_keys)
        if got.bad:
            self._complain(got)
        jobs = self._reserve_jobs(got.jobs) if got.jobs else ()
        self.ready.confirm(request.hwm + got.base - request.base, got.base + len(got.jobs), jobs)
        return not (got.bad or got.paused or got.more or got.counts or got.has_old_keys)

    async def _deal_with(self, request: FetchRequest, got: FetchAnswer) -> None:
        """Wait as long as this answer asks for, before more is fetched."""
        match got:
            case FetchResult():
                await self._wait_behind(got, request.count)
            case store_jobs.NotPlain():
                # A usual fetch tells at once what it was.
                pass
            case store_jobs.UnknownTickets(last):
                self._failed = not await self._is_on_its_way(last)
            case store_jobs.TargetPaused(for_ms):
                await self._hold(request, "paused", for_ms)
            case store_jobs.LimitReached(why, for_ms):
                await self._hold(request, why, for_ms)
            case store_jobs.IdentityUnknown():
                self.identity.fence()
                await trio.sleep_forever()
            case _:
                assert_never(got)

    async def _is_on_its_way(self, number: int) -> bool:
        """Wait for what standing fetches took; return whether they took all jobs up to this ticket number."""
        with trio.move_on_after(LOOK_EVERY_S):
            # Nothing tells of an answer that brings no job.
            while self.reservations.last_number < number and self.standing.is_awaited:  # noqa: ASYNC110
                await trio.sleep(_ON_ITS_WAY_S)
        return self.reservations.last_number >= number

    async def _hold(self, request: FetchRequest, why: str, for_ms: int) -> None:
        self.ready.confirm(request.hwm, request.base)
        self.limited = why
        if why == "dead":
            self.identity.warn_once(
                "DeadSetFull",
                f"The dead set holds {self.plan.limits.dead} jobs or more (DeadLimit): {self.plan.target.name} gets no "
                "more jobs, so that failed jobs do not pile up unnoticed.",
                "Check the dead set, retry or delete its jobs, or raise DeadLimit.",
            )
        await trio.sleep(min(for_ms, 1000) / 1000)

    async def _wait_behind(self, got: FetchResult, want: int) -> None:
        if got.jobs and (self._shares or len(got.jobs) == want or got.more or not self.ready.demand.is_free):
            return
        if got.has_old_keys:
            await self._wait_for_old_keys(got)
            return
        # Many jobs had to wait behind others of their keys, or a fetch looks at few large ones.
        if got.more or (got.jobs and any(queue.in_list for queue in got.counts if queue.queue not in got.bad)):
            return
        if want and not self._failed:
            # Less than was wanted was there: another fetch at once would be for nothing.
            await self._wait_for_more(got)

    async def _wait_for_more(self, got: FetchResult) -> None:
        """Wait until a queue has a job, a key may have come free or is due, or jobs that wait here may start."""
        # A list with jobs ends the wait at once, though its jobs cannot be taken; what waits in lines for its
        # predecessor does not.
        if any(queue.in_list or (queue.in_lines and self.plan.order is None) for queue in got.counts):
            queues: Collection[str] = ()
        else:
            queues = [queue for queue in self.plan.target.queues if queue not in got.paused | got.bad]
        due_s = math.inf if got.due_ms is None else got.due_ms / 1000
        if len(queues) < len(self.plan.target.queues):
            due_s = min(due_s, _LOOK_AGAIN_S)
        if not await self._stand_by(queues, due_s) and not self._is_behind and self.standing.brought is None:
            # No more may stand, beside the others, until something changes here.
            is_soon = self.standing.is_awaited or not self.standing.watch.is_kept
            with trio.move_on_after(min(due_s, _FULL_WAIT_S if is_soon else REFUSED_WAIT_S)):
                async with until(self.acker.successor.wait):
                    if self.ready.demand.is_free:
                        await self.reservations.wait_for_release()
                    else:
                        await self.ready.wait_for_demand(0)

    async def _stand_by(self, queues: Collection[str], due_s: float) -> bool:
        """Have fetches stand at these queues until one brings what is not plain, or none may stand any more.

        Return False if none could. Where a key may have come free, or is due, those that stand go on.
        """
        standing, stood = self.standing, False
        try:
            async with until(self.quiet.wait, self.breaker.wait_to_trip):
                stood = await standing.begin(queues, partial(self._request, self._reserve, stands=True), self._take)
                if stood:
                    async with until(self.acker.successor.wait, partial(trio.sleep, due_s)):
                        await standing.over.wait()
                    self.look()
                    standing.over.set()
        finally:
            standing.end()
        if standing.bug is not None:
            raise standing.bug
        return stood

    def look(self) -> None:
        """End the fetches that stand if they may not any more, or one of them can no longer be answered."""
        standing = self.standing
        if not standing.is_open or standing.over.is_set():
            return
        if self.acker.refused or self._is_behind or not standing.is_well:
            standing.close()
            standing.over.set()

    async def _wait_for_old_keys(self, got: FetchResult) -> None:
        self.identity.warn_once(
            "OrderChanged",
            f"OrderBy of {self.plan.target.name} was changed while keys were held under the old one: only their jobs "
            "are handed out until they are done.",
            "Wait. Skip or drop stopped keys: restbroker keys list shows them.",
        )
        if not got.jobs:
            self.limited = "old_order"
            with trio.move_on_after(_DRAIN_WAIT_S):
                await self.acker.successor.wait()

    def _report_counts(self, counts: tuple[QueueCounts, ...]) -> None:
        for queue in counts:
            if queue.without_key:
                self.identity.report(JobsClassified(self.plan.target.name, queue.queue, queue.without_key))
            if queue.in_list:
                self.has_backlog.set()

    def _reserve_jobs(self, found: Sequence[FetchedJob]) -> list[JobInProgress]:
        """Return jobs that Redis lists as ours from now on, and note that they are."""
        jobs: list[JobInProgress] = []
        recent, now_s = self.acker.recently_settled, boot_time_s() if self._shares else 0.0
        for fetched in found:
            raw = fetched.raw
            job = JobInProgress(fetched.ticket, fetched.number, fetched.queue, raw, fetched.size_bytes, now_s)
            if recent.lost:
                job.forgotten = recent.may_have_run(raw, trio.current_time() - self.health.away_s)
            jobs.append(job)
        self.reservations.add(jobs)
        return jobs

    def _complain(self, got: FetchResult) -> None:
        if got.bad.issuperset(self.plan.target.queues):
            self.limited = "refused"
        for queue in got.bad:
            self.identity.warn_once(
                "BadQueue",
                f"restbroker cannot read the queue {queue!r} as a list.",
                f"Check the types of the keys queue:{queue} and restbroker:hand:{queue} (behind RedisNamespace), and "
                "this Redis user's rights.",
            )

    async def _catch_up(self) -> None:
        """Compare what Redis lists as ours with what we know, and hand over what is to be run."""
        outages = self.health.outages
        # What they took, whether it is here or not, is found in Redis' list.
        self.standing.close()
        self.standing.clear_lost()
        self._failed = True
        self._called_at_s = trio.current_time()
        # What comes with a settlement is either listed then, or not under way: what was sent without a task is answered
        # before the next call over this connection.
        async with AsyncExitStack() as stack:
            if self.plan.order is not None:
                await stack.enter_async_context(self.acker.lock)
            jobs = await self.reconcile()
        self._failed, self._outages = False, outages
        self._compared.unpark_all()
        self.reservations.add(jobs)
        self.ready.send_nowait(jobs)
        self.standing.take_early()


async def look_after(pollers: Sequence[Poller]) -> None:
    """Look after the fetches that stand for these pools, for ever.

    One task does it for all: with a thousand idle targets, tasks of their own would be most of what wakes up.
    """
    while True:
        await trio.sleep(LOOK_EVERY_S)
        for poller in pollers:
            poller.look()


def draw_order(weights: Mapping[str, int], random: Callable[[], float]) -> tuple[str, ...]:
    """Return the queues in random order, drawn one after the other by their weights (queue → 1 or more).

    Each draw gives a queue the chance that its weight has among those that are left. That is how Sidekiq draws (a list
    with each queue as often as its weight, shuffled, doubles dropped), without the list. `random` returns numbers from
    0 to below 1.
    """
    # Each queue's first arrival in a race in which it starts `weight` runners (Efraimidis and Spirakis).
    lots = {queue: random() ** (1 / weight) for queue, weight in weights.items()}
    return tuple(sorted(lots, key=lots.__getitem__, reverse=True))
