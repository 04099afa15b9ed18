"""Takes jobs from Redis for one pool, in batches, and hands them to the worker.

One task per pool: `take` waits until jobs are needed, fetches, and hands out what came; `_wait_behind` waits for as
long as the answer asks for. Where fewer came than were asked for, fetches stand in Redis until there is a job
(`standing.py`). The task that listens for their answers hands the jobs out, and sends the next fetch where there is
nothing but jobs to be dealt with, else leaves that to `take`.
Always holds: one fetch at a time, but for those that stand; no fetch while the breaker is tripped or Redis refuses
to settle; after anything that may have lost an answer, what Redis lists as ours is compared with what we know before
more is taken. A pool that stops, or is quiet, takes no job in any way; while it is quiet all else goes on.
"""

import math
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TypeAlias, assert_never

import trio

from restbroker.broker.acker import Acker
from restbroker.broker.agent import Agent
from restbroker.broker.breaker import Breaker
from restbroker.broker.health import FIRST_WAIT_S, LONGEST_WAIT_S, Lease, boot_time_s
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.scopes import until
from restbroker.broker.standing import REFUSED_WAIT_S, Standing
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job.format import PAYLOAD_LIMIT_BYTES
from restbroker.light import define, field
from restbroker.store import jobs as store_jobs
from restbroker.store.connection import LOOK_EVERY_S
from restbroker.store.in_progress import FetchedJob
from restbroker.store.jobs import FetchAnswer, FetchRequest, FetchResult, QueueCounts, TargetPaused
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


Batch: TypeAlias = tuple[FetchRequest, FetchAnswer]


@define(eq=False)
class Intake(Agent):
    """The intake of one pool.

    `reconcile` is `Recovery.reconcile`, called after an outage. `quiet` is set when the process takes no more jobs.
    """

    lease: Lease
    quiet: trio.Event
    breaker: Breaker
    acker: Acker
    standing: Standing
    reconcile: Callable[[], Awaitable[list[JobInProgress]]]
    limited: str | None = None
    """Why the last fetch took nothing though there is room, or None.

    It is one of paused, rate, in_flight, dead, old_order, refused.
    """
    counts: tuple[QueueCounts, ...] = ()
    """How many jobs each queue's list and lists of keys had at the last fetch, where there are keys."""
    has_backlog: trio.Event = field(factory=trio.Event)
    """Set when jobs of a list are to be moved into lists of keys; the classifier puts another event in its place."""
    _compared_at: int | None = 0
    """The number of outages at the last comparison with Redis; None: an answer may have been lost since."""
    _compared: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)
    _brought: Batch | None = None
    """What a fetch that stood brought, and is still to be dealt with; its jobs are handed out."""
    _reserve: int = 0
    """How many jobs to keep ready."""
    _called_at_s: float = 0.0
    """When the last call of Redis began (Trio's clock)."""
    _shares: bool = field(init=False)
    """Whether all processes share a limit: then what lies ready here is missing elsewhere, or starts too late."""

    def __attrs_post_init__(self) -> None:
        """Find out once what does not change."""
        plan = self.plan
        self._shares = bool(plan.limits.emission_us or plan.limits.in_flight)
        self.standing.serve(partial(self._request, stands=True), self._take)
        if plan.order is not None and len(plan.target.queues) == 1 and not self._shares:
            self.acker.ask_next, self.acker.take_next = self._ask_next, self._take_next

    async def run(self) -> None:
        """Take jobs until cancelled, or until the pool stops; begin once the first heartbeat is confirmed.

        Once the pool is fenced, wait to be cancelled.
        """
        wait_s = FIRST_WAIT_S
        try:
            await self.lease.granted.wait()
            while not self.breaker.stopped:
                try:
                    if (batch := await self.take()) is not None:
                        await self._wait_behind(*batch)
                except StoreUnavailable as error:
                    self.health.record_outage(error, self._called_at_s)
                    self._compared_at = None
                    await trio.sleep(wait_s)
                    wait_s = min(wait_s * 2, LONGEST_WAIT_S)
                except StoreRefused as error:
                    self.limited = "refused"
                    self.identity.warn_once("FetchRefused", error.message, error.hint)
                    await trio.sleep(REFUSED_WAIT_S)
                else:
                    wait_s = FIRST_WAIT_S
        finally:
            self.standing.close()

    async def wait_to_compare(self) -> None:
        """Wait until what Redis lists was compared with what we hold since the last outage.

        Return after two seconds at most: then Redis is still away, and the lease says what may be sent.
        """
        with trio.move_on_after(_COMPARED_WITHIN_S):
            while self._is_behind:
                await self._compared.park()

    async def take(self) -> Batch | None:
        """Take the next batch, and hand out its jobs; return it, since what it says may have to be waited for.

        Return None after a wait for what hinders that. What the worker holds is compared with Redis also while the
        breaker admits no jobs: it is sent in the instant in which it does, so the prober waits for this
        (`wait_to_compare`).
        """
        admits = self.breaker.admits
        refused = bool(self.acker.refused) and admits
        self._reserve = 0 if self._shares else self.ready.batch_size.reserve(trio.current_time())
        if self.standing.bug is not None:
            raise self.standing.bug
        if refused or self._takes_no_more or not admits:
            self._close()
        if self._is_behind and not refused:
            await self._catch_up()
        if refused:
            await trio.sleep(REFUSED_WAIT_S)
        elif not admits:
            self.limited = None
            with trio.move_on_after(_IDLE_WAIT_S):
                await self.breaker.wait_to_admit()
        elif self._brought is None:
            return await self._fetch()
        else:
            batch, self._brought = self._brought, None
            return batch
        return None

    async def _fetch(self) -> Batch | None:
        """Fetch once jobs are needed, and hand them out; wait a moment and return None if none is to be fetched."""
        ready, batch = self.ready, None
        await ready.wait_for_demand(self._reserve)
        # Not if there are enough jobs, and a settlement is on its way that lets Redis know that they may start.
        if not (ready.demand.is_blocked and len(ready) > self._reserve // 2 and self.acker.is_busy):
            batch = await self.acker.settle_and_fetch(self._request)
        if batch is None:
            # Places are free, but all that the breaker permits is in delivery, or what they wait for is on its way.
            with trio.move_on_after(_IDLE_WAIT_S if self._takes_no_more else _FULL_WAIT_S):
                await self.reservations.wait_for_release()
        else:
            # It knows more than those before it.
            self._brought = None
            self._take(*batch, self._called_at_s)
            self.standing.take_early()
        return batch

    @property
    def _takes_no_more(self) -> bool:
        """Whether no job may be taken any more, in whatever way: the process is quiet, or the pool stops."""
        return self.quiet.is_set() or self.ready.closed

    @property
    def _is_behind(self) -> bool:
        """Whether an answer of Redis may have been lost since the last comparison."""
        return self._compared_at != self.health.outages

    def _request(self, *, stands: bool = False) -> FetchRequest | None:
        """Return what to fetch now; None if nothing is wanted, or nothing may be taken.

        One that `stands` brings its share. Its count is decided now: at most one batch comes too much, as with the
        reserve.
        """
        plan, ready, demand, reservations = self.plan, self.ready, self.ready.demand, self.reservations
        # Another fetch, and not one that stands, tells Redis at once which of them may start.
        needs_mark = bool(demand.waiting) and not demand.is_free
        held = needs_mark or self.acker.refused or self._brought is not None if stands else self.acker.is_taking_next
        if held or self._is_behind:
            # The acker had its turn, and waited with it for the end of an outage; or has it, and no one waits for it.
            return None
        want = min(demand.room + self._reserve - len(demand.waiting) - len(demand.line), MAX_BATCH)
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

    def _take(self, request: FetchRequest, got: FetchAnswer | None, sent_at_s: float) -> bool:
        """Take an answer, None if it is lost, and hand out its jobs; return whether another fetch may stand at once.

        Of one that stood, what is still to be dealt with is kept for `take`.
        """
        if got is None:
            self._compared_at = None
            return False
        self.health.record_write(sent_at_s)
        self.limited = None
        goes_on = False
        if isinstance(got, FetchResult):
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
            is_odd = got.bad or got.paused or got.more or got.counts or got.has_old_keys
            goes_on = len(got.jobs) < request.count and not is_odd
        if request.follows and not goes_on:
            self._brought = request, got
        return goes_on

    async def _wait_behind(self, request: FetchRequest, got: FetchAnswer) -> None:
        """Wait as long as this answer asks for, before more is taken."""
        match got:
            case FetchResult():
                await self._wait_for_more(got, request.count)
            case store_jobs.NotPlain():
                # A usual fetch tells at once what it was.
                pass
            case store_jobs.UnknownTickets(last):
                # What standing fetches took may be on its way; nothing tells of an answer that brings no job.
                with trio.move_on_after(LOOK_EVERY_S):
                    while self.reservations.last_number < last and self.standing.is_awaited:  # noqa: ASYNC110
                        await trio.sleep(_ON_ITS_WAY_S)
                if self.reservations.last_number < last:
                    self._compared_at = None
            case TargetPaused() | store_jobs.LimitReached():
                self.ready.confirm(request.hwm, request.base)
                self.limited = "paused" if isinstance(got, TargetPaused) else got.why
                if self.limited == "dead":
                    self.identity.warn_once(
                        "DeadSetFull",
                        f"The dead set holds {self.plan.limits.dead} jobs or more (DeadLimit): {self.plan.target.name} "
                        "gets no more jobs, so that failed jobs do not pile up unnoticed.",
                        "Check the dead set, retry or delete its jobs, or raise DeadLimit.",
                    )
                await trio.sleep(min(got.for_ms, 1000) / 1000)
            case store_jobs.IdentityUnknown():
                self.identity.fence()
                await trio.sleep_forever()
            case _:
                assert_never(got)

    async def _wait_for_more(self, got: FetchResult, want: int) -> None:
        if got.has_old_keys:
            self.identity.warn_once(
                "OrderChanged",
                f"OrderBy of {self.plan.target.name} was changed while keys were held under the old one: only their "
                "jobs are handed out until they are done.",
                "Wait. Skip or drop stopped keys: restbroker keys list shows them.",
            )
            if not got.jobs:
                self.limited = "old_order"
                with trio.move_on_after(_DRAIN_WAIT_S):
                    await self.acker.successor.wait()
            return
        # Many jobs had to wait behind others of their keys, or a fetch looks at few large ones.
        is_list_left = any(queue.in_list for queue in got.counts if queue.queue not in got.bad)
        needs_fetch = is_list_left or self._shares or not self.ready.demand.is_free
        if not (got.more or len(got.jobs) == want or (got.jobs and needs_fetch)):
            # Less than was wanted was there: another fetch at once would be for nothing.
            await self._stand_by(got)

    async def _stand_by(self, got: FetchResult) -> None:
        """Wait until a queue has a job, a key may have come free or is due, or jobs that wait here may start.

        Fetches stand meanwhile, until one brings what is not plain, or none may stand any more; those that stand then
        go on.
        """
        # A list with jobs ends the wait at once, though its jobs cannot be taken; what waits in lines for its
        # predecessor does not.
        if any(queue.in_list or (queue.in_lines and self.plan.order is None) for queue in got.counts):
            queues: Collection[str] = ()
        else:
            queues = [queue for queue in self.plan.target.queues if queue not in got.paused | got.bad]
        due_s = math.inf if got.due_ms is None else got.due_ms / 1000
        if len(queues) < len(self.plan.target.queues):
            due_s = min(due_s, _LOOK_AGAIN_S)
        standing = self.standing
        with trio.move_on_after(due_s):
            async with until(self.quiet.wait, self.breaker.wait_to_trip, self.acker.successor.wait):
                if await standing.begin(queues):
                    await standing.over.wait()
                elif not self._is_behind and self._brought is None:
                    # No more may stand, beside the others, until something changes here.
                    is_soon = standing.is_awaited or not standing.watch.is_kept
                    with trio.move_on_after(_FULL_WAIT_S if is_soon else REFUSED_WAIT_S):
                        if self.ready.demand.is_free:
                            await self.reservations.wait_for_release()
                        else:
                            await self.ready.wait_for_demand(0)
        self.look()
        standing.over.set()

    def look(self) -> None:
        """End the fetches that stand if they may not any more, or one of them can no longer be answered."""
        if not self.standing.over.is_set() and (self.acker.refused or self._is_behind or not self.standing.is_well):
            self._close()

    def _close(self) -> None:
        """End the fetches that stand: what they took, perhaps, is to be compared."""
        if self.standing.close():
            self._compared_at = None

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
            job = JobInProgress(fetched.ticket, fetched.number, fetched.queue, fetched.raw, fetched.size_bytes, now_s)
            if recent.lost:
                job.forgotten = recent.may_have_run(job.raw, trio.current_time() - self.health.away_s)
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
        self._compared_at = self._brought = None
        self._called_at_s = trio.current_time()
        # What comes with a settlement is either listed then, or not under way: what was sent without a task is answered
        # before the next call over this connection.
        async with trio.Lock() if self.plan.order is None else self.acker.lock:
            jobs = await self.reconcile()
        self._compared_at = outages
        self._compared.unpark_all()
        self.reservations.add(jobs)
        self.ready.send_nowait(jobs)
        self.standing.take_early()


async def look_after(intakes: Sequence[Intake]) -> None:
    """Look after the fetches that stand for these pools, for ever.

    One task does it for all: with a thousand idle targets, tasks of their own would be most of what wakes up.
    """
    while True:
        await trio.sleep(LOOK_EVERY_S)
        for intake in intakes:
            intake.look()


def draw_order(weights: Mapping[str, int], random: Callable[[], float]) -> tuple[str, ...]:
    """Return the queues in random order, drawn one after the other by their weights (queue → 1 or more).

    Each draw gives a queue the chance that its weight has among those that are left. That is how Sidekiq draws (a list
    with each queue as often as its weight, shuffled, doubles dropped), without the list. `random` returns numbers from
    0 to below 1.
    """
    # Each queue's first arrival in a race in which it starts `weight` runners (Efraimidis and Spirakis).
    return tuple(sorted(weights, key=lambda queue: random() ** (1 / weights[queue]), reverse=True))
