"""Redis' outages, seen from one place: calls that wait until it is back, and one event at each end.

Every task of the broker that talks to Redis does so through `StoreHealth`. Always holds: an outage is reported once
when it begins and once when it ends, however many tasks run into it, and in between when its reason has changed, e.g.
from a Redis that is down to one that came back without our user; waiting costs next to nothing. Only a write ends
an outage: a Redis whose disk is full, or that became a replica, still answers reads.
"""

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

import attrs
import trio

from restbroker.errors import ConnectionEnded, StoreUnavailable
from restbroker.store.client import Client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Report, StoreBack, StoreLost, StoreLostOtherwise

P = ParamSpec("P")
T = TypeVar("T")

FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 1.0
FIRST_CHANGE_S = 5.0
LONGEST_CHANGE_S = 60.0
"""How long a reason stands before another one is told: longer with each change, for two may alternate with each try."""


@attrs.define(eq=False)
class StoreHealth:
    """Per process. `outages` rises at each beginning, told or not, so that others can tell that time has a hole.

    `away_s` is how long all outages together took. `clock_ahead_s`: how far Redis' clock is ahead of ours, at least.
    """

    report: Report
    outages: int = 0
    away_s: float = 0.0
    clock_ahead_s: float = 0.0
    _lost_at_s: float | None = None
    reason: str | None = None
    """Why Redis cannot be used, as it was told last; None while it can."""
    _told: str = ""
    _stands_s: float = FIRST_CHANGE_S
    _stands_until_s: float = -math.inf
    _back_at_s: float = -math.inf

    @property
    def is_up(self) -> bool:
        """Whether Redis can be used, as far as known."""
        return self._lost_at_s is None

    async def insist(
        self, connection: Connection, do: Callable[Concatenate[Client, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Calls `do` until Redis answers. Only for what may be repeated. Raises `StoreRefused`; safe to cancel."""
        return await self.insist_on(partial(connection.call, do, *args, **kwargs))

    async def insist_on(self, ask: Callable[[], Awaitable[T]], *, is_write: bool = False) -> T:
        """As `insist`, for a question that needs no thread. A write that was done ends an outage."""
        wait_s = FIRST_WAIT_S
        while True:
            began_s = trio.current_time()
            try:
                result = await ask()
            except StoreUnavailable as error:
                self.lost(error, began_s)
                await trio.sleep(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
            else:
                if is_write:
                    self.found(began_s)
                return result

    def saw_clock(self, redis_s: float, asked_at_s: float, answered_at_s: float) -> None:
        """Notes what Redis' clock showed between two moments of ours: what may have been the way is no difference."""
        self.clock_ahead_s = min(0.0, redis_s - asked_at_s) + max(0.0, redis_s - answered_at_s)

    def lost(self, error: StoreUnavailable, began_s: float = math.inf) -> None:
        """Notes that a call that began then was not answered.

        A connection that ended idle counts as an outage, and so does a call of an outage that is over by now; a new one
        is told once a try fails. Another reason of an outage that was told is told too, once that one stood a while.
        """
        if self._lost_at_s is not None:
            self._goes_on(error, trio.current_time() - self._lost_at_s)
            return
        self.outages += 1
        if not isinstance(error, ConnectionEnded) and began_s >= self._back_at_s:
            self._lost_at_s = trio.current_time()
            self._stands_s = FIRST_CHANGE_S
            self._tell(error)
            self.report(StoreLost(str(error)))

    def found(self, began_s: float = math.inf) -> None:
        """Notes that a write that began then was done. One from before the outage says nothing of its end."""
        if self._lost_at_s is not None and began_s >= self._lost_at_s:
            outage_s = trio.current_time() - self._lost_at_s
            self._lost_at_s = self.reason = None
            self._back_at_s = trio.current_time()
            self.away_s += outage_s
            self.report(StoreBack(outage_s))

    def _goes_on(self, error: StoreUnavailable, for_s: float) -> None:
        is_reason = not isinstance(error, ConnectionEnded) and str(error) != self._told
        if is_reason and trio.current_time() >= self._stands_until_s:
            self._tell(error)
            self.report(StoreLostOtherwise(str(error), for_s))

    def _tell(self, error: StoreUnavailable) -> None:
        self._told, self.reason = str(error), error.message
        self._stands_until_s = trio.current_time() + self._stands_s
        self._stands_s = min(self._stands_s * 2, LONGEST_CHANGE_S)
