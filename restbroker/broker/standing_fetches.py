"""The fetches of one pool that stand in Redis until there is a job. Its poller sends them, and deals with the answers.

Always holds: what they took is dealt with in the order of its tickets; after what may have lost an answer no more is
sent until the poller has compared what Redis lists as ours with what we know.
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Final

import trio

from restbroker.broker.job_in_progress import Reservations
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.light import define, field
from restbroker.store.connection import BUSY_S, LOOK_EVERY_S, Watch
from restbroker.store.jobs import FetchAnswer, FetchRequest, FetchResult
from restbroker.store.waiter import Waiter

REFUSED_WAIT_S: Final = 1.0
_FEW: Final = 2
"""So many jobs of several queues are worth one fetch for all of them, and a pause before the next."""
_PASSES: Final = 2
"""How often other tasks are let run until each that can has: Trio takes them in any order, us perhaps before them."""


@define(eq=False)
class StandingFetches:
    """The fetches of one pool that stand in Redis until there is a job: one for each queue, each over its connection.

    A job in its queue ends the wait of a fetch, which then takes from all queues. Between `begin` and `end` the next
    one is sent as soon as it is answered; or, where jobs come fast, a millisecond later, so that a few are taken
    together. Where they come fast to several queues, one fetch that does not wait (a *look*) is sent in place of those
    that would stand: one call of Redis does for all queues.

    Each may take jobs while the others stand. The numbers of the tickets tell in which order they did, and an answer
    that comes before an earlier one is kept until that has come. A fetch stands until it is answered, or until `close`;
    then it may have taken jobs (`is_lost`). `over` is set when no more may be sent: those that stand go on. Before
    `again_at_s` none is sent, so that a Redis that refuses is called seldom.
    """

    waiters: Mapping[str, Waiter]
    watch: Watch
    reservations: Reservations
    over: trio.Event = field(factory=trio.Event)
    again_at_s: float = -math.inf
    brought: tuple[FetchRequest, FetchAnswer] | None = None
    """What was said last that is still to be dealt with, beside the jobs; these are handed out."""
    bug: Exception | None = None
    """What was raised while jobs were handed out."""
    _make_request: Callable[[], FetchRequest | None] = lambda: None
    _take: Callable[[FetchRequest, FetchAnswer, float], bool] = lambda _fetch, _answer, _at_s: False
    _queues: Collection[str] = ()
    """Where they may stand."""
    is_open: bool = False
    """Whether the next one is sent as soon as one is answered, unless `over` is set."""
    is_lost: bool = False
    """Whether some took jobs, perhaps, of which nothing is known."""
    early: dict[int, tuple[FetchRequest, FetchResult, float]] = field(factory=dict)
    """The answers that came before another one, by the number below their first ticket."""
    _early_at_s: float = 0.0
    _stood_at_s: float = -math.inf
    _is_due: bool = False
    _look: FetchRequest | None = None
    """The fetch that was sent for all queues after a pause, and is not answered yet."""

    async def begin(
        self,
        queues: Collection[str],
        make_request: Callable[[], FetchRequest | None],
        take: Callable[[FetchRequest, FetchAnswer, float], bool],
    ) -> bool:
        """Have fetches stand at these queues; return whether they do. `end` must follow. Safe to cancel.

        `make_request` returns what is to be fetched now, or None if nothing is. `take` is called with a fetch, its
        answer and when it was sent, also after `end`, and returns whether all is dealt with; neither may wait. Before,
        it lets jobs that were just taken be sent.
        """
        for _ in range(_PASSES):
            await trio.lowlevel.checkpoint()
        if not queues or trio.current_time() < self.again_at_s:
            return False
        self._queues, self._make_request, self._take, self.over = queues, make_request, take, trio.Event()
        try:
            for waiter in self.waiters.values():
                if not await waiter.begin(self.watch, self._take_answer):
                    return False
        except (StoreUnavailable, StoreRefused):
            # No outage yet: a full Redis refuses this wait and still lets itself be drained. The next fetch will tell.
            self._rest_a_while(trio.current_time())
            return False
        self.is_open = True
        self._stand(trio.current_time())
        return not self.over.is_set()

    @property
    def is_well(self) -> bool:
        """Whether all can still be answered, and `over` is not set."""
        is_over = self.over.is_set() or self.is_lost or self.is_late
        return not is_over and all(waiter.can_answer for waiter in self.waiters.values())

    @property
    def is_late(self) -> bool:
        """Whether an answer that came too early waits in vain: the one before it is lost."""
        return bool(self.early) and trio.current_time() - self._early_at_s > LOOK_EVERY_S

    @property
    def is_awaited(self) -> bool:
        """Whether jobs may be on their way."""
        return bool(self.early) or any(waiter.fetch is not None for waiter in self.waiters.values())

    def end(self) -> None:
        """Send no more. Unless `over` is set, jobs may not be taken any more."""
        self.is_open = False
        if not self.over.is_set():
            self.close()

    def close(self) -> None:
        """End those that stand; they may have taken jobs."""
        self.is_lost = self.is_lost or self.is_awaited
        self.early.clear()
        self._look = None
        for waiter in self.waiters.values():
            if waiter.fetch is not None:
                waiter.close()

    def clear_lost(self) -> None:
        """Note that all that was taken will be known by a comparison with Redis; nothing may stand."""
        self.is_lost, self.brought = False, None

    def take_brought(self) -> tuple[FetchRequest, FetchAnswer] | None:
        """Return what was brought and is still to be dealt with, once; None if nothing is."""
        brought, self.brought = self.brought, None
        return brought

    def take_early(self) -> None:
        """Take the answers that came too early, where their turn has come."""
        while (early := self.early.pop(self.reservations.last_number, None)) is not None:
            self._take_answer(*early)

    def _take_answer(self, fetch: FetchRequest, answer: FetchAnswer | None, sent_at_s: float) -> None:
        """Deal with an answer, and send the next fetch; keep it if jobs that were taken before are not here yet."""
        if isinstance(answer, FetchResult) and answer.jobs and answer.base != self.reservations.last_number:
            self._early_at_s = self._early_at_s if self.early else trio.current_time()
            self.early[answer.base] = fetch, answer, sent_at_s
            return
        was_look, is_done = fetch is self._look, False
        if was_look:
            self._look = None
        if answer is None:
            self.is_lost = True
            self._rest_a_while(sent_at_s)
        else:
            try:
                is_done = self._take(fetch, answer, sent_at_s)
                if not is_done:
                    self.brought = fetch, answer
            except Exception as bug:  # noqa: BLE001 - it must not end the task that calls this
                self.bug = bug
            if self.early:
                self.take_early()
        came = len(answer.jobs) if isinstance(answer, FetchResult) else 0
        if not is_done or came >= fetch.count:
            self.over.set()
        elif self._look is None:
            now_s = trio.current_time()
            if came >= _FEW if was_look else now_s - self._stood_at_s < BUSY_S:
                self._stand_later()
            else:
                self._stand(now_s)

    def _stand_later(self) -> None:
        if not self._is_due:
            self._is_due = True
            self.watch.call_later(self._stand_again)

    def _stand_again(self) -> None:
        self._is_due = False
        are_free = sum(waiter.fetch is None for waiter in self.waiters.values())
        self._stand(trio.current_time(), is_look=are_free >= _FEW)

    def _stand(self, now_s: float, *, is_look: bool = False) -> None:
        """Have a fetch stand for each queue that has none; or have one look at all queues at once."""
        self._stood_at_s = now_s
        for queue, waiter in self.waiters.items():
            if waiter.fetch is not None or queue not in self._queues:
                continue
            if self._look is not None or not self.is_open or self.over.is_set():
                return
            fetch = self._make_request()
            if fetch is None:
                self.over.set()
            elif not waiter.stand(fetch, None if is_look else queue):
                self._rest_a_while(now_s)
                self.over.set()
            elif is_look:
                self._look = fetch

    def _rest_a_while(self, since_s: float) -> None:
        self.again_at_s = since_s + REFUSED_WAIT_S
