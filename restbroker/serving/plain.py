"""Serves machines that send many requests: an app that answers from one function, and one connection of HTTP/1.1.

Called by the rooms that serve machines. Always holds, as in `serving.app`: JSON answers that are not cached, framed or
sniffed, and no traceback; of a failure its kind is reported, and no part of the request, which may hold a secret.

`serving.runner` uses `PlainHttp`, request after request in one task, in the place of Hypercorn's own connection for
apps that need neither WebSockets nor HTTP/2 nor anything beside an answer: a task group, queues and events for each
request are most of what a small one costs there. No request begins once the process stops, and a connection that waits
for one ends at once; a client that sends no whole head in time is dropped; what an app raises ends its connection
alone. An app says how long its answer is.
"""

import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final, Protocol
from urllib.parse import unquote

import attrs
import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    ConnectionState,
    HTTPScope,
    Scope,
)

from restbroker.serving.connections import Connections, restore_bytes
from restbroker.serving.requests import PART_BYTES, IncomingRequest, Requests, Unreadable
from restbroker.telemetry.events import OperatorWarning, Report

_HEADERS = (
    (b"content-type", b"application/json; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
_REST_S: Final = 0.5
"""Seconds for which an unneeded body is read on, so that its sender gets the answer before the connection ends."""
_REST_PARTS: Final = 16
_CLOSE: Final = (b"connection", b"close")
_CUT_OFF: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
_LAST_CHUNK: Final = b"0\r\n\r\n"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@attrs.frozen
class Request:
    """A request. `target` is the path with its query as they came; names of headers are in lower case."""

    method: str
    target: bytes
    headers: Iterable[tuple[bytes, bytes]]

    def header(self, name: bytes) -> bytes:
        """Return the first header of this name (in lower case); b"" if there is none."""
        return next((value for given, value in self.headers if given.lower() == name), b"")


@attrs.frozen
class Answer:
    """An answer; `body` is JSON. `closing`: the connection (of HTTP/1) ends behind it."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    closing: bool = False


def error_answer(
    status: int, code: str, message: str, hint: str | None = None, *headers: tuple[bytes, bytes], closing: bool = False
) -> Answer:
    """Return an error as JSON: what happened and what to do next."""
    body = json.dumps({"error": {"code": code, "message": message, "hint": hint}}).encode() + b"\n"
    return Answer(status, body, headers, closing)


def plain_app(name: str, answer: Callable[[Request], Awaitable[Answer]], report: Report) -> ASGIFramework:
    """Return the app, which answers 500 if `answer` raises. `name` is for messages."""

    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan":
            await _run_lifespan(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000, "reason": None})
        elif scope["type"] == "http":
            try:
                found = await answer(_read_request(scope))
            except Exception as error:  # noqa: BLE001  a stranger's request must not end a broker
                report(
                    OperatorWarning(
                        "RequestFailed", f"{name}: failed with {type(error).__name__}.", "Please report this."
                    )
                )
                found = error_answer(500, "Bug", "This request failed.", "Please report this.")
            await send_answer(found, send, closing=found.closing and scope["http_version"].startswith("1"))

    return app


def _read_request(scope: HTTPScope) -> Request:
    query = scope["query_string"]
    return Request(
        scope["method"], restore_bytes(scope["raw_path"] + (b"?" + query if query else b"")), scope["headers"]
    )


async def send_answer(answer: Answer, send: ASGISendCallable, *, closing: bool) -> None:
    """Send the whole answer, as ASGI says. `closing`: the connection of HTTP/1 ends behind it."""
    length = (b"content-length", b"%d" % len(answer.body))
    headers = [*_HEADERS, length, *answer.headers, *([(b"connection", b"close")] if closing else [])]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


async def _run_lifespan(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


class Stream(Protocol):
    """The methods of a connection that `PlainHttp` uses, with TLS or without."""

    async def send_all(self, data: bytes) -> None:
        """Send all the data; raise `trio.BrokenResourceError` if the connection breaks."""
        ...

    async def receive_some(self, most: int | None = None) -> bytes | bytearray:
        """Wait for data and return it; empty at the end. Raise `trio.BrokenResourceError` if the connection breaks."""
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...


@attrs.define(eq=False)
class PlainHttp:
    """One connection. `keep_alive_s`: how many seconds it may take until a whole head is there.

    `reads_bodies`: if False, a body is not what its sender wrote (`lines`), so the connection ends behind it.
    """

    app: ASGIFramework
    stream: Stream
    connections: Connections
    keep_alive_s: float
    is_secured: bool = False
    reads_bodies: bool = True
    client: tuple[str, int] | None = None
    """The address and port of the other end."""
    _requests: Requests = attrs.field(factory=Requests)
    _request: IncomingRequest = attrs.field(factory=IncomingRequest)
    _head: bytes = b""
    _goes_on: bool = True
    _is_answered: bool = True
    """Whether the answer to the last request has begun, so that nothing else can be said."""

    async def serve(self) -> None:
        """Serve requests until either end closes, or the process stops, and close; raise nothing of the network."""
        try:
            with self.connections.bound_connection(self.keep_alive_s) as life:
                # As the process stops none is begun: what would be done of it could not be confirmed.
                while (request := await self._next()) is not None and not self.connections.is_hurried:
                    life.note_busy()
                    self._request, self._is_answered = request, False
                    await self.app(self._scope(request), self._receive, self._send)
                    await self._drop_rest()
                    if self.connections.is_hurried or not self._goes_on:
                        break
                    life.note_idle()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except Unreadable as error:
            await self._refuse(error.status)
        finally:
            with trio.move_on_after(1.0, shield=True):
                await self.stream.aclose()

    async def _next(self) -> IncomingRequest | None:
        """Return the next request, or None if no more comes; raise `Unreadable`."""
        while (request := self._requests.take()) is None:
            if not await self._read():
                return None
        return request

    async def _read(self) -> bool:
        """Read on; return False at the end."""
        data = await self.stream.receive_some(PART_BYTES)
        self._requests.feed(bytes(data))
        return bool(data)

    def _scope(self, request: IncomingRequest) -> HTTPScope:
        raw_path, _, query = _origin(request.target).partition(b"?")
        return {
            "type": "http",
            "asgi": {"spec_version": "2.3", "version": "3.0"},
            "http_version": request.version,
            "method": request.method,
            "scheme": "https" if self.is_secured else "http",
            "path": unquote(raw_path.decode("ascii")),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": request.headers,
            "client": self.client,
            "server": None,
            "state": ConnectionState({}),
            "extensions": {},
        }

    async def _receive(self) -> ASGIReceiveEvent:
        """Return what came of the body, as ASGI says, after waiting for some."""
        request = self._request
        if request.waits_for_continue and not self._is_answered:
            request.is_continued = True
            await self.stream.send_all(_CONTINUE)
        while not request.parts and not request.is_whole:
            if self._requests.is_broken or not await self._read():
                return {"type": "http.disconnect"}
        body = b"".join(request.parts)
        request.parts.clear()
        return {"type": "http.request", "body": body, "more_body": not request.is_whole}

    async def _send(self, event: ASGISendEvent) -> None:
        """Send a part of the answer, as ASGI says.

        The head waits for the first part of the body, so that a small answer is one packet.
        """
        if event["type"] == "http.response.start":
            headers = tuple(event["headers"])
            is_closing = _CLOSE in headers
            self._goes_on = self._may_go_on(event["status"]) and not is_closing
            if not self._goes_on and not is_closing:
                headers += (_CLOSE,)
            self._head = _head(event["status"], headers) + _date(int(time.time()))
        elif event["type"] == "http.response.body":
            data = self._head + (b"" if self._request.method == "HEAD" else event["body"])
            self._head, self._is_answered = b"", True
            if data:
                await self.stream.send_all(data)

    def _may_go_on(self, status: int) -> bool:
        # What is left of such a body, or cannot be read, is not waited for.
        if status in _CUT_OFF or self._requests.is_broken:
            return False
        if self.connections.is_hurried or (self._request.has_body and not self.reads_bodies):
            return False
        if self._request.is_chunked and not self._request.is_whole:
            return False
        return self._request.keeps_alive

    async def _drop_rest(self) -> None:
        """Read on what was refused and is on its way: otherwise its answer is lost with the connection."""
        if self._request.is_whole or not self.reads_bodies:
            return
        with trio.move_on_after(_REST_S):
            for _ in range(_REST_PARTS):
                if not await self._drop_part():
                    break
        self._goes_on = self._goes_on and self._request.is_whole

    async def _drop_part(self) -> bool:
        """Read a part of the body and drop it; return whether more may follow."""
        if self._request.is_chunked:
            # Not as chunks: those of a byte cost far more to read than to send.
            data = await self.stream.receive_some(PART_BYTES)
            return bool(data) and not data.endswith(_LAST_CHUNK)
        event = await self._receive()
        return event["type"] == "http.request" and event["more_body"]

    async def _refuse(self, status: int) -> None:
        if self._is_answered:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.stream.send_all(_head(status, ((b"content-length", b"0"), _CLOSE)) + _date(int(time.time())))


def _origin(target: bytes) -> bytes:
    """Return the address without the server's name, which a client may put before it (RFC 9112, 3.2.2)."""
    scheme, _, rest = target.partition(b"://")
    if target.startswith(b"/") or scheme.lower() not in (b"http", b"https"):
        return target
    return rest[rest.find(b"/") :] if b"/" in rest else b"/"


@lru_cache(maxsize=256)
def _head(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Return the lines of an answer before its date; raise `ValueError` for a header that would be two."""
    lines = [name + b": " + value + b"\r\n" for name, value in headers]
    if any(line.count(b"\n") > 1 or line.count(b"\r") > 1 for line in lines):
        raise ValueError("a header has a line break in it")
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode() + b"".join(lines)


@lru_cache(maxsize=2)
def _date(now_s: int) -> bytes:
    return b"date: " + formatdate(now_s, usegmt=True).encode() + b"\r\n\r\n"
