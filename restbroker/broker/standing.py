"""The fetches of one pool that stand in Redis until there is a job. Its intake has them stand, and takes the answers.

Always holds: what they took is taken in the order of its tickets; and no more is sent once `over` is set.
"""

import math
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Final, TypeAlias

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

Take: TypeAlias = Callable[[FetchRequest, FetchAnswer | None, float], bool]
"""Is called with a fetch, its answer, and when it was sent; returns whether the next one may be sent.

None: the answer is lost, or Redis refused the fetch.
"""


@define(eq=False)
class Standing:
    """The fetches of one pool that stand in Redis until there is a job: one for each queue, each over its connection.

    A job in its queue ends the wait of a fetch, which then takes from all queues. From `begin` until `over` is set, the
    next one is sent as soon as it is answered; or, where jobs come fast, a millisecond later, so that a few are taken
    together. Where they come fast to several queues, one fetch that does not wait (a *look*) is sent in place of those
    that would stand: one call of Redis does for all queues.

    Each may take jobs while the others stand. The numbers of the tickets tell in which order they did, and an answer
    that comes before an earlier one is kept until that has come. A fetch stands until it is answered, or until `close`.
    """

    waiters: Mapping[str, Waiter]
    watch: Watch
    reservations: Reservations
    over: trio.Event = field(factory=trio.Event)
    """Set when no more may be sent, as before `begin`: those that stand go on."""
    bug: Exception | None = None
    """What was raised while an answer was taken."""
    _make_request: Callable[[], FetchRequest | None] = field(init=False)
    _take: Take = field(init=False)
    _queues: Collection[str] = ()
    """Where they may stand."""
    _early: dict[int, tuple[FetchRequest, FetchResult, float, float]] = field(factory=dict)
    """The answers that came before another one, and when, by the number below their first ticket."""
    _again_at_s: float = -math.inf
    """Before, none is sent, so that a Redis that refuses is called seldom."""
    _stood_at_s: float = -math.inf
    _look: FetchRequest | None = None
    """The fetch that was sent for all queues, and is not answered yet."""

    def serve(self, make_request: Callable[[], FetchRequest | None], take: Take) -> None:
        """Have `make_request` say what is to be fetched, None: nothing, and `take` take the answers; neither may wait.

        `take` is called also once `over` is set.
        """
        self.over.set()
        self._make_request, self._take = make_request, take

    async def begin(self, queues: Collection[str]) -> bool:
        """Have fetches stand at these queues; return whether they do. Safe to cancel.

        Before, let jobs that were just taken be sent.
        """
        for _ in range(_PASSES):
            await trio.lowlevel.checkpoint()
        if not (queues and self.watch.is_kept and trio.current_time() >= self._again_at_s):
            return False
        try:
            for waiter in self.waiters.values():
                await waiter.begin(self.watch, self._take_answer)
        except (StoreUnavailable, StoreRefused):
            # No outage yet: a full Redis refuses this wait and still lets itself be drained. The next fetch will tell.
            self._again_at_s = trio.current_time() + REFUSED_WAIT_S
            return False
        self._queues, self.over = queues, trio.Event()
        self._stand()
        return not self.over.is_set()

    @property
    def is_well(self) -> bool:
        """Whether all can still be answered, and no answer waits in vain for one before it, which is lost then."""
        now_s = trio.current_time()
        is_late = any(now_s - came_at_s > LOOK_EVERY_S for *_, came_at_s in self._early.values())
        return not is_late and all(waiter.can_answer for waiter in self.waiters.values())

    @property
    def is_awaited(self) -> bool:
        """Whether jobs may be on their way."""
        return bool(self._early) or any(waiter.fetch is not None for waiter in self.waiters.values())

    def close(self) -> bool:
        """End those that stand, and send no more; return whether they may have taken jobs of which nothing is known."""
        was_awaited = self.is_awaited
        self.over.set()
        self._early.clear()
        self._look = None
        for waiter in self.waiters.values():
            if waiter.fetch is not None:
                waiter.close()
        return was_awaited

    def take_early(self) -> None:
        """Take the answers that came too early, where their turn has come."""
        while (early := self._early.pop(self.reservations.last_number, None)) is not None:
            self._take_answer(*early[:3])

    def _take_answer(self, fetch: FetchRequest, answer: FetchAnswer | None, sent_at_s: float) -> None:
        """Take an answer, and send the next fetch; keep it if jobs that were taken before are not here yet."""
        if isinstance(answer, FetchResult) and answer.jobs and answer.base != self.reservations.last_number:
            self._early[answer.base] = fetch, answer, sent_at_s, trio.current_time()
            return
        was_look, goes_on = fetch is self._look, False
        if was_look:
            self._look = None
        if answer is None:
            self._again_at_s = sent_at_s + REFUSED_WAIT_S
        try:
            goes_on = self._take(fetch, answer, sent_at_s)
        except Exception as bug:  # noqa: BLE001 - it must not end the task that calls this
            self.bug = bug
        if self._early:
            self.take_early()
        if not goes_on:
            self.over.set()
        elif self._look is None:
            came = len(answer.jobs) if isinstance(answer, FetchResult) else 0
            is_busy = came >= _FEW if was_look else trio.current_time() - self._stood_at_s < BUSY_S
            if is_busy:
                # Where it is called more than once, none is left to be sent by the later calls.
                self.watch.call_later(partial(self._stand, may_look=True))
            else:
                self._stand()

    def _stand(self, *, may_look: bool = False) -> None:
        """Have a fetch stand for each queue that has none; or, if there are a few, have one look at all queues."""
        self._stood_at_s = trio.current_time()
        is_look = may_look and sum(waiter.fetch is None for waiter in self.waiters.values()) >= _FEW
        for queue, waiter in self.waiters.items():
            if waiter.fetch is not None or queue not in self._queues:
                continue
            if self._look is not None or self.over.is_set():
                return
            fetch = self._make_request()
            if fetch is None:
                self.over.set()
            elif not waiter.stand(fetch, None if is_look else queue):
                # Perhaps Redis refuses the wait alone, so that the script behind it was answered at once.
                self._again_at_s = self._stood_at_s + REFUSED_WAIT_S
                self.over.set()
            elif is_look:
                self._look = fetch
