"""One connection of HTTP/1.1 for an app that answers machines: request after request, all in one task.

`serving.runner` uses it in the place of Hypercorn's own for apps that need neither WebSockets nor HTTP/2 nor anything
beside an answer: a task group, queues and events for each request are most of what a small one costs there (measured:
1.7 ms of the processor against 0.4). h11 reads and writes what HTTP is, as in Hypercorn. Always holds: no request
begins once the process stops, and a connection that waits for one ends at once; who sends no whole head in time is
dropped; what an app raises ends its connection alone.
"""

import contextlib
import time
from email.utils import formatdate
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import unquote

import attrs
import h11
import trio
from hypercorn.typing import ASGIFramework, ASGIReceiveEvent, ASGISendEvent, ConnectionState, HTTPScope

from restbroker.serving.connections import Connections

_HEAD_LIMIT_BYTES: Final = 16 * 1024
_PART_BYTES: Final = 64 * 1024
_REST_S: Final = 0.5
"""How long is read on what nobody wants, so that its sender gets the answer before the connection ends."""
_REST_PARTS: Final = 16


class Stream(Protocol):
    """What is needed of a connection, with TLS or without."""

    async def send_all(self, data: bytes) -> None:
        """Raises `trio.BrokenResourceError`."""
        ...

    async def receive_some(self, most: int | None = None) -> bytes | bytearray:
        """Empty at the end."""
        ...

    async def aclose(self) -> None:
        """Closes it."""
        ...


@attrs.define(eq=False)
class PlainHttp:
    """One connection. `keep_alive_s`: so long it may take until a whole head is there."""

    app: ASGIFramework
    stream: Stream
    connections: Connections
    keep_alive_s: float
    is_secured: bool = False
    _http: h11.Connection = attrs.field(
        factory=lambda: h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_LIMIT_BYTES)
    )
    _start: h11.Response | None = None
    _is_head: bool = False

    async def serve(self) -> None:
        """Until either end has enough. Raises nothing of the network."""
        try:
            while (request := await self._next()) is not None:
                await self.app(self._scope(request), self._receive, self._send)
                if not await self._goes_on():
                    break
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
        finally:
            with trio.move_on_after(1.0, shield=True):
                await self.stream.aclose()

    async def _next(self) -> h11.Request | None:
        """The head of the next request; None where there is none any more."""
        with self.connections.idling(self.keep_alive_s) as is_over:
            while not is_over():
                event = self._http.next_event()
                match event:
                    case h11.Request():
                        return event
                    case h11.NEED_DATA:
                        self._http.receive_data(bytes(await self.stream.receive_some(_PART_BYTES)))
                    case _:
                        return None
        return None

    def _scope(self, request: h11.Request) -> HTTPScope:
        raw_path, _, query = request.target.partition(b"?")
        self._is_head = request.method == b"HEAD"
        return {
            "type": "http",
            "asgi": {"spec_version": "2.3", "version": "3.0"},
            "http_version": request.http_version.decode(),
            "method": request.method.decode(),
            "scheme": "https" if self.is_secured else "http",
            "path": unquote(raw_path.decode("ascii")),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": list(request.headers),
            "client": None,
            "server": None,
            "state": ConnectionState({}),
            "extensions": {},
        }

    async def _receive(self) -> ASGIReceiveEvent:
        """A part of the body."""
        while True:
            if self._http.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            event = self._http.next_event()
            match event:
                case h11.Data(data=data):
                    return {"type": "http.request", "body": bytes(data), "more_body": True}
                case h11.EndOfMessage():
                    return {"type": "http.request", "body": b"", "more_body": False}
                case h11.NEED_DATA:
                    self._http.receive_data(bytes(await self.stream.receive_some(_PART_BYTES)))
                case _:
                    return {"type": "http.disconnect"}

    async def _send(self, event: ASGISendEvent) -> None:
        """The head waits for the first part of the body, so that a small answer is one packet."""
        if event["type"] == "http.response.start":
            headers = [*event["headers"], (b"date", _date(int(time.time())))]
            self._start = h11.Response(status_code=event["status"], headers=headers)
        elif event["type"] == "http.response.body":
            parts: list[h11.Event] = [] if self._start is None else [self._start]
            self._start = None
            parts += [h11.Data(data=event["body"])] if event["body"] and not self._is_head else []
            await self._write(*parts, *([] if event["more_body"] else [h11.EndOfMessage()]))

    async def _write(self, *events: h11.Event) -> None:
        data = b"".join([self._http.send(event) or b"" for event in events])
        if data:
            await self.stream.send_all(data)

    async def _goes_on(self) -> bool:
        """Whether another request may follow on this connection."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.SEND_BODY:
            # What was refused is still on its way. Without reading on, the answer would be lost with the connection.
            with trio.move_on_after(_REST_S):
                for _ in range(_REST_PARTS):
                    event = await self._receive()
                    if event["type"] != "http.request" or not event["more_body"]:
                        break
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return not self.connections.is_hurried

    async def _refuse(self, status: int) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [(b"content-length", b"0"), (b"connection", b"close"), (b"date", _date(int(time.time())))]
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, h11.LocalProtocolError):
                await self._write(h11.Response(status_code=status, headers=headers), h11.EndOfMessage())


@lru_cache(maxsize=2)
def _date(now_s: int) -> bytes:
    return formatdate(now_s, usegmt=True).encode()
