"""When the workers of a group are started again. The supervisor calls it.

Always holds: a worker that goes on ending is started less and less often; but while none lives, jobs wait, so that one
is started at once, though no two within `ALONE_S`.
"""

import math
from collections.abc import Awaitable, Callable

import attrs
import trio

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
ALONE_S = 1.0


async def always() -> bool:
    """Return True: for a group in which nothing hinders a start."""
    return True


@attrs.define(eq=False)
class Turns:
    """The turns of a group's workers. `any_lives` tells whether one lives; `stop` ends all waiting.

    Code that changes what `any_lives` returns unparks `news`.
    """

    any_lives: Callable[[], bool]
    news: trio.lowlevel.ParkingLot
    stop: trio.Event
    _tried_at_s: float = -math.inf
    """When any worker was started last, or was about to be."""

    def begun(self) -> None:
        """Note that a worker is started without having waited."""
        self._tried_at_s = trio.current_time()

    async def rest(self, wait_s: float, may_start: Callable[[], Awaitable[bool]]) -> float:
        """Wait until a worker is to be started again, or the group ends; return the wait before the start after that.

        `wait_s` and what is returned are seconds. While `may_start` returns False, it waits on, each time for longer.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_at_stop, nursery.cancel_scope)
            while True:
                await self._turn(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
                if await may_start():
                    break
            nursery.cancel_scope.cancel()
        return wait_s

    async def _cancel_at_stop(self, scope: trio.CancelScope) -> None:
        await self.stop.wait()
        scope.cancel()

    async def _turn(self, wait_s: float) -> None:
        due_s = trio.current_time() + wait_s
        while True:
            wake_s = due_s if self.any_lives() else min(due_s, self._tried_at_s + ALONE_S)
            if trio.current_time() >= wake_s:
                break
            with trio.move_on_at(wake_s):
                await self.news.park()
        # Before anything is awaited, so that only one of those that wait is the first.
        self._tried_at_s = trio.current_time()
