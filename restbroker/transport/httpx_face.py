"""httpx's surface over our sockets: `httpx.AsyncClient(transport=LeanTransport(pool, target.url))`, under Trio.

For code that is written for httpx. Nothing in the package is: lanes, probes, tokens and `check` send through a
`Transport`. Always holds: an error says what the server can have seen. `ConnectError`, `ConnectTimeout`, `PoolTimeout`
and `LocalProtocolError`: nothing; `ReadError`, `ReadTimeout` and `RemoteProtocolError`: perhaps all of the request.

Unlike httpx' own transport: it speaks to one server; a request's stream is read first and has a length; an answer is
read whole; the read time-out bounds the whole exchange, and a wait for a connection too, other time-outs are the
target's; and a safe method is sent again where a kept connection ends before an answer.
"""

import math
from typing import Final

import httpx

from restbroker.config.target import Url
from restbroker.transport.answer import Garbled, Headers
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request, Response, Transport

BODY_LIMIT_BYTES: Final = 8 * 1024 * 1024
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_PORTS: Final = {"http": 80, "https": 443}


class LeanTransport(httpx.AsyncBaseTransport):
    """`url` is where `pool` connects to. Closed with its client, as httpx does with what it is given."""

    def __init__(self, pool: Transport, url: Url, *, body_limit_bytes: int = BODY_LIMIT_BYTES) -> None:
        self._pool = pool
        self._url = url
        self._body_limit_bytes = body_limit_bytes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Called by httpx. Raises its errors."""
        self._refuse_others(request)
        body = await request.aread()
        asked = Request(
            request.method,
            request.url.raw_path.decode("ascii"),
            _timeout_s(request),
            headers=_headers_of(request),
            body=body,
            body_limit_bytes=self._body_limit_bytes,
            repeatable=request.method in _SAFE,
        )
        try:
            answer = await self._pool.send(asked)
        except NotSent as error:
            raise _not_sent(error, request) from error
        except MaybeSent as error:
            raise _maybe_sent(error, request) from error
        if answer.truncated:
            raise httpx.ReadError(f"The answer has more than {self._body_limit_bytes} bytes.", request=request)
        return httpx.Response(answer.status, headers=_raw(answer), stream=httpx.ByteStream(answer.body))

    async def aclose(self) -> None:
        """Called by httpx."""
        await self._pool.aclose()

    def _refuse_others(self, request: httpx.Request) -> None:
        url = request.url
        port = url.port or _PORTS.get(url.scheme)
        if (url.scheme, url.host, port) != (self._url.scheme, self._url.host, self._url.port):
            raise httpx.UnsupportedProtocol(f"This client speaks to {self._url.origin} only.", request=request)


def _timeout_s(request: httpx.Request) -> float:
    read_s = request.extensions.get("timeout", {}).get("read")
    return math.inf if read_s is None else read_s


def _headers_of(request: httpx.Request) -> tuple[tuple[str, str], ...]:
    """The client's own `Host` is left to the target, which may have another one."""
    own = (b"host", request.url.netloc)
    raw = [(name, value) for name, value in request.headers.raw if (name.lower(), value) != own]
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw)


def _raw(answer: Response) -> list[tuple[bytes, bytes]]:
    """Each as it came, if that is known: cookies cannot be joined."""
    if isinstance(answer.headers, Headers):
        return answer.headers.raw
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]


def _not_sent(error: NotSent, request: httpx.Request) -> httpx.TransportError:
    if error.by_request:
        return httpx.LocalProtocolError(error.message, request=request)
    if error.busy:
        return httpx.PoolTimeout(error.message, request=request)
    if error.timed_out:
        return httpx.ConnectTimeout(error.message, request=request)
    return httpx.ConnectError(error.message, request=request)


def _maybe_sent(error: MaybeSent, request: httpx.Request) -> httpx.TransportError:
    if error.timed_out:
        return httpx.ReadTimeout(error.message, request=request)
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, Garbled):
        cause = cause.__cause__
    if cause is not None:
        return httpx.RemoteProtocolError(error.message, request=request)
    return httpx.ReadError(error.message, request=request)
