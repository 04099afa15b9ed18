"""Waits until one of a pool's queues may hold a job. Its poller calls it when there was nothing to fetch.

Always holds: a wait is only advice, and takes nothing; a queue that answered badly just now is not waited on, as it
might answer at once, again and again.
"""

from collections.abc import Collection

import attrs
import trio

from restbroker.broker.ready_buffer import ReadyBuffer
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store.connection import Waiter

_WAIT_S = 2.0
_REFUSED_WAIT_S = 1.0
_PASSES = 2
"""How often other tasks are let run until each that can has: Trio takes them in any order, us perhaps before them."""


@attrs.frozen
class QueueWaiter:
    """The waits of one pool. `waiters`: one per queue, each on its own connection."""

    waiters: dict[str, Waiter]

    async def wait(self, unreadable: Collection[str]) -> None:
        """Wait until one of the queues has a job, for two seconds at most; leave out the `unreadable` ones."""
        match [queue for queue in self.waiters if queue not in unreadable]:
            case []:
                await trio.sleep(_WAIT_S)
            case [queue]:
                await self._wait_for(queue)
            case queues:
                async with trio.open_nursery() as nursery:
                    for queue in queues:
                        nursery.start_soon(self._first, queue, nursery.cancel_scope)

    async def wait_beside(self, ready: ReadyBuffer, unreadable: Collection[str]) -> None:
        """Wait as `wait` does, but end too when workers are idle though jobs are here: Redis has to know of them first.

        Workers take jobs without settling any while what they take waits for its slot. Workers that have just got jobs
        send them first.
        """
        for _ in range(_PASSES):
            await trio.lowlevel.checkpoint()
        if ready.is_free:
            await self.wait(unreadable)
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wait_for_demand, ready, nursery.cancel_scope)
            await self.wait(unreadable)
            nursery.cancel_scope.cancel()

    async def _wait_for_demand(self, ready: ReadyBuffer, others: trio.CancelScope) -> None:
        await ready.wait_for_demand(reserve=0)
        others.cancel()

    async def _first(self, queue: str, others: trio.CancelScope) -> None:
        await self._wait_for(queue)
        others.cancel()

    async def _wait_for(self, queue: str) -> None:
        try:
            await self.waiters[queue].wait(queue, _WAIT_S)
        except (StoreUnavailable, StoreRefused):
            # No outage yet: a full Redis refuses this wait and still lets itself be drained. The next fetch will tell.
            await trio.sleep(_REFUSED_WAIT_S)
