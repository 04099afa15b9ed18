"""Waits until one of a pool's queues may hold a job. Its poller calls it when a fetch got fewer than it asked for.

`QueueWaiter` only waits: it takes no job, and its end promises none. `StandingFetches` has fetches stand in Redis,
which take a job as soon as it is there. Always holds: a queue that a fetch could not read is not waited on, as such a
wait might end at once, again and again; and what standing fetches took is dealt with in the order of its tickets.
"""

import math
from collections.abc import Callable, Collection

import attrs
import trio

from restbroker.broker.job_in_progress import Reservations
from restbroker.broker.ready_buffer import ReadyBuffer
from restbroker.broker.scopes import cancel_on
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store.connection import BUSY_S, LOOK_EVERY_S, Watch
from restbroker.store.jobs import FetchAnswer, FetchRequest, FetchResult
from restbroker.store.waiter import Waiter

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
    """The fetches of one pool that stand in Redis: one per queue, each asks for all queues.

    They are sent between `begin` and `end`, each as soon as the one before it is answered, or a moment later where jobs
    come so fast that a few can be taken together. They stand until they are answered, or until `close`; `over` is set
    when no more may be sent. Each may take jobs while the others stand: the numbers of their tickets tell the order,
    and what comes too early waits. `again_at_s`: before, none is sent, so that a Redis that refuses is asked seldom.
    """

    waiters: dict[str, Waiter]
    watch: Watch
    reservations: Reservations
    over: trio.Event = attrs.field(factory=trio.Event)
    again_at_s: float = -math.inf
    _ask: Callable[[], FetchRequest | None] = lambda: None
    _take: Callable[[FetchRequest, FetchAnswer, float], bool] = lambda _fetch, _answer, _at_s: False
    _is_open: bool = False
    _is_lost: bool = False
    _early: dict[int, tuple[FetchRequest, FetchResult, float]] = attrs.field(factory=dict)
    """The answers that came before another one, by the number below their first ticket."""
    _early_at_s: float = 0.0
    _stood_at_s: float = -math.inf
    _is_due: bool = False

    async def begin(
        self, ask: Callable[[], FetchRequest | None], take: Callable[[FetchRequest, FetchAnswer, float], bool]
    ) -> bool:
        """Have fetches stand; return whether any does. `end` must follow. Safe to cancel.

        `ask` returns what is to be fetched now, or None if nothing is. `take` is called with a fetch, its answer and
        when it was sent, also after `end`, and tells whether the next may stand; neither may wait or raise. Before, it
        lets workers that have just got jobs send them.
        """
        self._ask, self._take, self.over = ask, take, trio.Event()
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
        self._is_open = True
        self._stand()
        return not self.over.is_set()

    @property
    def is_well(self) -> bool:
        """Whether all can still be answered, and `over` is not set."""
        return not (self.over.is_set() or self.is_lost) and all(one.can_answer for one in self.waiters.values())

    @property
    def is_lost(self) -> bool:
        """Whether some took jobs, perhaps, of which nothing is known."""
        return self._is_lost or (bool(self._early) and trio.current_time() - self._early_at_s > LOOK_EVERY_S)

    @property
    def is_awaited(self) -> bool:
        """Whether jobs may be on their way."""
        return bool(self._early) or any(one.fetch is not None for one in self.waiters.values())

    def end(self) -> None:
        """Send no more. Unless `over` is set, jobs may not be taken any more."""
        self._is_open = False
        if not self.over.is_set():
            self.close()

    def close(self) -> None:
        """End those that stand; they may have taken jobs."""
        self._is_lost = self._is_lost or self.is_awaited
        self._early.clear()
        for waiter in self.waiters.values():
            if waiter.fetch is not None:
                waiter.close()

    def note_compared(self) -> None:
        """Note that all that was taken will be known by a comparison with Redis; nothing may stand."""
        self._is_lost = False

    def go_on(self) -> None:
        """Take the answers that came too early, where their turn has come."""
        while (early := self._early.pop(self.reservations.last_number, None)) is not None:
            self._deal_with(*early)

    def _note_answer(self, fetch: FetchRequest, answer: FetchAnswer | None, sent_at_s: float) -> None:
        if isinstance(answer, FetchResult) and answer.jobs and answer.base != self.reservations.last_number:
            self._early_at_s = self._early_at_s if self._early else trio.current_time()
            self._early[answer.base] = fetch, answer, sent_at_s
            return
        self._deal_with(fetch, answer, sent_at_s)
        if self._early:
            self.go_on()

    def _deal_with(self, fetch: FetchRequest, answer: FetchAnswer | None, sent_at_s: float) -> None:
        if answer is None:
            self._is_lost = True
            self._rest_a_while()
            self.over.set()
        elif not self._take(fetch, answer, sent_at_s):
            self.over.set()
        elif trio.current_time() - self._stood_at_s >= BUSY_S:
            self._stand()
        elif not self._is_due:
            self._is_due = True
            self.watch.call_later(self._stand_again)

    def _stand_again(self) -> None:
        self._is_due = False
        self._stand()

    def _stand(self) -> None:
        """Have a fetch stand for each queue that has none."""
        self._stood_at_s = trio.current_time()
        for queue, waiter in self.waiters.items():
            if waiter.fetch is None and self._is_open and not self.over.is_set():
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
