"""From the intake to the worker: batches in, single jobs out.

The intake sends, and waits for demand, which bounds it; the worker takes each job in the same turn, as soon as it has a
place for it. Before a job may start, Redis must know the *high-water mark*: the highest ticket number that may have
been started. After a crash, jobs above it have not run. Whoever gets an answer of Redis calls `confirm` with the mark
that it sent. Always holds: no job is started above the mark that Redis has confirmed; and the worker has no more jobs
than places; what `Demand` says is so after each step of any task.
"""

from collections import deque
from collections.abc import Callable, Container, Iterable

import trio

from restbroker.broker.job_in_progress import JobInProgress
from restbroker.light import define, field

MOST_AHEAD = 200
SPAN_S = 0.025
_FEW_POOLS = 10
_MOST_STRETCH = 10.0
_LEAST = 4
_MOST = 400
_BATCHES = 4


def stretch(pools: int) -> float:
    """Return by how much longer than alone each of so many pools of a process gathers jobs: 1 to 10.

    With batches of five jobs a call of Redis costs more than the jobs. Where it is more than 1, the process comes to
    each of its pools seldom, and each has few jobs then.
    """
    return min(_MOST_STRETCH, max(1.0, pools / _FEW_POOLS))


@define(eq=False)
class BatchSize:
    """How many jobs a pool keeps ready beyond its free places: as many as it settled in its last 25 ms, 4 to 400.

    A slow target thus reserves few jobs that another process could do. `span_s`: these 25 ms, longer where the process
    has many pools. Times are seconds of any rising clock, the same for both methods.
    """

    span_s: float = SPAN_S
    lead: int = 0
    """How many jobs are started from one confirmation of Redis to the next: twice the largest of the last batches.

    Twice, since from a call to the answer of the next it takes two calls; the largest, since too few would keep workers
    waiting, and batches small.
    """
    _started_s: float = 0.0
    _current: int = 0
    _previous: int = 0
    _batches: deque[int] = field(factory=lambda: deque([0], maxlen=_BATCHES))

    def record_settled(self, count: int, now_s: float) -> None:
        """Note a batch of `count` jobs that were settled at `now_s`."""
        self._batches.append(count)
        self.lead = 2 * max(self._batches)
        elapsed_s = now_s - self._started_s
        if elapsed_s >= self.span_s:
            self._previous = self._current if elapsed_s < 2 * self.span_s else 0
            self._current, self._started_s = 0, now_s
        self._current += count

    def reserve(self, now_s: float) -> int:
        """Return how many jobs to keep ready."""
        elapsed_s = now_s - self._started_s
        current = self._current if elapsed_s < 2 * self.span_s else 0
        previous = self._previous if elapsed_s < self.span_s else 0
        return max(_LEAST, min(_MOST, max(current, previous)))


@define(eq=False)
class Demand:
    """What tells how many jobs a pool can use: whoever changes a number writes it here, and each fetch reads it.

    The buffer writes the worker's `places` (0 while it takes no job), how many are `busy`, the jobs that are `waiting`
    for one, and the highest ticket number `allowed` to start. The breaker writes how many jobs may be in delivery
    (`limit`, 0 while its entrance is closed), how many are, and the `line` of those that wait for it.
    """

    places: int = 0
    busy: int = 0
    waiting: deque[JobInProgress] = field(factory=deque)
    allowed: int = 0
    limit: int = 0
    in_delivery: int = 0
    line: deque[Callable[[], None]] = field(factory=deque)

    @property
    def room(self) -> int:
        """How many more jobs could be sent now, if none waited."""
        return max(0, min(self.places - self.busy, self.limit - self.in_delivery))

    @property
    def is_blocked(self) -> bool:
        """Whether jobs wait only because Redis does not know yet that they may be started."""
        return bool(self.waiting) and self.waiting[0].number > self.allowed

    @property
    def is_free(self) -> bool:
        """Whether all waiting jobs may be started; True if none waits."""
        return not self.waiting or self.waiting[-1].number <= self.allowed


@define(eq=False)
class ReadyBuffer:
    """The jobs that wait for one of the `places` of the worker."""

    places: int
    batch_size: BatchSize
    demand: Demand = field(factory=Demand)
    closed: bool = False
    _take: Callable[[JobInProgress], None] | None = None
    _is_starting: bool = False
    _demanded: trio.Event = field(factory=trio.Event)
    _started: int = 0
    """The highest ticket number that the worker took."""
    _low_water: int = 2

    @property
    def is_ready(self) -> bool:
        """Whether the first waiting job may be started: Redis knows a high-water mark that covers it."""
        return bool(self.demand.waiting) and self.demand.waiting[0].number <= self.demand.allowed

    @property
    def high_water(self) -> int:
        """The highest ticket number that may be started before the next call tells Redis of a higher one.

        It is as far beyond what has started as the batch size needs, at least one for each place: if it were lower,
        the worker would wait for Redis; jobs up to it that have not started count as possibly run after a crash.
        """
        # Why: docs/design.md#high-water-mark
        ahead = min(max(self.places, self.batch_size.lead), self.places + MOST_AHEAD)
        # What lies between the two is no longer reserved, and will never start.
        first = self.demand.waiting[0].number if self.demand.waiting else 0
        return max(self._started, first - 1) + ahead

    def has_started(self, number: int) -> bool:
        """Tell whether the job of this ticket number may have been started."""
        return number <= self._started

    def __len__(self) -> int:
        return len(self.demand.waiting)

    def send_nowait(self, jobs: Iterable[JobInProgress]) -> None:
        """Add jobs in the order of their tickets; drop them once closed."""
        if not self.closed:
            self.demand.waiting.extend(jobs)
            self._start()

    def put_back(self, *jobs: JobInProgress) -> None:
        """Put jobs that the worker had taken already in front of all others, in this order; drop them once closed."""
        if not self.closed:
            self.demand.waiting.extendleft(reversed(jobs))
            self._start()

    def allow(self, number: int) -> None:
        """Let jobs up to this ticket number be started, and no others: this is all that Redis knows of."""
        self.demand.allowed = number
        self._start()

    def confirm(self, mark: int, last: int, jobs: Iterable[JobInProgress] = ()) -> None:
        """Note that Redis knows the high-water mark `mark`, so that the jobs up to it may be started.

        `last` is the highest ticket number that Redis had issued then: of later ones it noted nothing. `jobs` came with
        that answer; they are added as by `send_nowait`.
        """
        demand = self.demand
        demand.allowed = max(demand.allowed, min(mark, last))
        if not self.closed:
            demand.waiting.extend(jobs)
        self._start()

    def drop_unless(self, known: Container[str]) -> None:
        """Drop the waiting jobs whose tickets are not in `known`."""
        self.demand.waiting = deque(job for job in self.demand.waiting if job.ticket in known)

    def waiting_tickets(self) -> frozenset[str]:
        """Return the tickets of the jobs that wait here."""
        return frozenset([job.ticket for job in self.demand.waiting])

    def serve(self, take: Callable[[JobInProgress], None] | None) -> None:
        """Call `take`, which may not raise, with each job that may be started while a place is free; None ends that.

        The job has its place until `release`, which may come within the call.
        """
        self._take, self.demand.places = take, 0 if take is None else self.places
        self._start()
        self._demanded.set()

    def release(self, count: int = 1) -> None:
        """Note that as many jobs gave their places back, and start the next ones."""
        self.demand.busy -= count
        self._start()
        # Also if some wait: Redis may have to be told first that they may be started.
        if self.demand.busy < self.places:
            self._demanded.set()

    async def wait_for_demand(self, reserve: int) -> None:
        """Wait until more jobs are needed: a place is free, or no more than half of `reserve` is left."""
        self._low_water = reserve // 2
        while True:
            demand = self.demand
            ready, free = len(demand.waiting), max(0, demand.places - demand.busy)
            is_low = ready <= self._low_water
            if (free > 0 or is_low) if demand.is_blocked else (is_low and free + reserve > ready):
                return
            self._demanded = trio.Event()
            await self._demanded.wait()

    def close(self) -> None:
        """Start no more jobs. Those that wait here, or still come, were not started; recovery requeues them."""
        self.closed = True
        self.demand.waiting.clear()

    def _start(self) -> None:
        """Have as many of the jobs started as there are places for. What ends at once makes room in the same loop."""
        demand, take = self.demand, self._take
        if self._is_starting or take is None:
            return
        waiting, self._is_starting, count = demand.waiting, True, 0
        while waiting and demand.busy < demand.places and waiting[0].number <= demand.allowed:
            job = waiting.popleft()
            self._started = max(self._started, job.number)
            count += 1
            demand.busy += 1
            take(job)
        self._is_starting = False
        if count and len(waiting) <= self._low_water:
            self._demanded.set()
