"""Settles jobs in Redis, in batches: the jobs that are decided while one batch is written are the next batch.

A *batch* is what one call settles. It goes one of three ways. While few jobs come, it is sent in the step in which the
jobs are decided, without a task (`_flush`). A fetch of the intake takes it along, since one round trip costs less than
two (`settle_and_fetch`). All else is done by the acker's task, one per pool: after an outage; what Redis refuses; and
the last batches. Whichever way it went, `_read` notes what became of it. With order the answer to each may bring the
next job of a key.

Always holds: a job is released only when Redis has confirmed its settlement; during an outage of Redis the settlements
wait here, never more than were fetched, and are written when it is back; the jobs that a fetch settles are released, or
back in the buffer, however the fetch ends.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import assert_never

import trio

from restbroker.broker.agent import Agent
from restbroker.broker.health import Lease
from restbroker.broker.job_in_progress import REQUESTED, IllegalTransition, JobInProgress, RecentlySettled
from restbroker.broker.ready_buffer import ReadyBuffer
from restbroker.broker.settler import Settler
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job import settle
from restbroker.job.settlement import Dead, Retry, Schedule
from restbroker.light import define, field
from restbroker.store.codes import Applied, Clash, Code, Gone, Refused
from restbroker.store.connection import BUSY_S
from restbroker.store.in_progress import FetchedJob
from restbroker.store.jobs import FetchAnswer, FetchRequest
from restbroker.store.settling import FinishRequest, TakeNext, TicketSettlement
from restbroker.store.tickets import MAX_BATCH
from restbroker.transport.readiness import Upkeep

_REFUSED_WAIT_S = 5.0
_UNNOTICED_S = 10.0
# Why: docs/design.md#settlement
GATHER_S = 0.003
BATCH_ENOUGH = 50
"""How many jobs are worth a call of their own: no more are waited for."""
_FEW = 8
"""Where no more are settled together, and no job waits for the mark or comes along, the next fetch tells it."""


def take_batch(jobs: list[JobInProgress]) -> list[JobInProgress]:
    """Remove from the front of `jobs` what one call of Redis settles, and return it: `MAX_BATCH` jobs at most.

    A batch ends with its first oversized job, since Redis takes long to settle that.
    """
    count = 0
    for count, job in enumerate(jobs, 1):
        if job.size_bytes or count == MAX_BATCH:
            break
    batch = jobs[:count]
    del jobs[:count]
    return batch


@define(eq=False)
class AckBuffer:
    """The jobs of one pool that have a settlement and wait for the acker, oldest first.

    While more jobs can be started, the acker waits a moment for a larger batch, since a call of Redis costs about as
    much for fifty jobs as for one; when none can, it settles at once. Each job in it is in `Reservations.jobs` too
    until Redis confirms its settlement, so nothing is lost with it. It is a list and no memory channel, which would
    wake the acker once per job.
    """

    ready: ReadyBuffer
    jobs: list[JobInProgress] = field(factory=list)
    _flush: Callable[[], object] | None = None
    _acker: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)
    _more: bool = False
    _gathers: bool = False
    _closed: bool = False

    @property
    def is_busy(self) -> bool:
        """Whether a batch is being settled, or is about to be, so that a call of Redis is made anyway."""
        return bool(self.jobs) or not self._acker

    def serve(self, flush: Callable[[], object]) -> None:
        """Call `flush` when what waits here is to be settled and no more will follow soon."""
        self._flush = flush

    def add(self, jobs: Iterable[JobInProgress]) -> None:
        """Add jobs with their settlements. If others can be started, more will follow soon."""
        self.jobs += jobs
        self._more = more = self.ready.is_ready
        if (not self._gathers or not more or len(self.jobs) >= BATCH_ENOUGH) and self._acker:
            if more or self._gathers or self._flush is None:
                self._acker.unpark_all()
            else:
                self._flush()

    def wake(self) -> None:
        """Have the acker's task settle what waits here."""
        self._acker.unpark_all()

    def put_back(self, jobs: list[JobInProgress]) -> None:
        """Put jobs that were taken and could not be settled back in front of all others, in this order."""
        if jobs:
            self.jobs[:0] = jobs
            self._acker.unpark_all()

    async def wait_for_batch(self) -> bool:
        """Wait until there is a batch to take; return False once the buffer is closed and empty. Safe to cancel."""
        while True:
            while not self.jobs and not self._closed:
                await self._acker.park()
            if self._more and not self._closed and len(self.jobs) < BATCH_ENOUGH:
                self._gathers = True
                try:
                    with trio.move_on_after(GATHER_S):
                        await self._acker.park()
                finally:
                    self._gathers = False
            # A fetch may have taken them along meanwhile.
            if self.jobs or self._closed:
                return bool(self.jobs)

    def close(self) -> None:
        """Note that no more jobs will be added; to be called when the last worker has ended."""
        self._closed = True
        self._acker.unpark_all()


@define(eq=False)
class _Batch:
    """What one call of Redis settles. `last` is the highest ticket number that was issued before the call."""

    jobs: list[JobInProgress]
    request: FinishRequest
    last: int


@define(eq=False)
class Acker(Agent):
    """The acker of one pool. `refused`: jobs that Redis refuses to settle; while there is one, none is fetched."""

    buffer: AckBuffer
    settler: Settler
    upkeep: Upkeep
    lease: Lease
    refused: list[JobInProgress] = field(factory=list)
    recently_settled: RecentlySettled = field(factory=RecentlySettled)
    successor: trio.Event = field(factory=trio.Event)
    """Set when the next job of a key may start, now or later, where they are done in order; the intake renews it."""
    ask_next: Callable[[int], TakeNext | None] | None = None
    """Returns what is taken with the settlement of so many jobs, None if nothing is; the intake knows."""
    take_next: Callable[[Sequence[FetchedJob]], object] = len
    """Hands out what was taken so."""
    lock: trio.Lock = field(factory=trio.Lock)
    """Held for each call by the acker's task and by fetches: the one that waits takes along what came since."""
    is_taking_next: bool = False
    """Whether jobs are being taken with a settlement without a task: nothing else may be taken meanwhile."""
    _is_sent: bool = False
    """Whether a batch was sent without a task, and not answered yet."""
    _sent_at_s: float = -math.inf
    _is_due: bool = False
    """Whether a batch will be sent without a task in a moment."""
    _opened: int = 0
    _may_be_back: int = 0
    """The highest number that was issued when its connection was first seen to be the present one."""
    _bug: Exception | None = None
    """What was raised while its answer was noted."""

    async def run(self) -> None:
        """Settle until `close` and until the buffer is empty. When cancelled, what is not settled stays reserved."""
        self.buffer.serve(self._flush)
        async with trio.open_nursery() as beside:
            beside.start_soon(self._insist)
            while await self.buffer.wait_for_batch() or self._is_sent:
                if self._bug is not None:
                    raise self._bug
                if self.buffer.jobs:
                    async with self.lock:
                        await self.commit(take_batch(self.buffer.jobs))
                else:
                    # No one listens any more.
                    await self.store.wait_for_reply()
            beside.cancel_scope.cancel()

    def _flush(self, *, may_wait: bool = True) -> None:
        """Send the settlements in the buffer in this step, without a task; if that is not possible, wake the task.

        One batch at a time: those that come meanwhile follow once it is answered, or (`may_wait`) a moment later where
        jobs come so fast that a few can be settled together; not if no other job can come before, as with one key.
        """
        jobs, readiness = self.buffer.jobs, self.upkeep.readiness
        if not jobs or self._is_sent or self._is_due:
            return
        if self.refused or not self.health.is_up or self.lock.locked():
            self.buffer.wake()
            return
        now_s, others = trio.current_time(), len(self.reservations.jobs) > len(jobs)
        if may_wait and others and now_s - self._sent_at_s < BUSY_S and readiness.is_kept:
            self._is_due = True
            readiness.call_later(self._flush_due)
            return
        self._sent_at_s, taken = now_s, take_batch(jobs)
        try:
            batch = self._batch_of(taken)
            self._is_sent = self.store.send_finish(
                batch.request,
                time.time(),
                watch=readiness,
                deadlines=self.upkeep.deadlines,
                done=partial(self._answered, batch),
            )
            self.is_taking_next = self._is_sent and batch.request.next is not None
        finally:
            if not self._is_sent:
                self.buffer.put_back(taken)

    def _flush_due(self) -> None:
        self._is_due = False
        self._flush(may_wait=False)

    def _answered(
        self, batch: _Batch, answer: list[Code] | StoreUnavailable | None, found: Sequence[FetchedJob]
    ) -> None:
        """Note the answer to what was sent without a task; it is as `store.connection.Settled` says."""
        self._is_sent = self.is_taking_next = False
        again = batch.jobs
        try:
            if isinstance(answer, list):
                self.health.record_write(self._sent_at_s)
                again = self._read(batch, answer, found, self.refused)
            elif answer is not None:
                _record_request(batch.jobs)
                self.health.record_outage(answer, self._sent_at_s)
        except Exception as bug:  # noqa: BLE001 - it must not end the task that listens
            self._bug = bug
        if again:
            # Wakes the task, which deals with what Redis refused.
            self.buffer.put_back(again)
        if isinstance(answer, list):
            self._flush()

    @property
    def is_busy(self) -> bool:
        """Whether a batch is being settled, or is about to be, so that a call of Redis is made anyway."""
        return self._is_sent or self.buffer.is_busy

    def close(self) -> None:
        """Let `run` end once all is settled; to be called when the last worker is gone."""
        self.buffer.close()

    async def commit(self, jobs: list[JobInProgress]) -> None:
        """Settle `jobs` as `settle` does; those that Redis refuses go to `refused`, which `run` tries again."""
        refused = await self.settle(jobs)
        self.refused += refused

    async def settle(self, jobs: list[JobInProgress]) -> list[JobInProgress]:
        """Settle `jobs` in Redis; return those that it refuses, also in a changed form. Wait while Redis is away."""
        refused: list[JobInProgress] = []
        rest = list(jobs)
        while rest:
            taken = take_batch(rest)
            try:
                answer = await self.health.await_until_up(partial(self._finish, taken), is_write=True)
            except StoreRefused as error:
                self.identity.warn_once("StoreRefused", error.message, error.hint)
                for job in (left := taken + rest):
                    job.refuse()
                return refused + left
            rest = self._read(*answer, refused) + rest
        return refused

    async def settle_and_fetch(
        self, make_request: Callable[[], FetchRequest | None]
    ) -> tuple[FetchRequest, FetchAnswer] | None:
        """Fetch jobs, and settle the next batch of the buffer in the same round trip.

        Wait first until no other settling is under way, then call `make_request` for what to fetch. Return its request
        and the answer of Redis; None if it returned None. Raise `StoreUnavailable` or `StoreRefused`. Safe to cancel:
        jobs that were not settled are in the buffer again.
        """
        # Trio lets all other tasks run first, also when a lock is free. What they finish meanwhile makes a batch
        # larger; a pool that has nothing in progress is spared that.
        if self.reservations.jobs or self.lock.locked():
            await self.lock.acquire()
        else:
            self.lock.acquire_nowait()
        try:
            request = make_request()
            return None if request is None else (request, await self._settle_along(request))
        finally:
            self.lock.release()

    async def _settle_along(self, fetch: FetchRequest) -> FetchAnswer:
        """Fetch, and settle the next batch in the same call."""
        unsettled = taken = take_batch(self.buffer.jobs)
        if not taken:
            return await self.store.fetch(fetch)
        try:
            batch = self._batch_of(taken, asks=False)
            codes, got = await self.store.finish_and_fetch(batch.request, time.time(), fetch)
            if not isinstance(codes, StoreRefused):
                unsettled = self._read(batch, codes, None, self.refused)
        except StoreUnavailable:
            _record_request(taken)
            raise
        finally:
            self.buffer.put_back(unsettled)
        if isinstance(got, StoreRefused):
            raise got
        return got

    async def _finish(self, jobs: list[JobInProgress]) -> tuple[_Batch, list[Code], Sequence[FetchedJob]]:
        batch = self._batch_of(jobs, asks=not self.is_taking_next)
        try:
            return batch, *await self.store.finish(batch.request, time.time())
        except StoreUnavailable:
            _record_request(jobs)
            raise

    def _batch_of(self, jobs: list[JobInProgress], *, asks: bool = True) -> _Batch:
        """Return the batch of these jobs, which have settlements; `asks`: others may be taken with it."""
        settlements, is_new = list[TicketSettlement](), True
        if self.store.opened != self._opened:
            self._opened, self._may_be_back = self.store.opened, self.reservations.last_number
        for job in jobs:
            if job.settlement is not None:
                settlements.append((job.ticket, job.settlement))
            # What Redis may have settled without an answer, or may have back in its queue since it lost its last
            # second, is counted by a script alone, which sees whether it was.
            is_new = is_new and job.settling is not REQUESTED and job.number > self._may_be_back
        plan, target = self.plan, self.plan.target
        needs_mark = len(jobs) > _FEW or len(self.ready) > 0 or plan.order is not None
        request = FinishRequest(
            identity=self.identity.name,
            target=target.name,
            queues=target.queues,
            hwm=self.ready.high_water if needs_mark else 0,
            items=settlements,
            records=None if plan.history_s is None else self.settler.reports.records(jobs, plan.history_s),
            key_rules=plan.key_rules,
            next=self.ask_next(len(jobs)) if asks and self.ask_next is not None else None,
            may_be_marked=self.identity.has_marked or plan.limits.in_flight > 0,
            is_ours=is_new and self.lease.is_fresh and not self.identity.fenced.is_set(),
        )
        return _Batch(jobs, request, self.reservations.last_number)

    def _read(
        self, batch: _Batch, codes: list[Code], found: Sequence[FetchedJob] | None, refused: list[JobInProgress]
    ) -> list[JobInProgress]:
        """Note what Redis answered; return the jobs that have a new settlement, to be tried at once.

        What Redis refuses in every form is added to `refused`; what is settled is released and reported. `found` was
        taken with it, and is handed out; None: a fetch went along, which knows of all that may come next.
        """
        if batch.request.hwm:
            self.ready.confirm(batch.request.hwm, batch.last + len(found or ()))
        if found is not None and self.plan.order is not None and any(map(_changes_keys, batch.jobs, codes)):
            self.successor.set()
        applied, over, again = list[JobInProgress](), dict[str, JobInProgress](), list[JobInProgress]()
        for job, code in zip(batch.jobs, codes, strict=True):
            try:
                match code:
                    case Applied():
                        is_told = True
                    case Gone():
                        # Of one that was fenced another process may have done it: that one reports it.
                        is_told = job.settling is REQUESTED and not self.identity.fenced.is_set()
                    case _:
                        (again if self._revise(job, code) else refused).append(job)
                        continue
                job.confirm()
                over[job.ticket] = job
                if is_told:
                    applied.append(job)
            except IllegalTransition as bug:
                # Kept: Redis lists it until it is settled, or until a reaper or the next start takes it over.
                self.identity.warn_once("Bug", f"A job was about to be settled twice ({bug}).", "Please report this.")
        now_s = trio.current_time()
        # What was settled just before an outage is not older after it, however long it was.
        self.recently_settled.add(over.values(), now_s - self.health.away_s)
        self.reservations.release(*over)
        self.ready.batch_size.record_settled(len(codes) - len(again), now_s)
        self.settler.reports.send(applied)
        if found:
            self.take_next(found)
        return again

    def _revise(self, job: JobInProgress, code: Clash | Refused) -> bool:
        """Give a job that could not be settled so another settlement; return False if there is none."""
        match code:
            case Clash():
                assert isinstance(job.settlement, Retry | Dead | Schedule)  # noqa: S101 - only these go to a set
                job.revise(settle.perturb(job.settlement, job.number))
            case Refused(text):
                if not self.settler.drop_reply(job, text):
                    job.refuse()
                    return False
            case _:
                assert_never(code)
        return True

    async def _insist(self) -> None:
        """Try again and again to settle what Redis refuses; a person must repair the key's type or the rights.

        Also forget what is too old, for a pool in which nothing more is settled after a burst.
        """
        while True:
            await trio.sleep(_REFUSED_WAIT_S)
            if self.health.is_up:
                # An outage that no one noticed yet must not count as time in which they grew old.
                self.recently_settled.forget(trio.current_time() - self.health.away_s - _UNNOTICED_S)
            if self.refused:
                self.identity.warn_once(
                    "StoreRefused",
                    f"Redis refuses to settle a job ({type(self.refused[0].settlement).__name__.lower()}).",
                    "restbroker takes no more jobs until it does. Check that the keys retry, schedule and dead are "
                    "sorted sets and that restbroker may write them.",
                )
                tried = list(self.refused)
                # They stay listed meanwhile: nothing is fetched, and /readyz says so.
                self.refused[: len(tried)] = await self.settle(tried)


def _changes_keys(job: JobInProgress, code: Code) -> bool:
    """Tell whether a fetch would hand out a job, or learn when one is due, that it did not know of."""
    return isinstance(code, Applied) and (code.is_ready or isinstance(job.settlement, Retry | Schedule))


def _record_request(batch: Sequence[JobInProgress]) -> None:
    """Note that Redis may have settled these jobs, since it did not answer."""
    for job in batch:
        job.request()
