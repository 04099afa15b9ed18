"""Opens connections to one server a few at a time. Used by both clients, for every connect.

Always holds: at most `LIMIT` connections are open that the server has neither answered on nor had `PATIENCE_S` for.

ejabberd 23.01 listens with a backlog of 5. With 50 connects at once (measured on loopback), some waited 1 s for TCP to
try again, and 5 were reset after they had sent their request: five commands that may have run, for nothing.
"""

from typing import Final

import attrs
import trio

from restbroker.config.target import Target

LIMIT: Final = 4
PATIENCE_S: Final = 0.25
_PROBES: Final = 1


def connections_for(target: Target) -> int:
    """How many connections a target may have: one for each worker, and one for the probe."""
    return target.concurrency + sum(target.slots.values()) + _PROBES


@attrs.define
class Ramp:
    """Who is connecting, and since when on Trio's clock."""

    _young: dict[object, float] = attrs.Factory(dict)
    _turn: trio.lowlevel.ParkingLot = attrs.Factory(trio.lowlevel.ParkingLot)

    @property
    def has_room(self) -> bool:
        """Whether one more may connect now."""
        return len(self._waiting()) < LIMIT

    async def begin(self, who: object) -> None:
        """Waits until `who` may connect, at once if it has its turn. When cancelled, it has none and needs no `end`."""
        while who not in self._young and not self.has_room:
            await self.news()
        self._young.setdefault(who, trio.current_time())

    async def news(self) -> None:
        """Waits until there may be room, or until `tell`."""
        with trio.move_on_at(min(self._waiting(), default=trio.current_time()) + PATIENCE_S):
            await self._turn.park()

    def tell(self) -> None:
        """Wakes all who wait for news."""
        if self._turn:
            self._turn.unpark_all()

    def end(self, who: object) -> None:
        """The server answered to `who`, or `who` gave up; does nothing if it never began."""
        if self._young.pop(who, None) is not None:
            self.tell()

    def _waiting(self) -> list[float]:
        """Since when each connects that the server still has time for."""
        now_s = trio.current_time()
        return [since_s for since_s in self._young.values() if now_s - since_s < PATIENCE_S]
