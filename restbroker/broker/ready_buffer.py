"""From the fetcher to the workers: batches in, single jobs out.

The fetcher `put`s, workers `take`; the fetcher, the committer and `suspects` `allow`, each after Redis confirmed it.
Always holds: a job's number is above the allowed one only while it waits here, so that Redis knows of every job that a
worker may have started (the high-water mark). A deque with a parking lot, since a memory channel of batches starves
workers and one of single jobs costs a third more (both measured).
"""

from collections import deque
from collections.abc import Container, Iterable
from itertools import islice, takewhile

import attrs
import trio

from restbroker.broker.job_in_progress import JobInProgress


@attrs.define(eq=False)
class ReadyBuffer:
    """The jobs that wait for a worker. It is bounded: the fetcher takes no more than idle workers and reserve need."""

    _waiting: deque[JobInProgress] = attrs.field(factory=deque)
    _workers: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    _hungry: trio.Event = attrs.field(factory=trio.Event)
    _allowed: int = 0
    _low_water: int = 2
    closed: bool = False

    @property
    def idle_workers(self) -> int:
        """How many workers wait for a job."""
        return len(self._workers)

    @property
    def is_ready(self) -> bool:
        """Whether a job waits here that may be started."""
        return bool(self._waiting) and self._waiting[0].number <= self._allowed

    @property
    def is_blocked(self) -> bool:
        """Whether jobs wait here only because Redis does not know yet that they may be started."""
        return bool(self._waiting) and self._waiting[0].number > self._allowed

    @property
    def is_free(self) -> bool:
        """Whether all jobs that wait here may be started."""
        return not self._waiting or self._waiting[-1].number <= self._allowed

    @property
    def first_number(self) -> int:
        """The lowest ticket number that waits here; 0 if none does."""
        return self._waiting[0].number if self._waiting else 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, items: Iterable[JobInProgress]) -> None:
        """Add jobs in the order of their tickets."""
        self._waiting.extend(items)
        self._wake()

    def put_first(self, item: JobInProgress) -> None:
        """Put a job that a worker had taken already in front of all others."""
        self._waiting.appendleft(item)
        self._wake()

    def allow(self, number: int) -> None:
        """Let workers take jobs up to this ticket number."""
        self._allowed = max(self._allowed, number)
        self._wake()

    def drop_unless(self, known: Container[str]) -> None:
        """Drop the waiting jobs whose tickets are not in `known`."""
        self._waiting = deque(item for item in self._waiting if item.ticket in known)

    async def take(self) -> JobInProgress | None:
        """Wait for the next job and return it; None once closed. Safe to cancel: a job is taken or stays."""
        while not self.closed:
            await trio.lowlevel.checkpoint_if_cancelled()
            if self.is_ready:
                item = self._waiting.popleft()
                if len(self._waiting) <= self._low_water:
                    self._hungry.set()
                return item
            self._hungry.set()
            await self._workers.park()
        return None

    async def hungry(self, reserve: int) -> None:
        """Wait until more jobs are wanted: a worker is idle, or no more than half of `reserve` is left."""
        self._low_water = reserve // 2
        while not self._is_hungry(reserve):
            self._hungry = trio.Event()
            await self._hungry.wait()

    def _is_hungry(self, reserve: int) -> bool:
        if self.is_blocked:
            return self.idle_workers > 0 or len(self._waiting) <= self._low_water
        return len(self._waiting) <= self._low_water and self.idle_workers + reserve > len(self._waiting)

    def close(self) -> None:
        """End every `take`; the jobs that wait here were not started, and go back to their queues later."""
        self.closed = True
        self._waiting.clear()
        self._workers.unpark_all()

    def _wake(self) -> None:
        """Wake no more workers than there are jobs for, and look at no more jobs than there are idle workers."""
        ready = takewhile(lambda item: item.number <= self._allowed, islice(self._waiting, len(self._workers)))
        self._workers.unpark(count=sum(1 for _ in ready))
