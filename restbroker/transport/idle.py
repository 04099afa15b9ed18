"""Kept-alive connections between two requests. Used by the lean client.

Always holds: the connection used last comes first, being the least likely to be stale; none is returned that is too old
or on which bytes or its end came. While `run` runs, connections that will not be used again are closed within a second
or so: at the end of their time, and when the server has closed them. While there is none, nothing wakes up.
"""

from collections import deque
from typing import Final

import attrs
import trio

from restbroker.transport.wire import Wire

LOOK_S: Final = 1.0
"""Seconds between two searches for connections that will not be used again."""


@attrs.define(eq=False)
class Connection:
    """One kept-alive connection. Times are on Trio's clock: `old_at_s` is when it serves no further request.

    `since_s`: when it became idle last; `good_until_s`: when it is too old, or idle for too long.

    `is_late`: it was cut off at its deadline. `is_used`: an answer came over it before, so that the server may have
    closed it just now for its idleness. `ramp_owner`: its `who` in the connect ramp, until the server has answered.
    """

    wire: Wire
    old_at_s: float
    ramp_owner: object | None
    since_s: float = 0.0
    good_until_s: float = 0.0
    is_used: bool = False
    is_late: bool = False

    def note_idle(self, now_s: float, expiry_s: float) -> None:
        """Note that an answer came and the connection may be used again; it may be idle for `expiry_s` from `now_s`."""
        self.is_used = True
        self.since_s = now_s
        self.good_until_s = min(now_s + expiry_s, self.old_at_s)

    def expire(self) -> None:
        """Close the connection, because its request is late, and mark it so."""
        self.is_late = True
        self.wire.close()


@attrs.define(eq=False)
class Idle:
    """The idle connections of one client, as a stack: its bottom was used least recently."""

    _stack: deque[Connection] = attrs.field(factory=deque)
    _lot: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    _rests: bool = False
    _closed: bool = False

    def __len__(self) -> int:
        return len(self._stack)

    def take(self, now_s: float) -> Connection | None:
        """Return the connection used last that is still good, or None; close those above it that are not."""
        stack = self._stack
        while stack:
            connection = stack.pop()
            if now_s <= connection.good_until_s and connection.wire.is_quiet():
                return connection
            connection.wire.close()
        return None

    def put(self, connection: Connection) -> None:
        """Keep an idle connection, or close it if `close` was called before."""
        if self._closed:
            connection.wire.close()
            return
        stack = self._stack
        stack.append(connection)
        if self._rests:
            self._rests = False
            self._lot.unpark_all()
        # Where `run` does not run, what a quieter pool does not need any more goes all the same.
        if connection.since_s > stack[0].good_until_s:
            stack.popleft().wire.close()

    def close(self) -> None:
        """Close all idle connections, and keep none from now on."""
        self._closed = True
        while self._stack:
            self._stack.pop().wire.close()

    async def run(self) -> None:
        """Close connections that will not be used again, until cancelled."""
        try:
            while True:
                if not self._stack:
                    self._rests = True
                    await self._lot.park()
                await trio.sleep(LOOK_S)
                self._close_bad()
        finally:
            self._rests = False

    def _close_bad(self) -> None:
        now_s = trio.current_time()
        found = list(self._stack)
        self._stack.clear()
        for connection in found:
            if now_s <= connection.good_until_s and connection.wire.is_quiet():
                self._stack.append(connection)
            else:
                connection.wire.close()
