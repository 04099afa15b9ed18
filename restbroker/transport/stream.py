"""Opens a stream of events of a target (server-sent events), and reads one event after the other. `events` uses it.

Always holds: exactly the headers that are given are sent, no redirect is followed, and a status is told before anything
is read; an end is told as one, whatever it looked like; no event is larger than the limit, and silence has an end.
httpx-sse reads the format; what it leaves to others is done here: a byte order mark, an event without data, a stream
that ends in the middle, and how much may lie in memory.
"""

import contextlib
import math
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Final, Literal, Self, TypeAlias

import attrs
import httpx
import trio
from httpx_sse import EventSource, ServerSentEvent, SSEError

from restbroker.config.target import Target
from restbroker.config.tls import context_of
from restbroker.config.values import duration_text
from restbroker.light import light
from restbroker.transport.dial import addresses_of
from restbroker.transport.errors import NotSent
from restbroker.transport.head import headers_of
from restbroker.transport.message import Request
from restbroker.transport.stock import why

Reason: TypeAlias = Literal["ended", "silent", "large", "other"]
"""It ended, or broke; nothing came for too long; an event was larger than the limit; it is no stream of events."""

_CLOSE_S: Final = 1.0
_MOST_AT_ONCE: Final = 65_536
"""So much is taken from a connection at once; behind that, more may have come before."""
_UNDER_WAY_S: Final = 1.0
"""So long what was sent may be under way, or held by the server's kernel until what went before it is acknowledged."""
_BOM: Final = b"\xef\xbb\xbf"
_BLANKS: Final = b"\r\n"


class StreamEnded(Exception):
    """No event comes any more. The text repeats nothing of what came."""

    def __init__(self, reason: Reason, why: str) -> None:
        super().__init__(why)
        self.reason: Final = reason
        self.why: Final = why


_ENDS: Final = (StreamEnded, httpx.HTTPError, httpx.StreamError, OSError, trio.ClosedResourceError)


@light
class Frame:
    """One event: its name (`message` where it says none) and its data."""

    name: str
    data: str


@attrs.define(eq=False)
class _Bytes(httpx.AsyncByteStream):
    """What comes, without a byte order mark, until more came since the last event than one may have."""

    _under: httpx.AsyncByteStream
    limit_bytes: int
    size_bytes: int = 0
    """Since the last event. What comes in one piece with its end is not counted."""
    sent_after_s: float = attrs.field(factory=time.time)
    """What came last was sent after this (seconds since 1970): nothing was left when it was asked for before."""
    _drained_s: float = attrs.field(factory=time.time)
    _parts: AsyncIterator[bytes] | None = None
    _begun: bytes | None = b""
    heartbeat_s: float = 0.0
    """When blank lines alone came the last time (epoch seconds)."""

    def __aiter__(self) -> Self:
        self._parts = aiter(self._under)
        return self

    async def __anext__(self) -> bytes:
        assert self._parts is not None  # noqa: S101  as httpx begins by asking for an iterator
        if self.size_bytes > self.limit_bytes:
            raise StreamEnded("large", f"an event has more than {self.limit_bytes} bytes")
        asked_s = time.time()
        part = await anext(self._parts)
        self.sent_after_s = self._drained_s - _UNDER_WAY_S
        if len(part) < _MOST_AT_ONCE:
            self._drained_s = asked_s
        if self._begun is not None:
            part = self._without_mark(part)
        # A heartbeat is no part of an event.
        if part.strip(_BLANKS):
            self.size_bytes += len(part)
        else:
            self.heartbeat_s = time.time()
        return part

    def _without_mark(self, part: bytes) -> bytes:
        begun = (self._begun or b"") + part
        if len(begun) < len(_BOM) and _BOM.startswith(begun):
            self._begun = begun
            return b""
        self._begun = None
        return begun.removeprefix(_BOM)

    async def aclose(self) -> None:
        await self._under.aclose()

    async def drain(self) -> None:
        """Reads to the end, which comes at once where the connection is closed. Raises what that looks like."""
        if self._parts is not None:
            async for _ in self._parts:
                pass


class EventStream:
    """One stream that the server has answered; `status` and `headers` (lower case) are its answer's."""

    def __init__(self, http: httpx.AsyncHTTPTransport, answer: httpx.Response, limit_bytes: int) -> None:
        assert isinstance(answer.stream, httpx.AsyncByteStream)  # noqa: S101  as httpx has it
        self.status: Final = answer.status_code
        self.headers: Final[Mapping[str, str]] = {name.lower(): value for name, value in answer.headers.items()}
        self._http = http
        self._answer = answer
        self._bytes = _Bytes(answer.stream, limit_bytes)
        whole = httpx.Response(answer.status_code, headers=answer.headers, stream=self._bytes)
        self._events = EventSource(whole).aiter_sse()

    @property
    def sent_after_s(self) -> float:
        """What came last was sent after this (seconds since 1970)."""
        return self._bytes.sent_after_s

    @property
    def heartbeat_s(self) -> float:
        """When the last heartbeat came (epoch seconds), which is a blank line; 0: none did."""
        return self._bytes.heartbeat_s

    async def next(self) -> Frame:
        """The next event. Raises `StreamEnded`; cancelled while it waits, the stream is over."""
        while True:
            try:
                event = await anext(self._events)
            except StopAsyncIteration:
                raise StreamEnded("ended", "the server closed it") from None
            except httpx.ReadTimeout:
                raise StreamEnded("silent", "nothing came, not even a heartbeat") from None
            except SSEError:
                raise StreamEnded("other", "the answer is not an event stream") from None
            except (httpx.HTTPError, OSError) as error:
                raise StreamEnded("ended", why(error)) from error
            self._bytes.size_bytes = 0
            if (frame := _frame(event)) is not None:
                return frame

    async def aclose(self) -> None:
        """Closes the connection, also when cancelled."""
        with trio.move_on_after(_CLOSE_S, shield=True):
            # First the connection: then a read fails, and each generator within httpx ends by itself. One that is left
            # in the middle is found by the garbage collector, of which Trio complains.
            await self._http.aclose()
            with contextlib.suppress(*_ENDS):
                async with aclosing(self._events):
                    async for _ in self._events:
                        pass
            with contextlib.suppress(*_ENDS):
                await self._bytes.drain()
            await self._answer.aclose()


def _frame(event: ServerSentEvent) -> Frame | None:
    """None: it has no data, and the standard says that it is none."""
    return Frame(event.event, event.data) if event.data else None


async def open_stream(
    target: Target, request: Request, *, silence_s: float, limit_bytes: int, tls: ssl.SSLContext | None = None
) -> EventStream:
    """Asks for a stream, and returns when its head has come, within `request.timeout_s`. `aclose` it in any case.

    `silence_s`: so long nothing may come. Raises `NotSent`, also where the server may have opened one: it is closed.
    """
    url = target.url
    if tls is None:
        tls = context_of(target.tls) if url.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    http = httpx.AsyncHTTPTransport(verify=tls, trust_env=False, limits=httpx.Limits(max_connections=1), uds=url.socket)
    try:
        with trio.fail_after(request.timeout_s):
            message = await _message(target, request, silence_s)
            return EventStream(http, await http.handle_async_request(message), limit_bytes)
    except BaseException as error:
        with trio.move_on_after(_CLOSE_S, shield=True):
            await http.aclose()
        if isinstance(error, trio.TooSlowError):
            raise NotSent(f"{url} did not answer within {duration_text(request.timeout_s)}.", timed_out=True) from None
        if isinstance(error, httpx.HTTPError | OSError | UnicodeError):
            raise NotSent(f"No stream from {url}: {why(error)}.") from error
        raise


async def _message(target: Target, request: Request, silence_s: float) -> httpx.Request:
    host = (await addresses_of(target))[0]
    timeouts = {"connect": target.connect_timeout_s, "read": silence_s, "write": silence_s, "pool": math.inf}
    try:
        url = httpx.URL(target.url.origin + request.path, params=request.query or None).copy_with(host=host)
        headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers_of(target, request)]
    except (httpx.InvalidURL, UnicodeEncodeError):
        raise NotSent("The request for a stream cannot be sent.", by_request=True) from None
    extensions = {"timeout": timeouts, "sni_hostname": target.url.host}
    return httpx.Request(request.method, url, headers=headers, extensions=extensions)
