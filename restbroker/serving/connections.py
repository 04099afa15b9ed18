"""The served connections: a bound on the time of each send. `serving.runner` makes them.

Always holds: a connection whose reader takes nothing for `STALLED_S` seconds is dropped, with all memory for it; while
the process stops, after `HURRIED_S`. Hypercorn 0.18 shields its sends, so that nothing outside of them ends one: a page
that was left open on a frozen machine would hold up each stop.
"""

import contextlib
import itertools
import math
import os
import socket
import struct
from collections.abc import Iterator

import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope

from restbroker.light import define, field, frozen

STALLED_S = 5.0
"""Seconds that a reader may take nothing of what it is sent before it is dropped."""
HANDSHAKE_S = 5.0
"""Seconds that a client may take to begin with TLS."""
HURRIED_S = 0.3
"""Seconds that all of these are cut to while the process stops."""
_AT_ONCE = struct.pack("ii", 1, 0)
"""The value of SO_LINGER with which a close ends the connection, and the kernel keeps nothing of what was not read."""
_SWITCHES = b"HTTP/1.1 101 "
_REFUSED = b"HTTP/1.1 400 \r\ncontent-length: 0\r\n"
"""The beginning of what Hypercorn 0.18 answers in the place of an app. All answers of restbroker say why."""
_DECLINED = _REFUSED + b"connection: close\r\n\r\n"


@define(eq=False)
class Connections:
    """All connections of one server. After `hurry` none of them waits long for its reader.

    `drop_count`: how many connections were ended because their reader took nothing. `is_hurried`: the process stops, so
    that nothing new is to begin.
    """

    drop_count: int = 0
    is_hurried: bool = False
    _patience_s: float = STALLED_S
    _waiting: set[trio.CancelScope] = field(factory=set)
    _idle: dict[trio.CancelScope, None] = field(factory=dict)
    """Those that wait for a request, that which waits longest first."""

    def hurry(self) -> None:
        """End the wait for readers, because the process stops: connections at rest end now, sends after `HURRIED_S`."""
        self.is_hurried = True
        until_s = trio.current_time() + HURRIED_S
        for scope in self._waiting:
            scope.deadline = min(scope.deadline, until_s)
        for scope in self._idle:
            scope.cancel()

    def make_room(self, count: int) -> None:
        """End so many connections, or as many as there are, of those that have waited for a request longest."""
        for scope in list(itertools.islice(self._idle, count)):
            del self._idle[scope]
            scope.cancel()

    @contextlib.contextmanager
    def bound_connection(self, longest_s: float) -> "Iterator[ConnectionLimits]":
        """Cancel the block, which serves one connection, after `longest_s` seconds without a request.

        Cancel it at once when the process stops and no request is under way. The connection begins without a request;
        call `end_wait` and `start_wait` of the yielded `ConnectionLimits` as requests begin and end.
        """
        with trio.CancelScope() as scope:
            life = ConnectionLimits(scope, self._idle, longest_s)
            life.start_wait()
            if self.is_hurried:
                scope.cancel()
            try:
                yield life
            finally:
                life.end_wait()

    async def send(self, stream: trio.SocketStream, data: memoryview) -> int:
        """Send a part of the data as soon as the reader makes room, and return its length.

        Return 0 if the reader took nothing for `STALLED_S`, or, while the process stops, `HURRIED_S`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            # Mostly there is room, and then no wait need be bound: that costs a twentieth of what an event does.
            sent = os.write(stream.socket.fileno(), data)
        except BlockingIOError:
            with self._limit_wait(self._patience_s) as scope:
                sent = await stream.socket.send(data)
            return 0 if scope.cancelled_caught else sent
        await trio.lowlevel.cancel_shielded_checkpoint()
        return sent

    async def handshake(self, stream: "trio.SSLStream[trio.SocketStream]") -> bool:
        """Do the TLS handshake; return whether it ended in time, and raise `trio.BrokenResourceError` if it fails."""
        with self._limit_wait(HANDSHAKE_S) as scope:
            await stream.do_handshake()
        return not scope.cancelled_caught

    @contextlib.contextmanager
    def _limit_wait(self, patience_s: float) -> Iterator[trio.CancelScope]:
        with trio.move_on_after(HURRIED_S if self.is_hurried else patience_s) as scope:
            self._waiting.add(scope)
            try:
                yield scope
            finally:
                self._waiting.discard(scope)


@frozen(eq=False)
class ConnectionLimits:
    """The bound on one connection while no request is under way on it."""

    _scope: trio.CancelScope
    _idle: dict[trio.CancelScope, None]
    _longest_s: float

    def start_wait(self, longest_s: float | None = None) -> None:
        """Start the time within which a request must come: `longest_s`, or else the usual."""
        self._idle.pop(self._scope, None)
        self._idle[self._scope] = None
        self._scope.deadline = trio.current_time() + (self._longest_s if longest_s is None else longest_s)

    def end_wait(self) -> None:
        """Stop that time: a request came, and its handling is bounded elsewhere."""
        self._idle.pop(self._scope, None)
        self._scope.deadline = math.inf


@define(eq=False)
class BoundedStream:
    """One connection, with the methods of Trio's stream that Hypercorn uses; cancelling `scope` ends all work for it.

    Always holds: it is of HTTP/1.1. If an offer of HTTP/2 (`Upgrade: h2c`) that a proxy passed on were accepted, the
    proxy would check nothing that follows, and clients could request what it guards. Hypercorn 0.18 also accepts HTTP/2
    that begins without any offer, even behind a request of HTTP/1.1 (measured).

    The connection ends behind an answer in which Hypercorn refuses a request. Hypercorn 0.18 alone says
    `connection: close` to a broken WebSocket handshake, but keeps the connection for as long as the other end does
    (measured).

    `scope` is cancelled when a send fails. Hypercorn 0.18 alone would wait forever if the reader had sent its next
    request already: nothing wakes the task that waits for the end of the first answer (measured).
    """

    stream: trio.SocketStream
    connections: Connections
    scope: trio.CancelScope

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket, from which Hypercorn takes the addresses of both ends."""
        return self.stream.socket

    async def send_all(self, data: bytes) -> None:
        """Send all the data; raise `trio.BrokenResourceError` if the reader is gone, or is dropped as it takes nothing.

        Hypercorn's switch to another protocol is replaced by a refusal, and a refusal ends the connection.
        """
        if data.startswith(_SWITCHES):
            data = _DECLINED
        left = memoryview(data)
        try:
            while left:
                sent = await self.connections.send(self.stream, left)
                if not sent:
                    await self._drop()
                    raise trio.BrokenResourceError("The client does not read the answer.")
                left = left[sent:]
        except OSError as error:
            self.scope.cancel()
            raise trio.BrokenResourceError("The connection has ended.") from error
        if data.startswith(_REFUSED):
            await self._end()
            raise trio.BrokenResourceError("The connection was ended.")

    async def receive_some(self, most: int | None = None) -> bytes:
        """Wait for data and return it; empty at the end."""
        return await self.stream.receive_some(most)

    async def send_eof(self) -> None:
        """Tell the other end that nothing more comes."""
        await self.stream.send_eof()

    async def aclose(self) -> None:
        """Close the connection."""
        await self.stream.aclose()

    def keep_to_protocol(self, app: ASGIFramework, life: "ConnectionLimits") -> ASGIFramework:
        """Return the app, which no request of HTTP/2 reaches: its connection ends instead; nothing cancels its sends.

        The end of an answer tells Quart-Trio 0.12 that the request is over; Quart then cancels the task that is still
        sending it, before Hypercorn 0.18 has begun to count the connection's idle time. Such connections were kept
        forever, and held up each stop for the whole grace (measured).

        The connection rests but for what the app does: Hypercorn 0.18 waits forever for the first request of HTTP/2,
        and any other bytes keep it (measured).
        """
        count = 0

        async def kept(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            if scope["type"] != "lifespan" and scope["http_version"] == "2":
                await self._end()
                # Hypercorn would answer in the place of an app that returns.
                await trio.lowlevel.checkpoint()
                return

            async def send_whole(event: ASGISendEvent) -> None:
                with trio.CancelScope(shield=True):
                    await send(event)

            nonlocal count
            count += 1
            life.end_wait()
            try:
                await app(scope, receive, send_whole)
            finally:
                count -= 1
                if not count:
                    life.start_wait()

        return kept

    async def _end(self) -> None:
        await trio.aclose_forcefully(self.stream)
        self.scope.cancel()

    async def _drop(self) -> None:
        self.connections.drop_count += 1
        with contextlib.suppress(OSError):
            self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        await self._end()
