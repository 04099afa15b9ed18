"""Takes jobs from Redis for one pool, in batches, and hands them to the workers.

One task per pool. Always holds: one fetch at a time; no fetch while the breaker is tripped or Redis refuses to settle;
an empty queue is waited for without taking from it; and after anything that may have lost an answer, what Redis lists
as ours is compared with what we know before more is taken.
"""

import random
from typing import assert_never

import attrs
import trio

from restbroker.broker import settle_and_fetch
from restbroker.broker.acker import commit
from restbroker.broker.health import FIRST_WAIT_S, LONGEST_WAIT_S
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.lease import boot_time_s
from restbroker.broker.poison import PoisonDetector
from restbroker.broker.queue_order import drawn
from restbroker.broker.queue_waiter import QueueWaiter
from restbroker.broker.worker_pool import WorkerPool
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job.format import PAYLOAD_LIMIT_BYTES
from restbroker.store import heartbeats, jobs
from restbroker.store.tickets import MAX_BATCH, queue_of, ticket_number

HELD_BYTES = 16 * 1024 * 1024
"""Nothing more is taken while a pool's jobs in progress take so many bytes of memory: few pools need more at a time."""
_REFUSED_WAIT_S = 1.0
_FULL_WAIT_S = 0.1
_CLOSED_WAIT_S = 1.0


@attrs.define(eq=False)
class Poller:
    """The fetcher of one pool. `waiting` is for the pool's queues."""

    pool: WorkerPool
    waiting: QueueWaiter
    _outages: int = 0
    _failed: bool = False
    _asked_at_s: float = 0.0
    suspects: PoisonDetector = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make the part that needs the pool."""
        self.suspects = PoisonDetector(self.pool)

    async def run(self) -> None:
        """Fetch until cancelled, or until the pool is quiet or stops; begin once the first beat is confirmed.

        Once the pool is fenced, wait to be cancelled.
        """
        pool = self.pool
        wait_s = FIRST_WAIT_S
        await pool.lease.granted.wait()
        while not pool.quiet.is_set():
            try:
                if not await self._gate_opened():
                    return
                await self._once()
            except StoreUnavailable as error:
                pool.health.note_outage(error, self._asked_at_s)
                self._failed = True
                await trio.sleep(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
            except StoreRefused as error:
                pool.limited = "refused"
                pool.complain("FetchRefused", error.message, error.cure)
                await trio.sleep(_REFUSED_WAIT_S)
            else:
                wait_s = FIRST_WAIT_S

    async def _gate_opened(self) -> bool:
        """Wait until the breaker admits jobs; return False if the pool stops instead.

        What workers hold meanwhile is compared with Redis too: they will send it when the breaker admits them.
        """
        pool = self.pool
        while not pool.breaker.admits and not pool.breaker.stopped:
            pool.limited = None
            with trio.move_on_after(_CLOSED_WAIT_S):
                await pool.breaker.wait_to_admit()
            if self._is_behind:
                await self._reconcile()
        return not pool.breaker.stopped

    @property
    def _is_behind(self) -> bool:
        """Whether an answer of Redis may have been lost since the last comparison."""
        return self._failed or self.pool.health.outages != self._outages

    async def _once(self) -> None:
        pool = self.pool
        if pool.refused:
            await trio.sleep(_REFUSED_WAIT_S)
            return
        if self._is_behind:
            await self._reconcile()
        reserve = 0 if self._is_limited else pool.pace.reserve(trio.current_time())
        await pool.ready.hungry(reserve)
        request, answer = None, None
        if not self._is_told_soon(reserve):
            await settle_and_fetch.own_turn(pool)
            try:
                if self._is_behind:
                    # The committer had the turn, and waited with it for the end of an outage.
                    return
                request = self._request(reserve)
                if request is not None:
                    self._asked_at_s = trio.current_time()
                    answer = await settle_and_fetch.fetch(pool, request)
            finally:
                pool.turn.release()
        if request is not None and answer is not None:
            await self._deal_with(answer, request)
        elif pool.breaker.admits:
            # Workers are idle, but all that the breaker permits is in delivery, or what they wait for is on its way.
            with trio.move_on_after(_FULL_WAIT_S):
                await pool.settled.park()

    def _request(self, reserve: int) -> jobs.FetchRequest | None:
        """Return what to fetch now; None if nothing is wanted, or nothing may be taken."""
        pool = self.pool
        room = min(pool.ready.idle_workers, pool.breaker.room)
        ready = len(pool.ready) + pool.breaker.waiting
        want = max(0, min(room + reserve - ready, self._share(), MAX_BATCH))
        # What it takes in memory shows only when it is here: one of the largest at a time.
        most_bytes = min(PAYLOAD_LIMIT_BYTES, HELD_BYTES - sum([one.memory_bytes for one in pool.in_hand.values()]))
        if most_bytes <= 0:
            want = 0
        if not pool.breaker.admits or pool.quiet.is_set() or not (want or pool.ready.is_blocked):
            return None
        target = pool.plan.target
        queues = drawn(target.weights, random.random) if target.weights else target.queues
        limits = pool.plan.limits
        return jobs.FetchRequest(
            pool.identity, target.name, queues, pool.base, want, pool.high_water, limits, most_bytes
        )

    def _is_told_soon(self, reserve: int) -> bool:
        """Tell whether there are enough jobs, and a settlement on its way that lets Redis know they may start."""
        ready = self.pool.ready
        return ready.is_blocked and len(ready) > reserve // 2 and self.pool.finished.is_busy

    def _share(self) -> int:
        """Return how many more jobs this process alone may have in progress."""
        most = self.pool.plan.limits.in_flight
        return most - len(self.pool.in_hand) if most else MAX_BATCH

    @property
    def _is_limited(self) -> bool:
        """Whether all processes share a limit: then what lies ready here is missing elsewhere, or starts too late."""
        limits = self.pool.plan.limits
        return bool(limits.emission_us or limits.in_flight)

    async def _deal_with(self, got: jobs.FetchAnswer, request: jobs.FetchRequest) -> None:
        pool = self.pool
        pool.health.note_write(self._asked_at_s)
        pool.limited = None
        match got:
            case jobs.FetchResult():
                pool.told(request.hwm, request.base + len(got.jobs))
                await self._adopt(got, request.want)
            case jobs.Duplicate():
                self._failed = True
            case jobs.TargetPaused(for_ms):
                pool.told(request.hwm, request.base)
                await self._hold("paused", for_ms)
            case jobs.LimitReached(why, for_ms):
                pool.told(request.hwm, request.base)
                await self._hold(why, for_ms)
            case jobs.IdentityUnknown():
                pool.fence()
                await trio.sleep_forever()
            case _:
                assert_never(got)

    async def _hold(self, why: str, for_ms: int) -> None:
        pool = self.pool
        pool.limited = why
        if why == "dead":
            self.pool.complain(
                "DeadSetFull",
                f"The dead set holds {pool.plan.limits.dead} jobs or more (DeadLimit): {pool.plan.target.name} gets no "
                "more jobs, so that none that fails gets lost in the crowd.",
                "Look through the dead set, retry or delete what is there, or raise DeadLimit.",
            )
        await trio.sleep(min(for_ms, 1000) / 1000)

    async def _adopt(self, got: jobs.FetchResult, want: int) -> None:
        pool = self.pool
        if got.recovered_version != pool.recovered_version:
            pool.recovered = await pool.health.insist(pool.store, heartbeats.maybe_run)
            pool.recovered_version = got.recovered_version
        if got.bad.issuperset(pool.plan.target.queues):
            pool.limited = "refused"
        for queue in got.bad:
            self.pool.complain(
                "BadQueue",
                f"Redis does not let us read the queue {queue!r} as a list.",
                f"Look at the type of queue:{queue} (behind RedisNamespace), and at this Redis user's rights.",
            )
        if got.jobs:
            now_s, by_health_s = boot_time_s(), trio.current_time() - pool.health.away_s
            items = [
                JobInProgress(one.ticket, one.number, one.queue, one.raw, one.size_bytes, now_s) for one in got.jobs
            ]
            if pool.recent.is_in_doubt:
                for item in items:
                    item.forgotten = pool.recent.may_have_run(item.raw, by_health_s)
            await self._hand_over(items)
            if self._is_limited or len(items) == want or got.more or not pool.ready.is_free:
                return
        if want:
            # Less than was asked for was there: the queues are empty, and asking again at once would be for nothing.
            await self.waiting.wait_beside(pool.ready, got.paused | got.bad)

    async def _reconcile(self) -> None:
        """Compare what Redis lists as ours with what we know, and put right what differs. Raise `StoreUnavailable`.

        Unknown tickets beyond the last known are of a fetch whose answer was lost: they are adopted. The others were
        settled, and Redis has forgotten it (a restart without its last second): they are settled again if we remember
        how, else they run again as jobs that may have run; so do those that come from their queue again. What is not
        sent yet and Redis does not list went back to its queue with Redis' own past: it is dropped, even if a worker
        has it already.
        """
        pool = self.pool
        outages = pool.health.outages
        self._asked_at_s = trio.current_time()
        held = await pool.store.call(jobs.read_jobs, pool.identity)
        # The answer that was lost would have told whether a crash is known of these jobs.
        pool.recovered = await pool.store.call(heartbeats.maybe_run)
        queues = pool.plan.target.queues
        unknown = [
            JobInProgress(ticket, ticket_number(ticket), queue, held.jobs.get(ticket, b""), held.large.get(ticket, 0))
            for ticket in held.tickets
            if ticket not in pool.in_hand and (queue := queue_of(ticket, queues)) is not None
        ]
        for item in unknown:
            item.settlement = pool.recent.get(item.ticket)
            item.forgotten = item.number <= pool.base
        lost = [item for ticket, item in pool.in_hand.items() if ticket not in held.tickets]
        pool.recent.doubt((item.raw for item in lost if item.sending), trio.current_time() - pool.health.away_s)
        pool.ready.drop_unless(held.tickets)
        pool.slots.drop_unless(held.tickets)
        for item in lost:
            if not item.sending and item.settlement is None:
                pool.let_go(item.ticket)
        pool.base = max(pool.base, held.last)
        pool.ready.allow(held.hwm)
        pool.refused += await commit(pool, [item for item in unknown if item.settlement is not None])
        self._failed, self._outages = False, outages
        await self._hand_over(sorted((i for i in unknown if i.settlement is None), key=lambda item: item.number))

    async def _hand_over(self, items: list[JobInProgress]) -> None:
        pool = self.pool
        pool.in_hand.update({item.ticket: item for item in items})
        pool.base = max([pool.base, *(item.number for item in items)])
        try:
            await self.suspects.hand_over(items)
        except StoreRefused:
            self._failed = True
            raise
