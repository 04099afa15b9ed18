"""From the poller to the workers: batches in, single jobs out.

The poller sends, workers receive; a task that gets an answer of Redis calls `confirm`. It keeps the protocol of a
memory channel: bounded (the poller waits for demand), and `trio.ClosedResourceError` once closed. Always holds:
a job's number is above the allowed one only while it waits here, so that Redis knows of every job that may have been
started (the high-water mark); and no more jobs are started than there are workers.

The fast path, if it runs, is offered each job before a worker is woken for it. While it has a job, one worker stays
idle in its place.
"""

from collections import deque
from collections.abc import Callable, Container, Iterable

import attrs
import trio

from restbroker.broker.job_in_progress import JobInProgress

MOST_AHEAD = 200
SPAN_S = 0.025
_FEW_POOLS = 10
_MOST_STRETCH = 10.0
_LEAST = 4
_MOST = 400
_GROUPS = 4


def are_many(pools: int) -> bool:
    """Tell whether a process has so many pools that it comes to each of them seldom, and each has few jobs then."""
    return pools > _FEW_POOLS


def stretch(pools: int) -> float:
    """Return by how much longer than alone each of so many pools of a process gathers jobs: 1 to 10.

    With groups of five jobs a call of Redis costs more than the jobs.
    """
    return min(_MOST_STRETCH, max(1.0, pools / _FEW_POOLS))


@attrs.define(eq=False)
class BatchSize:
    """How many jobs a pool keeps ready beyond its idle workers: as many as it settled in its last 25 ms, 4 to 400.

    A slow target thus reserves few jobs that another process could do. `span_s`: these 25 ms, longer where the process
    has many pools. Times are seconds of any rising clock, the same for both methods.
    """

    span_s: float = SPAN_S
    lead: int = 0
    """How many jobs are started from one confirmation of Redis to the next: twice the largest of the last groups.

    Twice, since from a call to the answer of the next it takes two calls; the largest, since too few would keep workers
    waiting, and groups small.
    """
    _started_s: float = 0.0
    _current: int = 0
    _previous: int = 0
    _groups: deque[int] = attrs.field(factory=lambda: deque([0], maxlen=_GROUPS))

    def note_settled(self, count: int, now_s: float) -> None:
        """Note a group of `count` jobs that were settled at `now_s`."""
        self._groups.append(count)
        self.lead = 2 * max(self._groups)
        self._roll(now_s)
        self._current += count

    def reserve(self, now_s: float) -> int:
        """Return how many jobs to keep ready."""
        self._roll(now_s)
        return max(_LEAST, min(_MOST, max(self._current, self._previous)))

    def _roll(self, now_s: float) -> None:
        elapsed_s = now_s - self._started_s
        if elapsed_s < self.span_s:
            return
        self._previous = self._current if elapsed_s < 2 * self.span_s else 0
        self._current = 0
        self._started_s = now_s


@attrs.define(eq=False)
class ReadyBuffer:
    """The jobs that wait for one of `workers` workers."""

    workers: int
    batch_size: BatchSize
    closed: bool = False
    _waiting: deque[JobInProgress] = attrs.field(factory=deque)
    _for_workers: deque[JobInProgress] = attrs.field(factory=deque)
    """Jobs for each of which a worker has been woken."""
    _takes: Callable[[JobInProgress], bool] | None = None
    _taken: int = 0
    """How many jobs the fast path has."""
    _idle: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    _demand: trio.Event = attrs.field(factory=trio.Event)
    _allowed: int = 0
    _started: int = 0
    """The highest ticket number that a worker took."""
    _low_water: int = 2

    @property
    def idle_workers(self) -> int:
        """How many workers wait for a job, less one for each job that the fast path has."""
        return max(0, len(self._idle) - self._taken)

    @property
    def is_ready(self) -> bool:
        """Whether the first waiting job may be started: Redis knows a high-water mark that covers it."""
        return bool(self._waiting) and self._waiting[0].number <= self._allowed

    @property
    def is_blocked(self) -> bool:
        """Whether jobs wait here only because Redis does not know yet that they may be started."""
        return bool(self._waiting) and self._waiting[0].number > self._allowed

    @property
    def is_free(self) -> bool:
        """Whether all waiting jobs may be started; True if none waits."""
        return not self._waiting or self._waiting[-1].number <= self._allowed

    @property
    def high_water(self) -> int:
        """The highest ticket number that workers may start before the next call tells Redis of a higher one.

        It is as far beyond what has started as the batch size needs, at least one for each worker: if it were lower,
        workers would wait for Redis; jobs up to it that have not started count as possibly run after a crash.
        """
        ahead = min(max(self.workers, self.batch_size.lead), self.workers + MOST_AHEAD)
        # What lies between the two is no longer reserved, and will never start.
        first = self._waiting[0].number if self._waiting else 0
        return max(self._started, first - 1) + ahead

    def has_started(self, number: int) -> bool:
        """Tell whether a worker may have started the job of this ticket number."""
        return number <= self._started

    def __len__(self) -> int:
        return len(self._waiting)

    def send_nowait(self, jobs: Iterable[JobInProgress]) -> None:
        """Add jobs in the order of their tickets; raise `trio.ClosedResourceError` once closed."""
        if self.closed:
            raise trio.ClosedResourceError
        self._waiting.extend(jobs)
        self._start()

    def put_back(self, *jobs: JobInProgress) -> None:
        """Put jobs that workers had taken already in front of all others, in this order; drop them once closed."""
        if not self.closed:
            self._waiting.extendleft(reversed(jobs))
            self._start()

    def allow(self, number: int) -> None:
        """Let workers take jobs up to this ticket number."""
        self._allowed = max(self._allowed, number)
        self._start()

    def confirm(self, mark: int, last: int) -> None:
        """Note that Redis knows the high-water mark `mark`, so that workers may start the jobs up to it.

        `last` is the highest ticket number that Redis had issued then: of later ones it noted nothing.
        """
        self._allowed = max(self._allowed, min(mark, last))
        self._start()

    def drop_unless(self, known: Container[str]) -> None:
        """Drop the waiting jobs whose tickets are not in `known`."""
        self._waiting = deque(job for job in self._waiting if job.ticket in known)
        self._for_workers = deque(job for job in self._for_workers if job.ticket in known)

    def waiting_tickets(self) -> frozenset[str]:
        """Return the tickets of the jobs that wait here."""
        return frozenset([job.ticket for jobs in (self._waiting, self._for_workers) for job in jobs])

    def offer_to(self, takes: Callable[[JobInProgress], bool] | None) -> None:
        """Offer each job to the function `takes` before a worker is woken for it; None ends that.

        It starts the job and returns True, and `note_done` must be called when that job is done; or it returns False,
        and a worker gets the job.
        """
        self._takes = takes

    def note_done(self, count: int = 1) -> None:
        """Note that the fast path is done with as many jobs, and start the next ones."""
        self._taken -= count
        self._start()
        if not self._waiting:
            self._demand.set()

    async def receive(self) -> JobInProgress:
        """Wait for the next job and return it; raise `trio.ClosedResourceError` once closed.

        Safe to cancel: a job is taken or stays.
        """
        while not self.closed:
            await trio.lowlevel.checkpoint_if_cancelled()
            if self._for_workers:
                return self._for_workers.popleft()
            while self.is_ready and len(self._idle) >= self._taken:
                job = self._pop()
                if self._takes is None or not self._takes(job):
                    return job
                self._taken += 1
            self._demand.set()
            await self._idle.park()
        raise trio.ClosedResourceError

    async def wait_for_demand(self, reserve: int) -> None:
        """Wait until more jobs are needed: a worker is idle, or no more than half of `reserve` is left."""
        self._low_water = reserve // 2
        while True:
            ready, idle = len(self._waiting), self.idle_workers
            is_low = ready <= self._low_water
            if (idle > 0 or is_low) if self.is_blocked else (is_low and idle + reserve > ready):
                return
            self._demand = trio.Event()
            await self._demand.wait()

    def close(self) -> None:
        """End every wait for a job. The jobs that wait here were not started; recovery requeues them."""
        self.closed = True
        self._waiting.clear()
        self._for_workers.clear()
        self._idle.unpark_all()

    def _start(self) -> None:
        """Have as many of the jobs started as there are idle workers."""
        waiting, takes, count = self._waiting, self._takes, 0
        room = len(self._idle) - self._taken
        while count < room and waiting and waiting[0].number <= self._allowed:
            job = waiting.popleft()
            self._started = max(self._started, job.number)
            count += 1
            if takes is not None and takes(job):
                self._taken += 1
            else:
                self._for_workers.append(job)
                self._idle.unpark()
        if count and len(waiting) <= self._low_water:
            self._demand.set()

    def _pop(self) -> JobInProgress:
        job = self._waiting.popleft()
        self._started = max(self._started, job.number)
        if len(self._waiting) <= self._low_water:
            self._demand.set()
        return job
