"""Waits until one of a pool's queues may hold a job. Its poller calls it when a fetch got fewer than it asked for.

`QueueWaiter` only waits: it takes no job, and its end promises none. `StandingFetches` has fetches stand in Redis,
which take a job as soon as it is there. Always holds: a queue that a fetch could not read is not waited on, as such a
wait might end at once, again and again; and of the fetches that stand, only one takes jobs: that outdates the others.
"""

import math
from collections.abc import Callable, Collection

import attrs
import trio

from restbroker.broker.job_in_progress import Reservations
from restbroker.broker.ready_buffer import ReadyBuffer
from restbroker.broker.scopes import cancel_on
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store.jobs import Duplicate, FetchAnswer, FetchRequest
from restbroker.store.waiter import Waiter, Watch

_WAIT_S = 2.0
_REFUSED_WAIT_S = 1.0
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
                async with trio.open_nursery() as nursery:
                    for queue in queues:
                        nursery.start_soon(self._first, queue, nursery.cancel_scope)

    async def wait_beside(self, ready: ReadyBuffer, unreadable: Collection[str]) -> None:
        """Wait as `wait` does, but end too when workers are idle and `ready` has jobs that they may not start yet.

        The next fetch tells Redis that these jobs may start. Before it waits, it lets workers that have just got jobs
        send them.
        """
        await _let_others_run()
        if ready.is_free:
            await self.wait(unreadable)
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wait_for_demand, ready, nursery.cancel_scope)
            await self.wait(unreadable)
            nursery.cancel_scope.cancel()

    async def wait_for_keys(
        self, ready: ReadyBuffer, unreadable: Collection[str], successor: trio.Event, due_ms: int | None
    ) -> None:
        """Wait as `wait_beside` does, but end too when a key may have come free, or in `due_ms` when one is due."""
        with trio.move_on_after(math.inf if due_ms is None else due_ms / 1000):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_on, successor, nursery.cancel_scope)
                await self.wait_beside(ready, unreadable)
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


@attrs.define(eq=False)
class StandingFetches:
    """The fetches of one pool that stand in Redis from `begin` to `end`: one per queue, each asks for all queues.

    When one is answered, the next is sent in the same step of the task of `watch`. `over` is set when that may not be,
    or one was lost. `again_at_s`: none stands before, so that a Redis that refuses them is asked seldom.
    """

    waiters: dict[str, Waiter]
    watch: Watch
    reservations: Reservations
    over: trio.Event = attrs.field(factory=trio.Event)
    again_at_s: float = -math.inf
    _ask: Callable[[], FetchRequest | None] = lambda: None
    _take: Callable[[FetchRequest, FetchAnswer, float], bool] = lambda _fetch, _answer, _at_s: False
    _is_lost: bool = False

    async def begin(
        self, ask: Callable[[], FetchRequest | None], take: Callable[[FetchRequest, FetchAnswer, float], bool]
    ) -> bool:
        """Have fetches stand; return whether any does. `end` must follow. Safe to cancel.

        `ask` returns what is to be fetched now, or None if nothing is. `take` is called with a fetch, its answer and
        when it was sent, and tells whether the next may stand; neither may wait or raise. Before, it lets workers that
        have just got jobs send them.
        """
        self._ask, self._take, self._is_lost, self.over = ask, take, False, trio.Event()
        await _let_others_run()
        if trio.current_time() < self.again_at_s:
            return False
        try:
            for waiter in self.waiters.values():
                if not await waiter.begin(self.watch, self._note_answer):
                    return False
        except (StoreUnavailable, StoreRefused):
            # As in `QueueWaiter`: the next fetch will tell.
            self._rest_a_while()
            return False
        self._stand()
        return not self.over.is_set()

    @property
    def is_well(self) -> bool:
        """Whether all can still be answered, and `over` is not set."""
        return not self.over.is_set() and all(waiter.can_answer for waiter in self.waiters.values())

    def end(self) -> bool:
        """End those that may still take jobs; return whether some were taken, perhaps, of which nothing is known."""
        is_unknown = self._is_lost or self._may_take
        for waiter in self.waiters.values():
            if self._is_current(waiter):
                waiter.close()
            else:
                waiter.rest()
        return is_unknown

    @property
    def _may_take(self) -> bool:
        return any(map(self._is_current, self.waiters.values()))

    def _is_current(self, waiter: Waiter) -> bool:
        """Tell whether one stands there that no later fetch has outdated."""
        return waiter.fetch is not None and waiter.fetch.base >= self.reservations.last_number

    def _note_answer(self, fetch: FetchRequest, answer: FetchAnswer | None, sent_at_s: float) -> None:
        if self.over.is_set():
            # What came first is to be dealt with, and compared with Redis if this one took jobs too.
            self._is_lost = self._is_lost or not isinstance(answer, Duplicate)
            return
        match answer:
            case None:
                self._is_lost = True
                self._rest_a_while()
                self.over.set()
            case Duplicate() if fetch.base < self.reservations.last_number:
                self._stand()
            case Duplicate() if self._may_take:
                pass  # Another one took jobs: its answer is on its way.
            case _ if self._take(fetch, answer, sent_at_s):
                self._stand()
            case _:
                self.over.set()

    def _stand(self) -> None:
        """Have a fetch stand for each queue that has none."""
        for queue, waiter in self.waiters.items():
            if waiter.fetch is None and not self.over.is_set():
                fetch = self._ask()
                if fetch is None:
                    self.over.set()
                elif not waiter.stand(queue, fetch):
                    self._rest_a_while()
                    self.over.set()

    def _rest_a_while(self) -> None:
        self.again_at_s = trio.current_time() + _REFUSED_WAIT_S


async def _let_others_run() -> None:
    for _ in range(_PASSES):
        await trio.lowlevel.checkpoint()
