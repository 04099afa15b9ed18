"""The places for jobs in delivery at one target: as many as the adaptive limit says, while the breaker admits jobs.

The breaker opens and closes the entrance; the worker has its jobs enter and leave. Always holds: jobs that wait for a
place get one in their order, and no other job gets one meanwhile; while the entrance is closed, none gets one.
"""

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import attrs

from restbroker.broker.adaptive import Adaptive

TakePlace: TypeAlias = Callable[[], bool]
"""What is called, once, for a job when its place comes; it tells whether the job takes the place."""


@attrs.define(eq=False)
class AdaptiveSemaphore:
    """The places of one pool; at first the entrance is closed. The adaptive limit is pure: this gives it the number."""

    _adaptive: Adaptive
    _line: deque[TakePlace] = attrs.field(factory=deque)
    """Those that wait for a place. Who is taken out of it is offered one."""
    _beside: deque[TakePlace] = attrs.field(factory=deque)
    """Those that wait for the entrance alone, since they need no place."""
    _in_delivery: int = 0
    _is_waking: bool = False
    _is_open: bool = False
    _stopped: bool = False

    @property
    def limit(self) -> int:
        """How many jobs may be in delivery now, from 1 on."""
        return self._adaptive.limit

    @property
    def capacity(self) -> int:
        """How many more jobs may be in delivery now."""
        return max(0, self._adaptive.limit - self._in_delivery) if self._is_open else 0

    @property
    def waiting_jobs(self) -> int:
        """How many jobs wait for a place."""
        return len(self._line)

    def try_enter(self) -> bool:
        """Count one more job in delivery if it need not wait; return False if it would have to, or the pool stops.

        If it returns True, `leave` must follow.
        """
        if self._line or self._in_delivery >= self._adaptive.limit or not self._is_open or self._stopped:
            return False
        self._in_delivery += 1
        return True

    def wait_in_line(self, take_place: TakePlace) -> None:
        """Have `take_place` called when one more job may be in delivery, behind all that wait already.

        If it returns True, the job is counted, and `leave` must follow. It is not called once the pool stops.
        """
        self._line.append(take_place)

    def leave_line(self, take_place: TakePlace) -> None:
        """End the wait of a job whose place has not come."""
        self._line.remove(take_place)

    def wait_beside(self, take_place: TakePlace) -> None:
        """Have `take_place` called when the entrance opens, for a job that needs no place; its result is dropped."""
        self._beside.append(take_place)

    def leave_beside(self, take_place: TakePlace) -> None:
        """End such a wait."""
        self._beside.remove(take_place)

    def leave(self) -> None:
        """Note that a job that entered is no longer in delivery, and let the next ones in."""
        self._in_delivery -= 1
        self.wake_waiting()

    def wake_waiting(self) -> None:
        """Give the places that are free to the jobs that wait, in their order.

        Who leaves while it does that wakes no one: that place is given in the same loop.
        """
        if self._is_waking:
            return
        line, self._is_waking = self._line, True
        while line and self._in_delivery < self._adaptive.limit and self._is_open and not self._stopped:
            self._in_delivery += 1
            if not line.popleft()():
                self._in_delivery -= 1
        self._is_waking = False

    def note_delivered(self, now_s: float, count: int) -> None:
        """Note that `count` jobs that entered were delivered together; `wake_waiting` must follow."""
        others = self._in_delivery - 1
        self._in_delivery -= count
        self._adaptive.note_answers(now_s, others, count)

    def note_answer(self, now_s: float) -> None:
        """Note that the target answered one of the jobs in delivery, which is to leave."""
        self._adaptive.note_answer(now_s, max(0, self._in_delivery - 1))

    def note_refusal(self, now_s: float) -> None:
        """Note that the target refused one of the jobs in delivery, which is to leave, or did not answer it in time."""
        self._adaptive.note_refusal(now_s, max(0, self._in_delivery - 1))

    def note_wait(self, now_s: float) -> None:
        """Raise the limit if all places have been taken for a while, and let the next job in."""
        if self.capacity == 0:
            self._adaptive.note_wait(now_s)
            self.wake_waiting()

    def open(self, *, alone: bool) -> None:
        """Open the entrance, and let in who waits; `alone`: one job at first, as after an outage."""
        if alone:
            self._adaptive.restart(self._in_delivery)
        self._is_open = True
        self.wake_waiting()
        while self._beside and self._is_open and not self._stopped:
            self._beside.popleft()()

    def close(self) -> None:
        """Close the entrance; who waits goes on waiting."""
        self._is_open = False

    def stop(self) -> None:
        """Let no one in any more; who waits goes on waiting."""
        self._stopped = True
