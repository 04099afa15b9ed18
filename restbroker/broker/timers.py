"""The moments at which the jobs of one pool go on or expire: one task for all of them."""

import heapq
import math
from collections.abc import Callable

import attrs
import trio

_MANY = 100


@attrs.define(eq=False)
class Timer:
    """One moment. `then` is called when it has come, and must raise nothing; None: it was cancelled."""

    then: Callable[[], None] | None


@attrs.define(eq=False)
class Timers:
    """The moments to come, on Trio's clock. `_heap`: (time due, order in which they were set, timer)."""

    _heap: list[tuple[float, int, Timer]] = attrs.field(factory=list)
    _count: int = 0
    _cancelled: int = 0
    _earlier: trio.Event = attrs.field(factory=trio.Event)

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, due_s: float, then: Callable[[], None]) -> Timer:
        """Have `then` called at this time, after all that were set for the same time before."""
        timer = Timer(then)
        self._count += 1
        heapq.heappush(self._heap, (due_s, self._count, timer))
        if self._heap[0][2] is timer:
            self._earlier.set()
        return timer

    def cancel(self, timer: Timer) -> None:
        """Have nothing called; what it would have called is kept by nobody."""
        if timer.then is not None:
            timer.then = None
            self._cancelled += 1
            if self._cancelled > _MANY and self._cancelled > len(self._heap) // 2:
                self._heap = [entry for entry in self._heap if entry[2].then is not None]
                heapq.heapify(self._heap)
                self._cancelled = 0

    async def run(self) -> None:
        """Call what is due, until cancelled."""
        while True:
            self._earlier = trio.Event()
            with trio.move_on_at(self._heap[0][0] if self._heap else math.inf):
                await self._earlier.wait()
            while self._heap and self._heap[0][0] <= trio.current_time():
                timer = heapq.heappop(self._heap)[2]
                then, timer.then = timer.then, None
                if then is not None:
                    then()
                else:
                    self._cancelled -= 1
