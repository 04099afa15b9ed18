"""Opens connections to one server a few at a time, and faster while it keeps up. Used by both clients, for all of them.

Always holds: at most `Pace.limit` connections are open that the server has neither answered on nor had its time for;
whoever waits is woken when there is something for it, one for each connection or turn. Nobody is forgotten: who is
woken and takes nothing, cancelled or not, leaves a timer to the next one in line.

ejabberd 23.01 listens with a backlog of 5. With 50 connects at once (measured on loopback), some waited 1 s for TCP to
try again, and 5 were reset after they had sent their request: five commands that may have run, for nothing.
"""

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
class Ramp:
    """Who connects and who waits for it, those that began longest ago first. Times are on Trio's clock.

    `_begun`: since when each connects; `_young`: those of them that the server still has time for.
    """

    pace: Pace = attrs.Factory(Pace)
    _begun: dict[object, float] = attrs.Factory(dict)
    _young: dict[object, float] = attrs.Factory(dict)
    _timers: dict[trio.lowlevel.Task, trio.CancelScope] = attrs.Factory(dict)
    _lot: trio.lowlevel.ParkingLot = attrs.Factory(trio.lowlevel.ParkingLot)

    @property
    def has_room(self) -> bool:
        """Whether one more may connect now."""
        return self._room_from_s() <= trio.current_time()

    async def begin(self, who: object) -> None:
        """Waits until `who` may connect, at once if it has its turn. When cancelled, it has none and needs no `end`."""
        if who in self._begun:
            return
        while not self.has_room:
            await self.news()
        now_s = trio.current_time()
        self.pace.begun(now_s)
        self._begun[who] = self._young[who] = now_s
        self._time_first()

    async def news(self) -> None:
        """Waits until there may be room, or until `tell`."""
        task = trio.lowlevel.current_task()
        with trio.CancelScope() as scope:
            self._timers[task] = scope
            self._time_first()
            try:
                await self._lot.park()
            finally:
                del self._timers[task]
                self._time_first()

    def tell(self) -> None:
        """Wakes the one that waits longest: there is a connection for it."""
        if self._timers:
            self._lot.unpark()

    def tell_all(self) -> None:
        """Wakes all who wait: there will be nothing for them."""
        self._lot.unpark_all()

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
        is_one_woken = len(self._timers) > len(self._lot)
        if self._lot and not is_one_woken and self.has_room:
            self._lot.unpark()
        else:
            # One that is woken and did not run yet takes the turn, or sets the next one's timer again.
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
        """Only the first of those who wait has a timer, so that patience that ends does not wake all."""
        for scope in self._timers.values():
            scope.deadline = self._room_from_s()
            break
