"""Opens connections to one server a few at a time, and faster while it keeps up. Used by both clients, for all of them.

Always holds: at most `ConnectLimit.limit` connections are open that the server has neither answered on nor had its time
for; who waits stands in line until it has something or is gone, cancelled or not; a connection that is given back, and
leave to connect, go straight to the first in line, so that nobody is overtaken or forgotten, and each is woken once.

ejabberd 23.01 listens with a backlog of 5. With 50 connects at once (measured on loopback), some waited 1 s for TCP to
try again, and 5 were reset after they had sent their request: five commands that may have run, for nothing.
"""

import contextlib
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import attrs
import trio

from restbroker.config.target import Target
from restbroker.transport.connect_limit import ConnectLimit

_PROBES: Final = 1

C = TypeVar("C")


def connections_for(target: Target) -> int:
    """How many connections a target may have: one for each worker, and one for the probe."""
    return target.concurrency + sum(target.slots.values()) + _PROBES


class RampClosed(Exception):
    """There will be nothing for anybody."""


@attrs.define(eq=False)
class RampTicket(Generic[C]):
    """In line, for leave to connect as `who`, and where it `takes` one, for a connection that another gives back."""

    who: object
    takes: bool
    got: C | None = None
    is_served: bool = False
    _parked: trio.lowlevel.Task | None = None

    async def park(self) -> None:
        """Until it is woken, or cancelled."""
        self._parked = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def wake(self) -> bool:
        """Has it look what it got; False if it is about to do so anyway."""
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
    """Who connects, those that began longest ago first. Times are on Trio's clock.

    `_spare` gets the connections that nobody waits for. `_begun`: since when each connects; `_young`: those of them
    that the server still has time for. `_keeper`: one of those in line has a timer, until when there is room for one
    more though nothing happens. It came late and stays long: a timer for each would cost more than all the rest.
    """

    _spare: Callable[[C], None]
    connects: ConnectLimit = attrs.Factory(ConnectLimit)
    _begun: dict[object, float] = attrs.Factory(dict)
    _young: dict[object, float] = attrs.Factory(dict)
    _line: dict[RampTicket[C], None] = attrs.Factory(dict)
    _keeper: RampTicket[C] | None = None
    _timer: trio.CancelScope = attrs.Factory(trio.CancelScope)
    _closed: bool = False

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._line)

    async def stand(self, who: object, *, again: bool = False) -> C | None:
        """A connection that was given back. None: `who` connects from now on; `answered`, `end` or `release` follows.

        `again`: what it got was not fit for use after all, so that it is still its turn. Raises `RampClosed`. When
        cancelled, it has neither.
        """
        return await self._stand(RampTicket(who, takes=True), again=again)

    async def begin(self, who: object) -> None:
        """Waits until `who` may connect, at once if it does already. When cancelled, it may not."""
        if who not in self._begun:
            with contextlib.suppress(RampClosed):
                await self._stand(RampTicket(who, takes=False))

    def give(self, connection: C) -> None:
        """Gives a connection that is fit for use to the first in line who takes one."""
        for place in self._line:
            if place.takes:
                place.got = connection
                self._serve(place)
                return
        self._spare(connection)

    def close(self) -> None:
        """There will be nothing for anybody."""
        self._closed = True
        for place in self._line:
            place.wake()
        self._line.clear()

    def note_answered(self, who: object) -> None:
        """The server answered to `who`; does nothing if it never began, or has ended."""
        if (began_s := self._begun.pop(who, None)) is not None:
            now_s = trio.current_time()
            self.connects.note_answered(now_s, now_s - began_s)
            self._leave(who)

    def end(self, who: object) -> None:
        """`who` broke or gave up; does nothing if it never began, or has ended."""
        if self._begun.pop(who, None) is not None:
            self.connects.note_failed(trio.current_time())
            self._leave(who)

    def release(self, who: object) -> None:
        """`who` does not want to connect any more, and has not tried."""
        if self._begun.pop(who, None) is not None:
            self._leave(who)

    async def _stand(self, place: RampTicket[C], *, again: bool = False) -> C | None:
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
            self._appoint()
        return self._give_to(place)

    def _give_to(self, place: RampTicket[C]) -> C | None:
        if self._closed:
            self._pass_on(place)
            raise RampClosed
        return place.got

    async def _keep(self, place: RampTicket[C]) -> None:
        """Waits, and keeps the time for all."""
        self._keeper = place
        try:
            while not place.is_served and not self._closed:
                with trio.CancelScope(deadline=self._room_from_s()) as self._timer:
                    await place.park()
                self._let_in()
        finally:
            self._keeper = None

    def _appoint(self) -> None:
        """Has another one keep the time, if nobody does: the last, unless it has been woken and looks by itself.

        To be called by each that leaves the line: who was woken for this may be served or cancelled before it runs.
        """
        if self._keeper is None:
            for place in reversed(self._line):
                if place.wake():
                    break

    def _pass_on(self, place: RampTicket[C]) -> None:
        """It is gone, perhaps between being served and seeing it."""
        self._line.pop(place, None)
        if place.got is not None:
            self.give(place.got)
        elif place.is_served:
            self.release(place.who)

    def _begin(self, who: object) -> None:
        now_s = trio.current_time()
        self.connects.note_begun(now_s)
        self._begun[who] = self._young[who] = now_s

    def _leave(self, who: object) -> None:
        self._young.pop(who, None)
        self._let_in()

    def _let_in(self) -> None:
        """Lets the first in line connect, as far as there is room."""
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
        """Since or from when there is room for one more, if nobody leaves before."""
        now_s = trio.current_time()
        while len(self._young) >= self.connects.limit:
            who, since_s = next(iter(self._young.items()))
            until_s = since_s + self.connects.patience_s
            if now_s < until_s:
                return until_s
            del self._young[who]
        return self.connects.from_s(len(self._young))
