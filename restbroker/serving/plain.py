"""Serves machines that send many requests: an app that answers from one function, and one connection of HTTP/1.1.

Called by the rooms that serve machines. Always holds, as in `serving.app`: JSON answers that are not cached, framed or
sniffed, and no traceback; of a failure its kind is reported, and no part of the request, which may hold a secret.

`serving.runner` uses `PlainHttp`, request after request in one task, in the place of Hypercorn's own connection for
apps that need neither WebSockets nor HTTP/2 nor anything beside an answer: a task group, queues and events for each
request are most of what a small one costs there. No request begins once the process stops, and a connection that waits
for one ends at once; a client that sends no whole head in time is dropped.
"""

import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final, Protocol, TypeAlias

import trio

from restbroker.light import define, field, frozen
from restbroker.serving.connections import ConnectionLimits, Connections
from restbroker.serving.requests import PART_BYTES, BadRequest, IncomingRequest, RequestLines, Requests, restore_bytes
from restbroker.telemetry.events import OperatorWarning, Report

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
JSON: Final = b"application/json; charset=utf-8"
_HEADERS: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_REST_S: Final = 0.5
"""Seconds for which an unneeded body is read on, so that its sender gets the answer before the connection ends."""
_REST_PARTS: Final = 16
_CLOSE: Final = (b"connection", b"close")
_CUT_OFF: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
_LAST_CHUNK: Final = b"0\r\n\r\n"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


async def _no_part() -> bytes | None:
    return b""


@frozen
class HttpRequest:
    """A request. `target` is the path with its query as they came; names of headers are in lower case.

    `client` is the other end's address, "" if it is gone. `read_part` waits for the next part of the body and returns
    it: b"" at the end, None if the body breaks off. `body` is the whole one if it came with the head, as short ones do;
    None means that it must be read.
    """

    method: str
    target: bytes
    headers: Sequence[tuple[bytes, bytes]]
    client: str = ""
    read_part: Callable[[], Awaitable[bytes | None]] = _no_part
    body: bytes | None = None

    def header(self, name: bytes) -> bytes:
        """Return the first header of this name (in lower case); b"" if there is none."""
        return next((value for given, value in self.headers if given == name), b"")


@frozen
class HttpAnswer:
    """An answer; `content_type` is that of its body, b"" without one. `closing`: the connection ends behind it."""

    status: int
    body: bytes
    headers: Headers = ()
    closing: bool = False
    content_type: bytes = JSON

    @property
    def all_headers(self) -> Headers:
        """All that it says of itself."""
        what = ((b"content-type", self.content_type),) if self.content_type else ()
        return (*what, *_HEADERS, (b"content-length", b"%d" % len(self.body)), *self.headers)


def error_answer(
    status: int, code: str, message: str, hint: str | None = None, *headers: tuple[bytes, bytes], closing: bool = False
) -> HttpAnswer:
    """Return an error as JSON: what happened and what to do next."""
    body = json.dumps({"error": {"code": code, "message": message, "hint": hint}}).encode() + b"\n"
    return HttpAnswer(status, body, headers, closing)


@frozen
class PlainApp:
    """An app of one function. `name` is for messages.

    `reads_bodies`: whether it reads the bodies of requests; if it does not, addresses may hold any bytes (see
    `RequestLines`).
    """

    name: str
    answer: Callable[[HttpRequest], Awaitable[HttpAnswer]]
    report: Report
    reads_bodies: bool = True

    async def respond(self, request: HttpRequest) -> HttpAnswer:
        """Return the answer to this request, 500 if making it fails."""
        try:
            return await self.answer(request)
        except Exception as error:  # noqa: BLE001  a stranger's request must not end a broker
            what = f"{self.name}: failed with {type(error).__name__}."
            self.report(OperatorWarning("RequestFailed", what, "Please report this."))
            return error_answer(500, "Bug", "This request failed.", "Please report this.")


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


@define(eq=False)
class PlainHttp:
    """One connection. `keep_alive_s`: how many seconds it may take until a whole head is there.

    `rest_s`: how many seconds it may rest after a success, until the first byte of the next head is there.
    If the app reads no bodies, one is not what its sender wrote (`_lines`), so the connection ends behind it.
    """

    app: PlainApp
    stream: Stream
    connections: Connections
    keep_alive_s: float
    rest_s: float
    client: str = ""
    """The address of the other end."""
    _lines: RequestLines = field(factory=RequestLines)
    _requests: Requests = field(factory=Requests)
    _request: IncomingRequest = field(factory=IncomingRequest)
    _goes_on: bool = True
    _is_answered: bool = True
    """Whether the answer to the last request has begun, so that nothing else can be said."""

    async def serve(self) -> None:
        """Serve requests until either end closes, or the process stops, and close; raise nothing of the network."""
        try:
            with self.connections.bound_connection(self.keep_alive_s) as life:
                # As the process stops none is begun: what would be done of it could not be confirmed.
                while (request := await self._next(life)) is not None and not self.connections.is_hurried:
                    life.end_wait()
                    self._request, self._is_answered = request, False
                    answer = await self.app.respond(self._describe(request))
                    await self._send(answer)
                    await self._drop_rest()
                    if self.connections.is_hurried or not self._goes_on:
                        break
                    rests = answer.status // 100 == 2 and not self._requests.is_begun
                    life.start_wait(self.rest_s if rests else self.keep_alive_s)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except BadRequest as error:
            await self._refuse(error.status)
        finally:
            with trio.move_on_after(1.0, shield=True):
                await self.stream.aclose()

    async def _next(self, life: ConnectionLimits) -> IncomingRequest | None:
        """Return the next request, or None if no more comes; raise `BadRequest`."""
        while (request := self._requests.take()) is None:
            was_begun = self._requests.is_begun
            if not await self._read():
                return None
            if self._requests.is_begun and not was_begun:
                life.start_wait(self.keep_alive_s)
        return request

    async def _read(self) -> bool:
        """Read on; return False at the end."""
        data = bytes(await self.stream.receive_some(PART_BYTES))
        self._requests.feed(data if self.app.reads_bodies else self._lines.ascii(data))
        return bool(data)

    def _describe(self, request: IncomingRequest) -> HttpRequest:
        target = _origin(request.target)
        target = target if self.app.reads_bodies else restore_bytes(target)
        body = b"".join(request.parts) if request.is_whole else None
        return HttpRequest(request.method, target, request.headers, self.client, self._part, body)

    async def _part(self) -> bytes | None:
        """Return what came of the body, after waiting for some, as `Request.read_part` says."""
        request = self._request
        try:
            if request.waits_for_continue and not self._is_answered:
                request.is_continued = True
                await self.stream.send_all(_CONTINUE)
            while not request.parts and not request.is_whole:
                if self._requests.is_broken or not await self._read():
                    return None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return None
        body = b"".join(request.parts)
        request.parts.clear()
        return body

    async def _send(self, answer: HttpAnswer) -> None:
        """Send the answer; a small one is one packet."""
        self._goes_on = self._may_go_on(answer.status) and not answer.closing
        headers = answer.all_headers if self._goes_on else (*answer.all_headers, _CLOSE)
        body = b"" if self._request.method == "HEAD" else answer.body
        head = _head(answer.status, headers) + _date(int(time.time()))
        self._is_answered = True
        await self.stream.send_all(head + body)

    def _may_go_on(self, status: int) -> bool:
        # What is left of such a body, or cannot be read, is not waited for.
        if status in _CUT_OFF or self._requests.is_broken:
            return False
        if self.connections.is_hurried or (not self.app.reads_bodies and self._request.has_body):
            return False
        if not self._request.is_whole and self._request.is_chunked:
            return False
        return self._request.keeps_alive

    async def _drop_rest(self) -> None:
        """Read on what was refused and is on its way: otherwise its answer is lost with the connection."""
        if self._request.is_whole or not self.app.reads_bodies:
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
        return bool(await self._part())

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
def _head(status: int, headers: Headers) -> bytes:
    """Return the lines of an answer before its date; raise `ValueError` for a header that would be two."""
    lines = b"".join([name + b": " + value + b"\r\n" for name, value in headers])
    if lines.count(b"\n") + lines.count(b"\r") > 2 * len(headers):
        raise ValueError("a header has a line break in it")
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode() + lines


@lru_cache(maxsize=2)
def _date(now_s: int) -> bytes:
    return b"date: " + formatdate(now_s, usegmt=True).encode() + b"\r\n\r\n"
