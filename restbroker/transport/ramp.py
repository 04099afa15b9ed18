"""Opens connections to one server a few at a time, and faster while it keeps up. Used by both clients, for all of them.

Always holds: at most `Pace.limit` connections are open that the server has neither answered on nor had its time for;
who waits stands in line and keeps its place until it has something or is gone, cancelled or not. One is called for each
connection given back, and whoever becomes the first looks in any case, so that nobody is overtaken or forgotten.

ejabberd 23.01 listens with a backlog of 5. With 50 connects at once (measured on loopback), some waited 1 s for TCP to
try again, and 5 were reset after they had sent their request: five commands that may have run, for nothing.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from restbroker.config.target import Target
from restbroker.transport.pace import Pace

_PROBES: Final = 1


def connections_for(target: Target) -> int:
    """How many connections a target may have: one for each worker, and one for the probe."""
    return target.concurrency + sum(target.slots.values()) + _PROBES


@attrs.define(eq=False)
class Place:
    """In line. `called`: it is to look whether there is something for it."""

    called: trio.Event = attrs.Factory(trio.Event)
    timer: trio.CancelScope = attrs.Factory(trio.CancelScope)


@attrs.define(eq=False)
class Ramp:
    """Who connects, those that began longest ago first. Times are on Trio's clock.

    `waiting`: how many stand in line. `_begun`: since when each connects; `_young`: those of them that the server still
    has time for. Only the first in line has a timer, so that patience that ends does not wake all.
    """

    pace: Pace = attrs.Factory(Pace)
    waiting: int = 0
    _begun: dict[object, float] = attrs.Factory(dict)
    _young: dict[object, float] = attrs.Factory(dict)
    _line: dict[Place, None] = attrs.Factory(dict)

    @property
    def has_room(self) -> bool:
        """Whether one more may connect now."""
        return self._room_from_s() <= trio.current_time()

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Place]:
        """Inside, it is one's turn to look; then `news` is to be awaited before each other look."""
        place = Place()
        self._line[place] = None
        self.waiting += 1
        passes_on = True
        try:
            if self.waiting > 1:
                if self.has_room:
                    self.tell()
                await self.news(place)
            yield place
            passes_on = False
        finally:
            del self._line[place]
            self.waiting -= 1
            if passes_on and place.called.is_set():
                self.tell()
            for first in self._line:
                first.called.set()
                break

    async def begin(self, who: object) -> None:
        """Waits until `who` may connect, at once if it has its turn. When cancelled, it has none and needs no `end`."""
        if who in self._begun:
            return
        async with self.line() as place:
            while not self.has_room:
                await self.news(place)
            self.begin_now(who)

    def begin_now(self, who: object) -> None:
        """`who` connects now that there is room."""
        now_s = trio.current_time()
        self.pace.begun(now_s)
        self._begun[who] = self._young[who] = now_s

    async def news(self, place: Place) -> None:
        """Waits until there may be something for this one."""
        with trio.CancelScope() as place.timer:
            self._time_first()
            await place.called.wait()
        place.called = trio.Event()

    def tell(self) -> None:
        """There is a connection, or room for one, for one more of those in line."""
        for place in self._line:
            if not place.called.is_set():
                place.called.set()
                break

    def tell_all(self) -> None:
        """There will be nothing for anybody."""
        for place in self._line:
            place.called.set()

    def answered(self, who: object) -> None:
        """The server answered to `who`; does nothing if it never began, or has ended."""
        if (began_s := self._begun.pop(who, None)) is not None:
            now_s = trio.current_time()
            self.pace.answered(now_s, now_s - began_s)
            self._leave(who)

    def end(self, who: object) -> None:
        """`who` broke or gave up; does nothing if it never began, or has ended."""
        if self._begun.pop(who, None) is not None:
            self.pace.failed(trio.current_time())
            self._leave(who)

    def _leave(self, who: object) -> None:
        self._young.pop(who, None)
        if self._line:
            if self.has_room:
                self.tell()
            self._time_first()

    def _room_from_s(self) -> float:
        """Since or from when there is room for one more, if nobody leaves before."""
        now_s = trio.current_time()
        while len(self._young) >= self.pace.limit:
            who, since_s = next(iter(self._young.items()))
            until_s = since_s + self.pace.patience_s
            if now_s < until_s:
                return until_s
            del self._young[who]
        return self.pace.from_s(len(self._young))

    def _time_first(self) -> None:
        for place in self._line:
            place.timer.deadline = self._room_from_s()
            break
