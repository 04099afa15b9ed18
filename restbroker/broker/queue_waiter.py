"""Waits until one of a pool's queues may hold a job. Its poller calls it when a fetch got fewer than it asked for.

Always holds: it only waits; it takes no job, and its end promises none. A queue that a fetch could not read is not
waited on, as such a wait might end at once, again and again. `poller.StandingFetches` waits and takes in one call.
"""

import math
from collections.abc import Collection
from functools import partial

import attrs
import trio

from restbroker.broker.ready_buffer import ReadyBuffer
from restbroker.broker.scopes import until, wait_for_any
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store.waiter import Waiter

_WAIT_S = 2.0
REFUSED_WAIT_S = 1.0
_PASSES = 2
"""How often other tasks are let run until each that can has: Trio takes them in any order, us perhaps before them."""


@attrs.frozen
class QueueWaiter:
    """The waits of one pool. `waiters`: one per queue, each on its own connection."""

    waiters: dict[str, Waiter]

    async def wait(self, unreadable: Collection[str]) -> None:
        """Wait until one of the queues, except the `unreadable` ones, may have a job, for two seconds at most."""
        match [queue for queue in self.waiters if queue not in unreadable]:
            case []:
                await trio.sleep(_WAIT_S)
            case [queue]:
                await self._wait_for(queue)
            case queues:
                await wait_for_any(*(partial(self._wait_for, queue) for queue in queues))

    async def wait_beside(self, ready: ReadyBuffer, unreadable: Collection[str]) -> None:
        """Wait as `wait` does, but end too when places are free and `ready` has jobs that may not start yet.

        The next fetch tells Redis that these jobs may start. Before it waits, it lets jobs that were just taken be
        sent.
        """
        await let_others_run()
        if ready.is_free:
            await self.wait(unreadable)
            return
        async with until(partial(ready.wait_for_demand, reserve=0)):
            await self.wait(unreadable)

    async def wait_for_keys(
        self, ready: ReadyBuffer, unreadable: Collection[str], successor: trio.Event, due_ms: int | None
    ) -> None:
        """Wait as `wait_beside` does, but end too when a key may have come free, or in `due_ms` when one is due."""
        with trio.move_on_after(math.inf if due_ms is None else due_ms / 1000):
            async with until(successor.wait):
                await self.wait_beside(ready, unreadable)

    async def _wait_for(self, queue: str) -> None:
        try:
            await self.waiters[queue].wait(queue, _WAIT_S)
        except (StoreUnavailable, StoreRefused):
            # No outage yet: a full Redis refuses this wait and still lets itself be drained. The next fetch will tell.
            await trio.sleep(REFUSED_WAIT_S)


async def let_others_run() -> None:
    """Let the other tasks that can run do so."""
    for _ in range(_PASSES):
        await trio.lowlevel.checkpoint()
