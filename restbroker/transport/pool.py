"""The connections of one lean client: how many there may be, those at rest, and new ones.

Always holds: each connection in use, at rest or just being made has one of `connections_for` places, or rests without
one; who waits longest is served first; what is given back unfit, too old or after `close` is closed.
"""

import ssl

import trio

from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.transport.connect_ramp import ConnectRamp, RampClosed, connections_for
from restbroker.transport.dial import dial
from restbroker.transport.errors import NotSent
from restbroker.transport.idle import Connection, Idle
from restbroker.transport.message import Sender


class Pool:
    """The connections to one target. `idle`: those at rest."""

    def __init__(self, target: Target, tls: ssl.SSLContext) -> None:
        self.target = target
        self._tls = tls
        self._places = trio.Semaphore(connections_for(target))
        self._entering = 0
        self.idle = Idle()
        self._ramp = ConnectRamp(self.idle.put)
        self._closed = False

    def take_now(self, now_s: float) -> Connection | None:
        """Return a connection that is fit for use, with its place; None if there is none now."""
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            return None
        connection = self.idle.take(now_s)
        if connection is None:
            self._places.release()
        return connection

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

    async def connect(self, sender: Sender) -> Connection:
        """Return an idle connection, or a new one when it may connect, whichever comes first; the caller has a place.

        Tasks are served in the order in which they came. Raise `NotSent` if the client is closed or no connection comes
        about, and what `sender.may_send` raises.
        """
        if (connection := self.idle.take(trio.current_time())) is not None:
            return connection
        owner, again = object(), False
        try:
            while (connection := await self._ramp.acquire(owner, again=again)) is not None:
                if connection.wire.is_quiet():
                    return connection
                connection.wire.close()
                again = True
                # What was given back meanwhile rests, since no one was in line.
                if (connection := self.idle.take(trio.current_time())) is not None:
                    return connection
        except RampClosed:
            raise NotSent(f"The connections to {self.target.url} are closed.") from None
        try:
            sender.may_send()
        except BaseException:
            self._ramp.release(owner)
            raise
        try:
            wire = await dial(self.target, self._tls, self.target.connect_timeout_s)
        except BaseException:
            self._ramp.end(owner)
            raise
        return Connection(wire, trio.current_time() + self.target.max_connection_age_s, owner)

    def give_back(self, connection: Connection, now_s: float, *, fit: bool, has_begun: bool = True) -> None:
        """Take a connection back, but not its place. `fit`: it may be used again. `has_begun`: the server answered."""
        owner, connection.ramp_owner = connection.ramp_owner, None
        if not fit or self._closed or now_s > connection.old_at_s:
            connection.wire.close()
        else:
            connection.note_idle(now_s, self.target.idle_expiry_s)
            # Before there is room for one more: who is first in line takes what is there already.
            self._ramp.give(connection)
        if owner is not None:
            (self._ramp.note_answered if has_begun else self._ramp.end)(owner)

    @property
    def has_line(self) -> bool:
        """Whether what is given back is not free for the next request: another one waits for it, or it is closed."""
        return self._closed or self._entering > 0 or self._ramp.waiting_count > 0

    def close(self) -> None:
        """Close what rests now, and the others when they are given back; who waits gets `NotSent`."""
        self._closed = True
        self.idle.close()
        self._ramp.close()
