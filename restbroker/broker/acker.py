"""Settles jobs in Redis, in batches: the jobs that are decided while one batch is written are the next batch.

A *batch* is what one call settles. It goes one of three ways. While few jobs come, it is sent in the step in which the
jobs are decided, without a task (`_settle_now`). A fetch of the poller takes it along, since one round trip costs less
than two (`settle_and_fetch`). All else is done by the acker's task, one per pool: after an outage; what Redis refuses;
and the last batches. With order the answer to each may bring the next job of a key.

Always holds: a job is released only when Redis has confirmed its settlement; during an outage of Redis the settlements
wait here, never more than were fetched, and are written when it is back; the jobs that a fetch settles are released, or
back in the buffer, however the fetch ends.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import assert_never

import attrs
import trio

from restbroker.broker.agent import Agent
from restbroker.broker.health import Lease
from restbroker.broker.job_in_progress import REQUESTED, IllegalTransition, JobInProgress
from restbroker.broker.ready_buffer import ReadyBuffer
from restbroker.broker.settler import Settler
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job import settle
from restbroker.job.settlement import Ack, Dead, Drop, Requeue, Retry, Schedule, Settlement, is_unchanged_requeue
from restbroker.light import define, field
from restbroker.store.codes import Applied, Clash, Code, Gone, Refused
from restbroker.store.connection import BUSY_S
from restbroker.store.in_progress import FetchedJob
from restbroker.store.jobs import FetchAnswer, FetchRequest
from restbroker.store.settling import FinishRequest, TakeNext
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
KEPT_S = 10.0
KEPT_BYTES = 32 * 1024 * 1024
LOSS_S = 60.0
_OVERHEAD_BYTES = 400
_PLAIN = Ack()


def take_batch(jobs: list[JobInProgress]) -> list[JobInProgress]:
    """Remove from the front of `jobs` what one call of Redis settles, and return it: `MAX_BATCH` jobs at most.

    A batch ends with its first oversized job, since Redis takes long to settle that.
    """
    batch = jobs[:MAX_BATCH]
    count = next((place for place, job in enumerate(batch, 1) if job.size_bytes), len(batch))
    del jobs[:count]
    return batch[:count]


@define(eq=False)
class AckBuffer:
    """The jobs of one pool that have a settlement and wait for the acker, oldest first.

    While more jobs can be started, the acker waits a moment for a larger batch, since a call of Redis costs about as
    much for fifty jobs as for one; when none can, it settles at once. Each job in it is in `Reservations.jobs` too
    until Redis confirms its settlement, so nothing is lost with it. It is a list and no memory channel, which would
    wake the acker once per job.
    """

    ready: ReadyBuffer
    settle_now: Callable[[], bool] = lambda: False
    """Sends what waits here in this step, or once what it sent before is answered; False: the acker's task has to."""
    jobs: list[JobInProgress] = field(factory=list)
    _acker: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)
    _more: bool = False
    _gathers: bool = False
    _closed: bool = False

    @property
    def is_busy(self) -> bool:
        """Whether a batch is being settled, or is about to be, so that a call of Redis is made anyway."""
        return bool(self.jobs) or not self._acker

    def add(self, job: JobInProgress) -> None:
        """Add a job with its settlement. If others can be started, more will follow soon."""
        self.add_all((job,))

    def add_all(self, jobs: Iterable[JobInProgress]) -> None:
        """Add jobs as `add` does."""
        self.jobs += jobs
        self._more = more = self.ready.is_ready
        if (not self._gathers or not more or len(self.jobs) >= BATCH_ENOUGH) and self._acker:
            if not (more or self._gathers) and self.settle_now():
                return
            self._acker.unpark_all()

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
class _SettledBatch:
    """What was settled together: by ticket the hash of each job's bytes, and how, unless `Ack.is_plain`."""

    at_s: float
    size_bytes: int
    jobs: dict[str, int]
    others: dict[str, Settlement]


@define(eq=False)
class RecentlySettled:
    """The settlements of the last seconds of one pool, in case Redis forgets them; bounded by time and size.

    A Redis that restarts without its last second, or a replica that takes over, may list jobs as in progress that were
    settled: they are settled again, and not run. Or it may have them in their queue, as if they had never been taken:
    then they run again, as jobs that may have run. `now_s` is the time by any rising clock, the same for all methods.
    """

    _batches: deque[_SettledBatch] = field(factory=deque)
    _size_bytes: int = 0
    lost: set[int] = field(factory=set)
    """The hashes of the jobs of which `may_have_run` may be true."""
    _lost_until_s: float = float("-inf")

    def add(self, settled: Sequence[tuple[str, Settlement, bytes]], now_s: float) -> None:
        """Keep settlements that Redis confirmed: of each its ticket, how, and the bytes of the job."""
        others = {ticket: how for ticket, how, _ in settled if not (isinstance(how, Ack) and how.is_plain)}
        size_bytes = _OVERHEAD_BYTES * len(settled) + sum(map(_size, others.values()))
        jobs = {ticket: hash(job) for ticket, _, job in settled}
        self._batches.append(_SettledBatch(now_s, size_bytes, jobs, others))
        self._size_bytes += size_bytes
        self.forget(now_s)

    def get(self, ticket: str) -> Settlement | None:
        """Return the settlement of this ticket; None if it is not kept, or not any more."""
        return next((batch.others.get(ticket, _PLAIN) for batch in self._batches if ticket in batch.jobs), None)

    def forget(self, now_s: float) -> None:
        """Drop settlements older than `KEPT_S` seconds, and beyond `KEPT_BYTES` the oldest, but not the last batch.

        To be called now and then, so that an idle pool keeps none.
        """
        batches = self._batches
        while batches and (now_s - batches[0].at_s > KEPT_S or (self._size_bytes > KEPT_BYTES and len(batches) > 1)):
            self._size_bytes -= batches.popleft().size_bytes

    def record_loss(self, jobs: Iterable[bytes], now_s: float) -> None:
        """Note that Redis may have lost its last writes: for `LOSS_S` seconds `may_have_run` is true of some jobs.

        These are `jobs` (their bytes) and all whose settlement is kept: they may be fetched again under new tickets.
        """
        kept = ((job, batch.others.get(ticket)) for batch in self._batches for ticket, job in batch.jobs.items())
        settled = {job for job, settlement in kept if not is_unchanged_requeue(settlement)}
        earlier = self.lost if now_s < self._lost_until_s else set()
        self.lost = earlier | settled | {hash(job) for job in jobs}
        self._lost_until_s = now_s + LOSS_S

    def may_have_run(self, job: bytes, now_s: float) -> bool:
        """Tell whether a fetched job (its bytes) is one of those that `record_loss` noted.

        Each is reported once, since a second job with equal bytes is a new job.
        """
        if hash(job) not in self.lost:
            return False
        self.lost.remove(hash(job))
        return now_s < self._lost_until_s


def _size(settlement: Settlement) -> int:
    match settlement:
        case Ack(replies) | Drop(replies):
            return sum([len(reply.payload) for reply in replies])
        case Retry(_, payload, replies) | Dead(_, payload, replies):
            return len(payload) + sum([len(reply.payload) for reply in replies])
        case Schedule(_, payload) | Requeue(payload):
            return len(payload or b"")
        case _:
            assert_never(settlement)


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
    """Set when the next job of a key may start, now or later, where they are done in order; the poller renews it."""
    ask_next: Callable[[int], TakeNext | None] = lambda _count: None
    """Returns what is taken with the settlement of so many jobs, None if nothing is; the poller knows."""
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
    _bug: Exception | None = None
    """What was raised while its answer was noted."""

    async def run(self) -> None:
        """Settle until `close` and until the buffer is empty. When cancelled, what is not settled stays reserved."""
        self.buffer.settle_now = self._settle_now
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

    def _settle_now(self) -> bool:
        """Send the settlements in the buffer without a task; return False if that is not possible.

        One batch at a time: those that come meanwhile follow once it is answered, or a moment later where jobs come so
        fast that a few can be settled together; not if no other job can come before, as with one key.
        """
        if self._is_sent or self._is_due:
            return True
        if self.refused or not self.health.is_up or self.lock.locked():
            return False
        readiness = self.upkeep.readiness
        others = len(self.reservations.jobs) > len(self.buffer.jobs)
        if others and trio.current_time() - self._sent_at_s < BUSY_S and readiness.is_kept:
            self._is_due = True
            readiness.call_later(self._settle_due)
            return True
        return self._send_batch()

    def _settle_due(self) -> None:
        self._is_due = False
        if self.buffer.jobs and not self._is_sent and not (not self.lock.locked() and self._send_batch()):
            self.buffer.wake()

    def _send_batch(self) -> bool:
        # What is not sent stays in the buffer.
        batch = take_batch(list(self.buffer.jobs))
        request = self._request(batch, self.ask_next(len(batch)))
        last, began_s = self.reservations.last_number, trio.current_time()

        def note(answer: list[Code] | StoreUnavailable | None, found: Sequence[FetchedJob]) -> None:
            self._is_sent = self.is_taking_next = False
            again = batch
            try:
                if isinstance(answer, list):
                    self.health.record_write(began_s)
                    again = self._take_answer(request, last, batch, answer, found, self.refused)
                elif answer is not None:
                    _record_request(batch)
                    self.health.record_outage(answer, began_s)
            except Exception as bug:  # noqa: BLE001 - it must not end the task that listens
                self._bug = bug
            if again:
                self.buffer.put_back(again)
            if self.buffer.jobs and not (isinstance(answer, list) and self._settle_now()):
                self.buffer.wake()

        self._sent_at_s = began_s
        readiness, deadlines = self.upkeep.readiness, self.upkeep.deadlines
        self._is_sent = self.store.send_finish(request, time.time(), watch=readiness, deadlines=deadlines, done=note)
        self.is_taking_next = self._is_sent and request.next is not None
        if self._is_sent:
            del self.buffer.jobs[: len(batch)]
        return self._is_sent

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
            batch = take_batch(rest)
            request, last = self._request(batch), self.reservations.last_number
            try:
                codes, found = await self.health.await_until_up(
                    partial(self._finish, request, batch, time.time()), is_write=True
                )
            except StoreRefused as error:
                self.identity.warn_once("StoreRefused", error.message, error.hint)
                for job in (left := batch + rest):
                    job.refuse()
                return refused + left
            rest = self._take_answer(request, last, batch, codes, found, refused) + rest
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
        batch = take_batch(self.buffer.jobs)
        if not batch:
            return await self.store.fetch(fetch)
        unsettled = batch
        try:
            request = self._request(batch)
            codes, got = await self.store.finish_and_fetch(request, time.time(), fetch)
            if not isinstance(codes, StoreRefused):
                self.ready.confirm(request.hwm, fetch.base)
                unsettled = self._read(batch, codes, self.refused)
        except StoreUnavailable:
            _record_request(batch)
            raise
        finally:
            self.buffer.put_back(unsettled)
        if isinstance(got, StoreRefused):
            raise got
        return got

    async def _finish(
        self, request: FinishRequest, batch: Sequence[JobInProgress], now_s: float
    ) -> tuple[list[Code], tuple[FetchedJob, ...]]:
        try:
            wanted = None if self.is_taking_next else self.ask_next(len(batch))
            return await self.store.finish(attrs.evolve(request, next=wanted), now_s)
        except StoreUnavailable:
            _record_request(batch)
            raise

    def _request(self, batch: Sequence[JobInProgress], wanted: TakeNext | None = None) -> FinishRequest:
        """Return the request that settles those of these jobs that have a settlement, and takes what is wanted."""
        settlements = [(job.ticket, job.settlement) for job in batch if job.settlement is not None]
        target, records = self.plan.target, self.settler.reports.records(batch)
        # What Redis may have settled without an answer is counted by a script alone, which sees whether it was.
        is_new = all(job.settling is not REQUESTED for job in batch)
        needs_mark = len(batch) > _FEW or len(self.ready) > 0 or self.plan.order is not None
        return FinishRequest(
            identity=self.identity.name,
            target=target.name,
            queues=target.queues,
            hwm=self.ready.high_water if needs_mark else 0,
            items=settlements,
            records=records,
            key_rules=self.plan.key_rules,
            next=wanted,
            may_be_marked=self.identity.has_marked or self.plan.limits.in_flight > 0,
            is_ours=is_new and self.lease.is_fresh and not self.identity.fenced.is_set(),
        )

    def _take_answer(
        self,
        request: FinishRequest,
        last: int,
        batch: list[JobInProgress],
        codes: list[Code],
        found: Sequence[FetchedJob],
        refused: list[JobInProgress],
    ) -> list[JobInProgress]:
        """Note what Redis answered as `_read` does, and hand out what was taken; `last`: the last ticket before it."""
        self.ready.confirm(request.hwm, last + len(found))
        if self.plan.order is not None and any(map(_changes_keys, batch, codes)):
            self.successor.set()
        again = self._read(batch, codes, refused)
        if found:
            self.take_next(found)
        return again

    def _read(self, batch: list[JobInProgress], codes: list[Code], refused: list[JobInProgress]) -> list[JobInProgress]:
        """Note what Redis answered; return the jobs that have a new settlement, to be tried at once.

        What Redis refuses in every form is added to `refused`; what is settled is released and reported.
        """
        applied: list[JobInProgress] = []
        over: list[JobInProgress] = []
        again: list[JobInProgress] = []
        for job, code in zip(batch, codes, strict=True):
            try:
                if isinstance(code, Applied):
                    job.confirm()
                    applied.append(job)
                    over.append(job)
                    continue
                match code:
                    case Gone():
                        # Of one that was fenced another process may have done it: that one reports it.
                        was_requested = job.settling is REQUESTED and not self.identity.fenced.is_set()
                        job.confirm()
                        over.append(job)
                        if was_requested:
                            applied.append(job)
                    case Clash():
                        assert isinstance(job.settlement, Retry | Dead | Schedule)  # noqa: S101 - only these go to a set
                        job.revise(settle.perturb(job.settlement, job.number))
                        again.append(job)
                    case Refused(text):
                        if self.settler.drop_reply(job, text):
                            again.append(job)
                        else:
                            job.refuse()
                            refused.append(job)
                    case _:
                        assert_never(code)
            except IllegalTransition as bug:
                # Kept: Redis lists it until it is settled, or until a reaper or the next start takes it over.
                self.identity.warn_once("Bug", f"A job was about to be settled twice ({bug}).", "Please report this.")
        now_s = trio.current_time()
        tickets = [job.ticket for job in over]
        # What was settled just before an outage is not older after it, however long it was.
        settled = [(job.ticket, job.settlement, job.raw) for job in over if job.settlement is not None]
        self.recently_settled.add(settled, now_s - self.health.away_s)
        self.reservations.release(*tickets)
        self.ready.batch_size.record_settled(len(batch) - len(again), now_s)
        self.settler.reports.send(applied)
        return again

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
