"""Opens connections to one server a few at a time, and faster while it keeps up. Used by both clients, for all of them.

Always holds: at most `ConnectLimit.limit` connections are open on which the server has not answered and still has time
to (`patience_s`); a task stands in line until it has a connection or may connect, or is cancelled; a connection that is
given back, and the permission to connect, go straight to the first task in line, so that none is overtaken or
forgotten, and each is woken once.

ejabberd 23.01 listens with a backlog of 5. With 50 connects at once (measured on loopback), some waited 1 s for TCP to
try again, and 5 were reset after they had sent their request: five commands that may have run, for nothing.
"""

import contextlib
import math
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import attrs
import trio

from restbroker.config.target import Target

START: Final = 4
GAP_S: Final = 0.001
PATIENCE_S: Final = 0.25
MOST_PATIENCE_S: Final = 10.0
REST_S: Final = 1.0
_LATE: Final = 2
"""A first answer is late if it takes more than this many times as long as the quickest one."""


@attrs.define(eq=False)
class ConnectLimit:
    """The limit on simultaneous connects to one server; times are on Trio's clock.

    `limit`: how many connections the server may be busy with accepting. `patience_s`: for how many seconds one of them
    counts as such.
    """

    limit: int = START
    patience_s: float = PATIENCE_S
    _quickest_s: float = math.inf
    _next_s: float = 0.0
    _moved_at_s: float = 0.0

    def from_s(self, young: int) -> float:
        """Return the time from which one more may connect beside `young` others, by the gap between two; 0.0: now."""
        return 0.0 if young < START else self._next_s

    def note_begun(self, now_s: float) -> None:
        """Count a connect that begins now; after `REST_S` seconds without one, reset the limit first."""
        if now_s - self._moved_at_s > REST_S:
            self.limit, self.patience_s, self._quickest_s = START, PATIENCE_S, math.inf
        self._moved_at_s = now_s
        self._next_s = max(self._next_s, now_s - (START - 1) * GAP_S) + GAP_S

    def note_answered(self, now_s: float, took_s: float) -> None:
        """Note the first answer on a connection, `took_s` seconds after its connect began.

        Raise the limit, or halve it if that is late.
        """
        self._moved_at_s = now_s
        self._quickest_s = min(self._quickest_s, took_s)
        # A busy server needs longer to accept too, and a slow one must not hold all others up.
        self.patience_s = min(max(PATIENCE_S, _LATE * took_s), MOST_PATIENCE_S)
        if took_s > _LATE * self._quickest_s:
            self._halve()
        else:
            # A server that answers within a few milliseconds frees its turns so quickly that it needs no more of them.
            most = int(self._quickest_s / GAP_S) - START
            self.limit = max(START, min(self.limit + 1, most))

    def note_failed(self, now_s: float) -> None:
        """Halve the limit, down to `START`: a connection was refused, broke, or had no answer when it was given up."""
        self._moved_at_s = now_s
        self._halve()

    def _halve(self) -> None:
        self.limit = max(START, self.limit // 2)


_PROBES: Final = 1

C = TypeVar("C")


def connections_for(target: Target) -> int:
    """Return how many connections a target may have: one for each worker, and one for the probe."""
    return target.concurrency + sum(target.slots.values()) + _PROBES


class RampClosed(Exception):
    """The ramp is closed: no task in line gets a connection, or the permission to connect, any more."""


@attrs.define(eq=False)
class RampTicket(Generic[C]):
    """The place of one task in line, which waits for the permission to connect as `who`.

    If `takes`, it also takes a connection that another task gives back, which is then in `connection`. `is_served`: it
    has got one of the two.
    """

    who: object
    takes: bool
    connection: C | None = None
    is_served: bool = False
    _parked: trio.lowlevel.Task | None = None

    async def park(self) -> None:
        """Wait until `wake` is called; when cancelled, the ticket is not parked any more."""
        self._parked = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def wake(self) -> bool:
        """Wake the task, so that it reads its ticket; return False if it is not parked and will read that anyway."""
        if self._parked is None:
            return False
        trio.lowlevel.reschedule(self._parked)
        self._parked = None
        return True

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._parked = None
        return trio.lowlevel.Abort.SUCCEEDED


@attrs.define(eq=False)
class ConnectRamp(Generic[C]):
    """Which tasks connect, those that began longest ago first; times are on Trio's clock.

    `_spare` gets the connections that no task waits for. `_begun`: since when each connects; `_young`: those of them
    that the server still has time for. `_keeper`: the one task in line that has a timer, which ends when there is room
    for one more though nothing happens. It came late and stays long: a timer for each would cost more than all the
    rest.
    """

    _spare: Callable[[C], None]
    limiter: ConnectLimit = attrs.Factory(ConnectLimit)
    _begun: dict[object, float] = attrs.Factory(dict)
    _young: dict[object, float] = attrs.Factory(dict)
    _line: dict[RampTicket[C], None] = attrs.Factory(dict)
    _keeper: RampTicket[C] | None = None
    _timer: trio.CancelScope = attrs.Factory(trio.CancelScope)
    _closed: bool = False

    @property
    def waiting_count(self) -> int:
        """How many tasks stand in line."""
        return len(self._line)

    async def acquire(self, who: object, *, again: bool = False) -> C | None:
        """Wait in line, then return a connection that was given back, or None if `who` may connect now.

        After None, the caller must call `note_answered`, `end` or `release` for `who`. `again`: the connection that the
        last call returned was not fit for use, so that the caller is first in line. Raise `RampClosed` if the ramp is
        closed. When cancelled, the caller has neither a connection nor the permission to connect.
        """
        return await self._acquire(RampTicket(who, takes=True), again=again)

    async def begin(self, who: object) -> None:
        """Wait until `who` may connect, which is at once if it connects already or the ramp is closed.

        When cancelled, it may not.
        """
        if who not in self._begun:
            with contextlib.suppress(RampClosed):
                await self._acquire(RampTicket(who, takes=False))

    def give(self, connection: C) -> None:
        """Give a connection that is fit for use to the first in line that takes one, or else to `_spare`."""
        for place in self._line:
            if place.takes:
                place.connection = connection
                self._serve(place)
                return
        self._spare(connection)

    def close(self) -> None:
        """Close the ramp: wake all in line, which raise `RampClosed`, as does each later `acquire`."""
        self._closed = True
        for place in self._line:
            place.wake()
        self._line.clear()

    def note_answered(self, who: object) -> None:
        """Note the server's first answer to `who`; do nothing if `who` never began, or has ended."""
        if (began_s := self._begun.pop(who, None)) is not None:
            now_s = trio.current_time()
            self.limiter.note_answered(now_s, now_s - began_s)
            self._leave(who)

    def end(self, who: object) -> None:
        """Note that the connection of `who` broke or was given up; do nothing if `who` never began, or has ended."""
        if self._begun.pop(who, None) is not None:
            self.limiter.note_failed(trio.current_time())
            self._leave(who)

    def release(self, who: object) -> None:
        """Withdraw the permission to connect from `who`, which has not used it; do nothing if it has none."""
        if self._begun.pop(who, None) is not None:
            self._leave(who)

    async def _acquire(self, place: RampTicket[C], *, again: bool = False) -> C | None:
        if self._closed:
            raise RampClosed
        if (again or not self._line) and self._room_from_s() <= trio.current_time():
            self._begin(place.who)
            return None
        if again:
            self._line = {place: None, **self._line}
        self._line[place] = None
        try:
            while not place.is_served and not self._closed:
                await (place.park() if self._keeper is not None else self._keep(place))
        except BaseException:
            self._pass_on(place)
            raise
        finally:
            self._appoint_keeper()
        return self._give_to(place)

    def _give_to(self, place: RampTicket[C]) -> C | None:
        if self._closed:
            self._pass_on(place)
            raise RampClosed
        return place.connection

    async def _keep(self, place: RampTicket[C]) -> None:
        """Wait in line until served, and meanwhile let others in when there is room, as the one task with a timer."""
        self._keeper = place
        try:
            while not place.is_served and not self._closed:
                with trio.CancelScope(deadline=self._room_from_s()) as self._timer:
                    await place.park()
                self._let_in()
        finally:
            self._keeper = None

    def _appoint_keeper(self) -> None:
        """Have another task keep the time, if none does: the last in line, unless it is awake and checks by itself."""
        if self._keeper is None:
            for place in reversed(self._line):
                if place.wake():
                    break

    def _pass_on(self, place: RampTicket[C]) -> None:
        """Give what this ticket got to others: its task is gone, perhaps between being served and seeing it."""
        self._line.pop(place, None)
        if place.connection is not None:
            self.give(place.connection)
        elif place.is_served:
            self.release(place.who)

    def _begin(self, who: object) -> None:
        now_s = trio.current_time()
        self.limiter.note_begun(now_s)
        self._begun[who] = self._young[who] = now_s

    def _leave(self, who: object) -> None:
        self._young.pop(who, None)
        self._let_in()

    def _let_in(self) -> None:
        """Let the first in line connect, one after the other, as far as there is room."""
        if not self._line:
            return
        while self._line and self._room_from_s() <= trio.current_time():
            first = next(iter(self._line))
            self._begin(first.who)
            self._serve(first)
        self._timer.deadline = self._room_from_s()

    def _serve(self, place: RampTicket[C]) -> None:
        del self._line[place]
        place.is_served = True
        place.wake()

    def _room_from_s(self) -> float:
        """Return the time since or from which there is room for one more, if none leaves before."""
        now_s = trio.current_time()
        while len(self._young) >= self.limiter.limit:
            who, since_s = next(iter(self._young.items()))
            until_s = since_s + self.limiter.patience_s
            if now_s < until_s:
                return until_s
            del self._young[who]
        return self.limiter.from_s(len(self._young))
