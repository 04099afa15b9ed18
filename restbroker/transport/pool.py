"""The connections of one lean client: how many there may be, those at rest between two requests, and new ones.

Always holds: each connection in use, at rest or just being made has one of `connections_for` places, or rests without
one; who waits longest is served first; what is given back unfit, too old or after `close` is closed. The connection
used last comes first, being the least likely to be stale; none is returned that is too old or on which bytes or its end
came. While `run` runs, connections that will not be used again are closed within a second or so: at the end of
their time, and when the server has closed them. While there is none, nothing wakes up.
"""

import ssl
from collections import deque

import trio

from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.light import define
from restbroker.transport.connect import ConnectRamp, RampClosed, connections_for, dial
from restbroker.transport.message import NotSent, Sender
from restbroker.transport.readiness import Rests
from restbroker.transport.wire import Wire


@define(eq=False)
class HttpConnection:
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

    def expire(self) -> None:
        """Close the connection, because its request is late, and mark it so."""
        self.is_late = True
        self.wire.close()


class HttpPool:
    """The connections to one target. `idle`: those at rest, as a stack: its bottom was used least recently."""

    def __init__(self, target: Target, tls: ssl.SSLContext, rests: Rests) -> None:
        self.target = target
        self.idle: deque[HttpConnection] = deque()
        self._tls = tls
        self._places = trio.Semaphore(connections_for(target))
        self._entering = 0
        self._ramp = ConnectRamp(self._keep)
        self._rests = rests
        self._is_watched = False
        self._keeps_none = False
        self._closed = False

    def take(self, now_s: float, *, has_place: bool) -> HttpConnection | None:
        """Return the connection used last that is still good; None if there is none now.

        It comes with its place, unless the caller `has_place`. Those above it that are not good are closed.
        """
        idle = self.idle
        if not has_place:
            if not idle:
                return None
            try:
                self._places.acquire_nowait()
            except trio.WouldBlock:
                return None
        while idle:
            connection = idle.pop()
            if now_s <= connection.good_until_s and connection.wire.is_quiet():
                return connection
            connection.wire.close()
        if not has_place:
            self._places.release()
        return None

    async def enter(self, timeout_s: float) -> None:
        """Take a place, within `timeout_s` seconds; raise `NotSent` if there is none by then."""
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            await self._enter(timeout_s)

    async def _enter(self, timeout_s: float) -> None:
        self._entering += 1
        try:
            with trio.move_on_after(timeout_s):
                await self._places.acquire()
                return
        finally:
            self._entering -= 1
        raise NotSent(f"Every connection to {self.target.url} was busy for {duration_text(timeout_s)}.") from None

    def leave(self) -> None:
        """Give a place back."""
        self._places.release()

    async def connect(self, sender: Sender) -> HttpConnection:
        """Return an idle connection, or a new one when it may connect, whichever comes first; the caller has a place.

        Tasks are served in the order in which they came. Raise `NotSent` if the client is closed or no connection comes
        about, and what `sender.may_send` raises.
        """
        if (connection := self.take(trio.current_time(), has_place=True)) is not None:
            return connection
        owner, again = object(), False
        try:
            while (connection := await self._ramp.acquire(owner, again=again)) is not None:
                if connection.wire.is_quiet():
                    return connection
                connection.wire.close()
                again = True
                # What was given back meanwhile rests, since no one was in line.
                if (connection := self.take(trio.current_time(), has_place=True)) is not None:
                    return connection
        except RampClosed:
            raise NotSent(f"The connections to {self.target.url} are closed.") from None
        try:
            sender.may_send()
            wire = await dial(self.target, self._tls, self.target.connect_timeout_s)
        except BaseException:
            self._ramp.leave(owner)
            raise
        return HttpConnection(wire, trio.current_time() + self.target.max_connection_age_s, owner)

    def give_back(self, connection: HttpConnection, now_s: float, *, fit: bool, leaves: bool = False) -> None:
        """Take a connection back. `fit`: it may be used again. `leaves`: take its place back, too."""
        owner, connection.ramp_owner = connection.ramp_owner, None
        connection.wire.unlisten()
        if not fit or self._closed or now_s > connection.old_at_s:
            connection.wire.close()
        else:
            connection.is_used, connection.since_s = True, now_s
            connection.good_until_s = min(now_s + self.target.idle_expiry_s, connection.old_at_s)
            # Before there is room for one more: who is first in line takes what is there already.
            (self._ramp.give if self._ramp.line else self._keep)(connection)
        if owner is not None:
            self._ramp.leave(owner)
        if leaves:
            self._places.release()

    @property
    def has_line(self) -> bool:
        """Whether what is given back is not free for the next request: another one waits for it, or it is closed."""
        return self._closed or self._entering > 0 or bool(self._ramp.line)

    def keep_none(self) -> None:
        """Close what rests now, and keep none from now on."""
        self._keeps_none = True
        while self.idle:
            self.idle.pop().wire.close()

    def close(self) -> None:
        """Close what rests now, and the others when they are given back; who waits gets `NotSent`."""
        self._closed = True
        self.keep_none()
        self._ramp.close()

    def _keep(self, connection: HttpConnection) -> None:
        if self._keeps_none:
            connection.wire.close()
            return
        idle = self.idle
        idle.append(connection)
        if not self._is_watched:
            self._is_watched = True
            self._rests.watch(self)
        # Where none looks, what a quieter pool does not need any more goes all the same.
        if connection.since_s > idle[0].good_until_s:
            idle.popleft().wire.close()

    def close_bad(self) -> bool:
        """Close connections that will not be used again; return whether any are left."""
        now_s = trio.current_time()
        found = list(self.idle)
        self.idle.clear()
        for connection in found:
            if now_s <= connection.good_until_s and connection.wire.is_quiet():
                self.idle.append(connection)
            else:
                connection.wire.close()
        self._is_watched = bool(self.idle)
        return self._is_watched
