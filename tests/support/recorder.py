"""A small HTTP server that records requests byte for byte and misbehaves as scripted.

For tests of the transport, of connectors and of the broker. Each request takes the next action of the script, or the
default one (a 200 with the body `0`) when the script is used up. Always holds: requests are complete (head and body)
when they are recorded.
"""

import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import attrs
import trio

Action = Callable[[trio.abc.Stream], Awaitable[bool]]
"""Answers one request; returns whether the connection stays open."""


@attrs.frozen
class Recorded:
    """One request as it came. `connection` counts accepted connections from 1."""

    head: bytes
    body: bytes
    connection: int

    @property
    def line(self) -> str:
        """The request line, e.g. "POST /api/status HTTP/1.1"."""
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}


@attrs.define
class Recorder:
    """What was received, and what to do next. `arrived` is set at the first recorded request."""

    port: int = 0
    requests: list[Recorded] = attrs.Factory(list)
    connections: int = 0
    open_connections: int = 0
    most_open: int = 0
    script: deque[Action] = attrs.Factory(deque)
    default: Action | None = None
    arrived: trio.Event = attrs.Factory(trio.Event)
    all_closed: trio.Event = attrs.Factory(trio.Event)

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serves one connection until either side has enough."""
        self.connections += 1
        self.open_connections += 1
        self.most_open = max(self.most_open, self.open_connections)
        self.all_closed = trio.Event() if self.all_closed.is_set() else self.all_closed
        number = self.connections
        try:
            async with stream:
                await self._exchanges(stream, number)
        except trio.BrokenResourceError:
            pass  # the client broke off, as many tests want it to
        finally:
            self.open_connections -= 1
            if self.open_connections == 0:
                self.all_closed.set()

    async def _exchanges(self, stream: trio.abc.Stream, number: int) -> None:
        while True:
            request = await read_request(stream, number)
            if request is None:
                return
            self.requests.append(request)
            action = self.script.popleft() if self.script else self.default or answer()
            self.arrived.set()
            if not await action(stream):
                return


@asynccontextmanager
async def listening(serve: Callable[[trio.abc.Stream], Awaitable[None]]) -> AsyncIterator[int]:
    """Serves connections to a free loopback port, which it yields, until the end of the block."""
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def recording() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    async with listening(recorder.serve) as recorder.port:
        yield recorder


async def read_request(stream: trio.abc.Stream, number: int) -> Recorded | None:
    """The next request on this connection; None at its end."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some()
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(Recorded(head, b"", number).headers.get("content-length", "0"))
    while len(body) < length:
        more = await stream.receive_some()
        if not more:
            return None
        body += more
    return Recorded(head, body, number)


def answer(
    status: int = 200, body: bytes = b"0", headers: tuple[tuple[str, str], ...] = (), after_s: float = 0.0
) -> Action:
    """A whole answer, given after so many seconds; the connection stays open."""

    async def act(stream: trio.abc.Stream) -> bool:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        await trio.sleep(after_s)
        head = f"HTTP/1.1 {status} Words\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        await stream.send_all(head.encode() + body)
        return True

    return act


def raw(data: bytes, *, keep: bool = False) -> Action:
    """These bytes, whatever they are; then the connection is closed unless `keep`."""

    async def act(stream: trio.abc.Stream) -> bool:
        await stream.send_all(data)
        return keep

    return act


def reset() -> Action:
    async def act(stream: trio.abc.Stream) -> bool:
        assert isinstance(stream, trio.SocketStream)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    return act


def stall() -> Action:
    """No answer, for as long as the client stays."""

    async def act(stream: trio.abc.Stream) -> bool:
        return bool(await stream.receive_some())

    return act


def hang_up_after(first: Action) -> Action:
    """An answer, then a close that the answer did not announce."""

    async def act(stream: trio.abc.Stream) -> bool:
        await first(stream)
        return False

    return act


def endless(size_bytes: int) -> Action:
    async def act(stream: trio.abc.Stream) -> bool:
        await stream.send_all(f"HTTP/1.1 200 OK\r\nContent-Length: {size_bytes}\r\n\r\n".encode())
        sent = 0
        while sent < size_bytes:
            piece = min(65536, size_bytes - sent)
            await stream.send_all(b"x" * piece)
            sent += piece
        return True

    return act
