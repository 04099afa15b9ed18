"""Opens a stream of events of a target (server-sent events), and reads one event after the other. `events` uses it.

Always holds: exactly the headers of the request are sent, no redirect is followed, and the status is known before
anything is read; an end is reported as one, in every form; no event is larger than the limit, and silence has an end.
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

import httpx
import trio
from httpx_sse import EventSource, ServerSentEvent, SSEError

from restbroker.config.target import Target
from restbroker.config.tls import context_of
from restbroker.config.values import duration_text
from restbroker.light import define, field, frozen_plain
from restbroker.transport.connect import addresses_of
from restbroker.transport.httpx_client import describe_error, open_httpx, proxy_refusal, written
from restbroker.transport.message import NotSent, Request

Reason: TypeAlias = Literal["ended", "silent", "large", "other"]
"""Why a stream ended.

"ended": it ended, or broke. "silent": nothing came for too long. "large": an event was larger than the limit. "other":
the answer is not a stream of events.
"""

_CLOSE_S: Final = 1.0
_MOST_AT_ONCE: Final = 65_536
"""The most bytes that are taken from a connection at once; if this many came, more may be waiting behind them."""
_UNDER_WAY_S: Final = 1.0
"""Seconds that bytes may be under way, or held by the server's kernel until those before them are acknowledged."""
_BOM: Final = b"\xef\xbb\xbf"
_BLANKS: Final = b"\r\n"


class StreamEnded(Exception):
    """No event comes any more, for `reason`; `describe_error` is the text, which repeats nothing from the server."""

    def __init__(self, reason: Reason, describe_error: str) -> None:
        super().__init__(describe_error)
        self.reason: Final = reason


_ENDS: Final = (StreamEnded, httpx.HTTPError, httpx.StreamError, OSError, trio.ClosedResourceError)


@frozen_plain
class Frame:
    """One event: its name (`message` where it has none) and its data."""

    name: str
    data: str


@define(eq=False)
class StreamBytes(httpx.AsyncByteStream):
    """The bytes that come, without a byte order mark; raises `StreamEnded` if one event has more than `limit_bytes`."""

    _under: httpx.AsyncByteStream
    limit_bytes: int
    size_bytes: int = 0
    """Bytes since the last event; bytes that come in one piece with its end are not counted."""
    sent_after_s: float = field(factory=time.time)
    """What came last was sent after this (epoch seconds), as nothing was left to read at an earlier read."""
    _drained_s: float = field(factory=time.time)
    _parts: AsyncIterator[bytes] | None = None
    _begun: bytes | None = b""
    heartbeat_s: float = 0.0
    """When a heartbeat came last, which is blank lines alone (epoch seconds); 0.0: never."""
    heartbeats: int = 0
    """How often they came."""

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
            self.heartbeat_s, self.heartbeats = time.time(), self.heartbeats + 1
        return part

    def _without_mark(self, part: bytes) -> bytes:
        begun = (self._begun or b"") + part
        if len(begun) < len(_BOM) and _BOM.startswith(begun):
            self._begun = begun
            return b""
        self._begun = None
        return begun.removeprefix(_BOM)

    async def aclose(self) -> None:
        """Close what is under it."""
        await self._under.aclose()

    async def drain(self) -> None:
        """Read to the end, which comes at once where the connection is closed; raise the error that this looks like."""
        if self._parts is not None:
            async for _ in self._parts:
                pass


class EventStream:
    """One stream that the server has answered; `status` and `headers` (lower-case names) are its answer's.

    `came`: what came over it so far.
    """

    def __init__(self, http: httpx.AsyncHTTPTransport, answer: httpx.Response, limit_bytes: int) -> None:
        assert isinstance(answer.stream, httpx.AsyncByteStream)  # noqa: S101  as httpx has it
        self.status: Final = answer.status_code
        self.headers: Final[Mapping[str, str]] = {name.lower(): value for name, value in answer.headers.items()}
        self._http = http
        self._answer = answer
        self.came: Final = StreamBytes(answer.stream, limit_bytes)
        whole = httpx.Response(answer.status_code, headers=answer.headers, stream=self.came)
        self._events = EventSource(whole).aiter_sse()

    async def next(self) -> Frame:
        """Wait for the next event and return it; raise `StreamEnded` if none comes any more.

        When cancelled while it waits, the stream is over.
        """
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
                raise StreamEnded("ended", describe_error(error)) from error
            self.came.size_bytes = 0
            if (frame := _frame(event)) is not None:
                return frame

    async def aclose(self) -> None:
        """Close the connection, also when cancelled."""
        with trio.move_on_after(_CLOSE_S, shield=True):
            # First the connection: then a read fails, and each generator within httpx ends by itself. One that is left
            # in the middle is found by the garbage collector, of which Trio complains.
            await self._http.aclose()
            with contextlib.suppress(*_ENDS):
                async with aclosing(self._events):
                    async for _ in self._events:
                        pass
            with contextlib.suppress(*_ENDS):
                await self.came.drain()
            await self._answer.aclose()


def _frame(event: ServerSentEvent) -> Frame | None:
    """Return the event as a `Frame`, or None if it has no data, which the standard says is no event."""
    return Frame(event.event, event.data) if event.data else None


async def open_stream(
    target: Target, request: Request, *, silence_s: float, limit_bytes: int, tls: ssl.SSLContext | None = None
) -> EventStream:
    """Request a stream, and return it when the head of the answer has come, within `request.timeout_s` seconds.

    The caller must `aclose` it in any case. After `silence_s` seconds in which nothing came, the stream ends. An event
    of more than `limit_bytes` ends it. Raise `NotSent`, even where the server may have opened a stream: it is closed.
    """
    url = target.url
    if tls is None:
        tls = context_of(target.tls) if url.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    timeouts = {"connect": target.connect_timeout_s, "read": silence_s, "write": silence_s, "pool": math.inf}
    http = open_httpx(target, tls, httpx.Limits(max_connections=1))
    try:
        with trio.fail_after(request.timeout_s):
            message = written(target, request, timeouts)
            message.url = message.url.copy_with(host=(await addresses_of(target))[0])
            return EventStream(http, await http.handle_async_request(message), limit_bytes)
    except BaseException as error:
        with trio.move_on_after(_CLOSE_S, shield=True):
            await http.aclose()
        if isinstance(error, trio.TooSlowError):
            raise NotSent(f"{url} did not answer within {duration_text(request.timeout_s)}.", timed_out=True) from None
        if isinstance(error, httpx.ProxyError):
            raise proxy_refusal(target, str(error)) from None
        if isinstance(error, httpx.HTTPError | OSError | UnicodeError):
            raise NotSent(f"No stream from {url}: {describe_error(error)}.") from error
        raise
