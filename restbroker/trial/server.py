"""A small HTTP server for stand-ins, which can go down, come up again, and reset a request.

Used by `environment` and `stand_in`. Always holds: listens on loopback only; while it is down its port refuses
connections as that of a stopped server does; a request that is not answered ends in a reset, so that its client cannot
know whether it was executed.
"""

import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final

import attrs
import trio

from restbroker.job.json_types import Json

_MOST_BYTES: Final = 65536


@attrs.frozen
class ReceivedCommand:
    """One request as a stand-in understood it: the command, its arguments, and the status of the answer.

    `request`: its method and path, as they are shown to users.
    """

    command: str
    arguments: Mapping[str, Json]
    status: int
    request: str = attrs.field(default="", eq=False)


@attrs.define(eq=False)
class Exchange:
    """One request, with methods to answer it. `path` is as it was sent; `headers` have lower-case names."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    _stream: trio.SocketStream
    is_answered: bool = False

    @property
    def command(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    async def answer(self, status: int, value: Json) -> None:
        """Send the answer, with `value` written as ejabberd writes JSON."""
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(body)}", "", ""]
        await self._stream.send_all("\r\n".join(lines).encode() + body)
        self.is_answered = True


@attrs.define(eq=False)
class Server:
    """A server whose `port` stays the same all the time.

    `handle` answers each request, or ends without an answer to have it reset.
    """

    handle: Callable[[Exchange], Awaitable[None]]
    port: int = 0
    _wanted: trio.Event = attrs.field(factory=trio.Event)
    _up: trio.Event = attrs.field(factory=trio.Event)
    _down: trio.Event = attrs.field(factory=trio.Event)
    _serving: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, with a gap for each `go_down`; report its port by `task_status`."""
        while True:
            (listener,) = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
            self.port = listener.socket.getsockname()[1]
            self._up.set()
            task_status.started(self.port)
            task_status = trio.TASK_STATUS_IGNORED
            with trio.CancelScope() as self._serving:
                await trio.serve_listeners(self._serve, [listener])
            self._down.set()
            await self._wanted.wait()

    async def go_down(self) -> None:
        """Cut every connection and refuse new ones, as a killed server does; return once it is down."""
        self._wanted, self._up, self._down = trio.Event(), trio.Event(), trio.Event()
        self._serving.cancel()
        # Until then a request may still come in, and be cut off without an answer.
        await self._down.wait()

    async def come_up(self) -> None:
        """Serve again; return once it accepts connections."""
        self._wanted.set()
        await self._up.wait()

    async def _serve(self, stream: trio.SocketStream) -> None:
        exchange = None
        try:
            while (exchange := await _receive(stream)) is not None:
                await self.handle(exchange)
                if not exchange.is_answered:
                    return
        except trio.BrokenResourceError:
            return  # the client was killed
        finally:
            if exchange is not None and not exchange.is_answered:
                # Makes a reset of the close that follows.
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await trio.aclose_forcefully(stream)


async def _receive(stream: trio.SocketStream) -> Exchange | None:
    """Return the next request, None after the last; a client sends one when the one before was answered."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (more := await stream.receive_some(_MOST_BYTES)):
            return None
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    request, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    while len(body) < int(headers.get("content-length", "0")):
        if not (more := await stream.receive_some(_MOST_BYTES)):
            return None
        body += more
    method, path, _ = request.split(" ")
    return Exchange(method, path, headers, body=body, stream=stream)
