"""Lets deliveries go on beside a thread that computes for long. Used by `find` for the pages, and by `web.render`.

Python runs one thread at a time. A thread that computes without a break takes five milliseconds at each turn, and the
thread that delivers has to wait for its turn before every answer that it reads or sends: deliveries would all but stop
while a million jobs are searched. Always holds: code that calls `step` often rests as long as it worked, a millisecond
at a time; a single step is never divided.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from restbroker.light import define, field

T = TypeVar("T")
_WORK_S = 0.001
_LONGEST_REST_S = 0.05
_ITEMS_PER_STEP = 16
"""Steps are made after so many items, since reading the clock takes a third of a microsecond."""


@define(eq=False)
class Throttle:
    """Makes work in one thread rest now and then, so that other threads run.

    `worked_s` returns this thread's CPU time; `rest` sleeps.
    """

    worked_s: Callable[[], float] = time.thread_time
    rest: Callable[[float], None] = time.sleep
    _rested_at_s: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._rested_at_s = self.worked_s()

    def step(self) -> None:
        """Rest if this thread has worked long enough."""
        worked_s = self.worked_s() - self._rested_at_s
        if worked_s >= _WORK_S:
            self.rest(min(worked_s, _LONGEST_REST_S))
            self._rested_at_s = self.worked_s()


def throttle_items(items: Iterable[T], throttle: Throttle, per_step: int = _ITEMS_PER_STEP) -> Iterator[T]:
    """Yield the same items, and call `step` after every few."""
    for number, item in enumerate(items, start=1):
        yield item
        if number % per_step == 0:
            throttle.step()
