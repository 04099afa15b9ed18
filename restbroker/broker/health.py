"""Redis' outages, handled in one place, and the right to start requests that ends with one.

Every task of the broker that talks to Redis does so through `StoreHealth`, which has calls wait until it is back, or
itself notes there what a call met (`record_outage`, `record_write`). Always holds: an outage is reported once when it
begins and once when it ends, however many tasks run into it, and in between when its reason has changed, e.g. from a
Redis that is down to one that came back without our user; waiting costs next to nothing. Only a write ends an outage: a
Redis whose disk is full, or that became a replica, still answers reads.

A generation may start requests only while its last confirmed heartbeat is young: the heartbeat calls `Lease.confirm`,
each delivery checks `is_fresh`. Always holds: a process that was suspended, or cut off from Redis for so long that
another may have taken its jobs, starts no request before Redis has answered again. Time is CLOCK_BOOTTIME, which
advances while a virtual machine is suspended.
"""

import math
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

import trio

from restbroker.errors import ConnectionEnded, StoreRefused, StoreUnavailable
from restbroker.light import define, field
from restbroker.store.client import Client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Event, OperatorWarning, Report, StoreBack, StoreLost, StoreOutageChanged

FENCE_AFTER_S = 20.0
"""Seconds of a reaper's own healthy time for which a heartbeat stands still before the reaper fences its process."""
# Why: docs/design.md#fences
MARGIN_S = 5.0


_BOOT_CLOCK = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC


def boot_time_s() -> float:
    """Return the seconds since the machine started, suspensions included."""
    return time.clock_gettime(_BOOT_CLOCK)


@define(eq=False)
class Lease:
    """The right of one generation to start requests, for all its pools."""

    granted: trio.Event = field(factory=trio.Event)
    """Set by the first confirmation."""
    _until_s: float = float("-inf")

    @property
    def is_fresh(self) -> bool:
        """Whether a request may be started now."""
        return time.clock_gettime(_BOOT_CLOCK) < self._until_s

    @property
    def age_s(self) -> float | None:
        """Seconds since the last confirmed heartbeat was sent; None: none was confirmed yet."""
        return boot_time_s() - self._until_s + FENCE_AFTER_S - MARGIN_S if self.granted.is_set() else None

    def confirm(self, sent_at_s: float) -> None:
        """Note that Redis confirmed a heartbeat that was sent at `sent_at_s` (boot time).

        Requests may be started until 15 s after that time.
        """
        self._until_s = sent_at_s + FENCE_AFTER_S - MARGIN_S
        self.granted.set()


P = ParamSpec("P")
T = TypeVar("T")

FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 1.0
FIRST_CHANGE_S = 5.0
LONGEST_CHANGE_S = 60.0
"""The seconds before a changed reason is reported: `FIRST_CHANGE_S`, doubled with each change up to `LONGEST_CHANGE_S`.

They grow since two reasons may alternate with each try.
"""


@define(eq=False)
class StoreHealth:
    """The state of Redis, as this process knows it.

    `outages` rises by one when an outage begins, reported or not, so that a task can see that there was one since it
    looked. `away_s` is how many seconds all outages took together.
    """

    report: Report
    outages: int = 0
    away_s: float = 0.0
    is_up: bool = True
    """Whether Redis can be used, as far as known."""
    _redis_clock_s: tuple[float, float] | None = None
    """How far Redis' clock is ahead of the boot clock, at least and at most; None: not known yet."""
    _lost_at_s: float | None = None
    reason: str | None = None
    """Why Redis cannot be used, as it was last reported; None while it can."""
    _reported: str = ""
    _stands_s: float = FIRST_CHANGE_S
    _stands_until_s: float = -math.inf
    _back_at_s: float = -math.inf

    async def call_until_up(
        self, connection: Connection, do: Callable[Concatenate[Client, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call `do` in a thread until Redis answers, and return its result. Only for calls that may be repeated.

        Wait while Redis is away, and report the outage. Raise `StoreRefused` if Redis refuses the call. Safe to cancel.
        """
        return await self.await_until_up(partial(connection.call, do, *args, **kwargs))

    async def await_until_up(self, ask: Callable[[], Awaitable[T]], *, is_write: bool = False) -> T:
        """Await `ask()` until Redis answers, and return its result, as `call_until_up` does, but without a thread.

        `is_write`: it writes to Redis, so that its success ends an outage.
        """
        wait_s = FIRST_WAIT_S
        while True:
            began_s = trio.current_time()
            try:
                result = await ask()
            except StoreUnavailable as error:
                self.record_outage(error, began_s)
                await trio.sleep(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
            else:
                if is_write:
                    self.record_write(began_s)
                return result

    @property
    def clock_ahead_s(self) -> float:
        """By how many seconds Redis' clock is ahead of ours, at least; negative if it is behind.

        If ours was set since Redis was asked, this tells.
        """
        if self._redis_clock_s is None:
            return 0.0
        least_s, most_s = self._redis_clock_s
        ours_s = time.time() - boot_time_s()
        return max(0.0, least_s - ours_s) + min(0.0, most_s - ours_s)

    @property
    def latest_redis_s(self) -> float:
        """What Redis' clock shows now, at most, if it was not set since Redis was asked (epoch seconds)."""
        return boot_time_s() + (0.0 if self._redis_clock_s is None else self._redis_clock_s[1])

    def record_clock(self, redis_s: float, sent_at_s: float) -> None:
        """Note the time `redis_s` (epoch seconds) that Redis just returned to a call of `sent_at_s` (boot time)."""
        self._redis_clock_s = redis_s - boot_time_s(), redis_s - sent_at_s

    def record_outage(self, error: StoreUnavailable, began_s: float = math.inf) -> None:
        """Note that a call that began at `began_s` was not answered; report the outage if it is a new one.

        A connection that ended while idle, and a call from before the end of the last outage, count as an outage that
        is not reported; a new one is reported once a try fails. During an outage that was reported, another reason is
        reported too, once the last one has stood for a while.
        """
        if self._lost_at_s is not None:
            self._goes_on(error, trio.current_time() - self._lost_at_s)
            return
        self.outages += 1
        if not isinstance(error, ConnectionEnded) and began_s >= self._back_at_s:
            self._lost_at_s, self.is_up = trio.current_time(), False
            self._stands_s = FIRST_CHANGE_S
            self._report_reason(error)
            self.report(StoreLost(str(error)))

    def record_write(self, began_s: float = math.inf) -> None:
        """Note that a write that began at `began_s` was done: that ends an outage, unless it began before that."""
        if self._lost_at_s is not None and began_s >= self._lost_at_s:
            outage_s = trio.current_time() - self._lost_at_s
            self._lost_at_s, self.reason, self.is_up = None, None, True
            self._back_at_s = trio.current_time()
            self.away_s += outage_s
            self.report(StoreBack(outage_s))

    def _goes_on(self, error: StoreUnavailable, for_s: float) -> None:
        is_reason = not isinstance(error, ConnectionEnded) and str(error) != self._reported
        if is_reason and trio.current_time() >= self._stands_until_s:
            self._report_reason(error)
            self.report(StoreOutageChanged(str(error), for_s))

    def _report_reason(self, error: StoreUnavailable) -> None:
        self._reported, self.reason = str(error), error.message
        self._stands_until_s = trio.current_time() + self._stands_s
        self._stands_s = min(self._stands_s * 2, LONGEST_CHANGE_S)


@define(eq=False)
class ProcessTask:
    """The base of what a process does once, beside its pools. `store`: a connection that no urgent call uses."""

    store: Connection
    health: StoreHealth
    report: Report
    _reported: set[object] = field(factory=set, init=False)

    async def until_up(self, do: Callable[Concatenate[Client, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `do` as `StoreHealth.call_until_up` does."""
        return await self.health.call_until_up(self.store, do, *args, **kwargs)

    async def unless_refused(self, code: str, what: str, do: Callable[..., T], *args: object) -> T | None:
        """Call `do` as `until_up` does; return None if Redis refuses it, which is reported once, behind `what`."""
        try:
            return await self.until_up(do, *args)
        except StoreRefused as error:
            self.warn_once(code, f"{what}{error.message}", error.hint)
            return None

    def warn_once(self, code: str, message: str, hint: str | None) -> None:
        """Report a warning, but each message of a code only once."""
        self.report_once((code, message), OperatorWarning(code, message, hint))

    def report_once(self, what: object, event: Event) -> None:
        """Report `event`, unless one was reported with the same `what` before."""
        if what not in self._reported:
            self._reported.add(what)
            self.report(event)
