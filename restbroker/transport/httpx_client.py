"""The HTTP client of one target on httpx, for servers with which the lean one does not work (`"Engine": "httpx"`).

Opened by `client`. Always holds: as with the lean client.

A connection pool shared by all workers is what makes httpx slow: httpcore scans every connection for every request
(measured with httpx 0.28.1: 3.3 ms of CPU a request at 50 connections). So each connection is an httpx transport of
its own with a pool of one, and the idle ones are a stack here: the one used last is the one least likely to be stale.
"""

import math
import ssl
from collections import deque
from typing import Final, Self

import attrs
import httpx
import trio

from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.transport.connect import NEXT_S, ConnectRamp, RampClosed, addresses_of, connections_for
from restbroker.transport.errors import MaybeSent, NotSent, reason_of
from restbroker.transport.http1 import decode, headers_of
from restbroker.transport.message import Request, Response, Sender
from restbroker.transport.progress import Progress

CLOSE_GRACE_S: Final = 1.0
_FORBIDDEN: Final = "it contains something that HTTP forbids"


class _Body(httpx.AsyncByteStream):
    """A request's body in one piece, as an iterator.

    httpx's own is an async generator, which httpcore leaves half-read when writing fails; Trio warns of such.
    """

    def __init__(self, data: bytes) -> None:
        self._parts = iter((data,) if data else ())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for part in self._parts:
            return part
        raise StopAsyncIteration


@attrs.define
class _Connection:
    """One kept-alive connection. Times are on Trio's clock."""

    http: httpx.AsyncHTTPTransport
    opened_at_s: float
    hosts: list[str]
    """The hosts to connect to, until one can be reached: the URL's host, or the public addresses that it means."""
    idle_since_s: float = 0.0


class HttpxClient:
    """The `Transport` of one target over httpx."""

    def __init__(self, target: Target, tls: ssl.SSLContext) -> None:
        self._target = target
        self._secrets = target.all_secrets
        self._tls = tls
        self._places = trio.Semaphore(connections_for(target))
        self._idle: deque[_Connection] = deque()
        self._ramp = ConnectRamp(self._idle.append)
        self._closed = False
        self._keeps = True

    async def send(self, request: Request, sender: Sender | None = None) -> Response:
        """Send one request and return its whole answer, as `Transport.send` promises."""
        progress = Progress(self._ramp, sender)
        message = self._message(request, progress)
        with trio.move_on_after(request.timeout_s) as waiting:
            await self._places.acquire()
        if waiting.cancelled_caught:
            raise NotSent(f"Every connection to {self._target.url} was busy for {duration_text(request.timeout_s)}.")
        try:
            connection = await self._take(progress, sender)
            progress.scope.deadline = trio.current_time() + request.timeout_s
            with progress.scope:
                response = await self._exchange(connection, message, request, progress)
                if sender is not None and not 200 <= response.status < 300:
                    sender.note_refused()
                return response
        finally:
            self._places.release()
        if progress.has_begun:
            raise MaybeSent(f"No whole answer within {duration_text(request.timeout_s)}.", timed_out=True)
        raise NotSent(f"No connection to {self._target.url} within {duration_text(request.timeout_s)}.", timed_out=True)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Wait until cancelled: `Transport.run` has nothing to do here, since each exchange keeps its own deadline."""
        task_status.started()
        await trio.sleep_forever()

    async def keep_none(self) -> None:
        """Close the idle connections and keep none from now on, as `Transport.keep_none` promises."""
        self._keeps = False
        while self._idle:
            await _close(self._idle.pop())

    async def aclose(self) -> None:
        """Close the idle connections now and those in use after their exchange; waiting sends raise `NotSent`."""
        self._closed = True
        self._ramp.close()
        await self.keep_none()

    def _message(self, request: Request, progress: Progress[_Connection]) -> httpx.Request:
        """Return the request as httpx wants it; raise `NotSent` for what HTTP forbids, of which h11 checks the rest."""
        url = self._target.url
        headers = [*headers_of(self._target, request), ("Content-Length", str(len(request.body)))]
        try:
            return httpx.Request(
                request.method,
                httpx.URL(url.origin + request.path, params=request.query or None),
                headers=[(name.encode("ascii"), value.encode("ascii")) for name, value in headers],
                stream=_Body(request.body),
                extensions={"timeout": {"connect": self._target.connect_timeout_s}, "trace": progress.trace},
            )
        except (httpx.InvalidURL, UnicodeEncodeError):
            raise NotSent(f"The request cannot be sent: {_FORBIDDEN}.", by_request=True) from None

    async def _exchange(
        self, connection: _Connection, message: httpx.Request, request: Request, progress: Progress[_Connection]
    ) -> Response:
        began_s = trio.current_time()
        reusable = False
        try:
            answer = await self._answer(connection, message, progress)
            body, truncated = await _read(answer, connection, request.body_limit_bytes)
            reusable = not truncated
        except httpx.TransportError as error:
            raise self._failure(error, progress) from error
        finally:
            self._ramp.end(progress)
            await self._give_back(connection, reusable=reusable)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        body, truncated = decode(headers.get("content-encoding", ""), body, request.body_limit_bytes, cut=truncated)
        said, duration_s = request.headers + request.query, trio.current_time() - began_s
        return Response(
            answer.status_code,
            headers,
            body,
            duration_s=duration_s,
            truncated=truncated,
            request_pairs=said,
            secrets=self._secrets,
        )

    async def _answer(
        self, connection: _Connection, message: httpx.Request, progress: Progress[_Connection]
    ) -> httpx.Response:
        """Return the answer of the first address that can be connected to; forget those before it."""
        timeouts = message.extensions["timeout"]
        while True:
            host, *others = connection.hosts
            if host != self._target.url.host:
                message.url = message.url.copy_with(host=host)
                message.extensions["sni_hostname"] = self._target.url.host
            with progress.next(NEXT_S if others else math.inf):
                try:
                    return await connection.http.handle_async_request(message)
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    if progress.is_connected or not others:
                        raise
            # httpcore keeps one, and no other, that was given up between connecting and its first request.
            await _close(connection)
            connection.hosts = others
            timeouts["connect"] = max(0.0, timeouts["connect"] - (trio.current_time() - progress.since_s))

    async def _take(self, progress: Progress[_Connection], sender: Sender | None) -> _Connection:
        """Return an idle connection, or a new one when it may connect, whichever is first.

        Raise `NotSent` if the client is closed, or no connection comes about.
        """
        if sender is not None:
            sender.may_send()
        if (idle := await self._take_idle()) is not None:
            return idle
        again = False
        try:
            while (given := await self._ramp.acquire(progress, again=again)) is not None:
                # What is given back while an old one is closed rests, since no one is in line.
                connection = await self._unless_old(given) or await self._take_idle()
                if connection is not None:
                    await self._ask(sender, connection)
                    return connection
                again = True
        except RampClosed:
            raise NotSent(f"The connections to {self._target.url} are closed.") from None
        try:
            if sender is not None:
                sender.may_send()
        except BaseException:
            self._ramp.release(progress)
            raise
        return await self._open(progress)

    async def _take_idle(self) -> _Connection | None:
        while self._idle:
            if (idle := await self._unless_old(self._idle.pop())) is not None:
                return idle
        return None

    async def _ask(self, sender: Sender | None, connection: _Connection) -> None:
        try:
            if sender is not None:
                sender.may_send()
        except BaseException:
            await self._give_back(connection, reusable=True)
            raise

    async def _open(self, progress: Progress[_Connection]) -> _Connection:
        url = self._target.url
        try:
            with trio.fail_after(self._target.connect_timeout_s):
                hosts = await addresses_of(self._target)
        except BaseException as error:
            self._ramp.release(progress)
            if isinstance(error, trio.TooSlowError):
                raise _connect_timeout(self._target) from None
            if isinstance(error, OSError | UnicodeError):
                raise NotSent(f"No connection to {url}: {describe_error(error)}.") from error
            raise
        one = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=self._target.idle_expiry_s)
        http = httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False, limits=one, uds=url.socket)
        return _Connection(http, trio.current_time(), hosts)

    async def _unless_old(self, connection: _Connection) -> _Connection | None:
        if trio.current_time() - connection.opened_at_s <= self._target.max_connection_age_s:
            return connection
        await _close(connection)
        return None

    async def _give_back(self, connection: _Connection, *, reusable: bool) -> None:
        now_s = trio.current_time()
        if not reusable or self._closed or not (self._keeps or self._ramp.line):
            await _close(connection)
        else:
            connection.idle_since_s = now_s
            self._ramp.give(connection)
        # The bottom of the stack is what a quieter pool does not need any more: the server would close it anyway.
        if self._idle and now_s - self._idle[0].idle_since_s > self._target.idle_expiry_s:
            await _close(self._idle.popleft())

    def _failure(self, error: httpx.TransportError, progress: Progress[_Connection]) -> NotSent | MaybeSent:
        if isinstance(error, httpx.LocalProtocolError):
            # h11 checks a request before it gives out its first byte, so nothing has left yet.
            return NotSent(f"The request cannot be sent: {describe_error(error)}.", by_request=True)
        if progress.has_begun:
            return MaybeSent(f"The connection broke before a whole answer came: {describe_error(error)}.")
        if isinstance(error, httpx.ConnectTimeout):
            return _connect_timeout(self._target)
        tls = _tls_error(error)
        if tls is not None:
            return NotSent(f"TLS with {self._target.url} failed: {describe_error(tls)}.", tls=True)
        return NotSent(f"No connection to {self._target.url}: {describe_error(error)}.")


def _connect_timeout(target: Target) -> NotSent:
    return NotSent(
        f"{target.url} did not accept a connection within {duration_text(target.connect_timeout_s)}.", timed_out=True
    )


async def _read(answer: httpx.Response, connection: _Connection, limit_bytes: int) -> tuple[bytes, bool]:
    """Return the body as sent, cut at the limit, and whether it was cut; hold at most the limit and one read."""
    parts: list[bytes] = []
    room = limit_bytes
    cut = False
    try:
        async for part in answer.aiter_raw():
            parts.append(part[:room])
            if len(part) > room and not cut:
                cut = True
                # Closing makes the next read fail and so ends the loop. Breaking out of it instead would leave four
                # nested generators of httpx and httpcore to the garbage collector, which Trio rightly complains of.
                await _close(connection)
            room = max(0, room - len(part))
    except httpx.TransportError:
        if not cut:
            raise
    return b"".join(parts), cut


async def _close(connection: _Connection) -> None:
    """Close the connection, also when cancelled.

    httpcore takes a lock first, which a cancelled task would not get past.
    """
    with trio.move_on_after(CLOSE_GRACE_S, shield=True):
        await connection.http.aclose()


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None


def describe_error(error: BaseException) -> str:
    """Return the error as text without a full stop, and without any part of request or answer.

    httpx quotes both, which may show a login.
    """
    match error:
        case httpx.RemoteProtocolError():
            is_early = str(error).startswith(("Server disconnected", "peer closed connection"))
            return "it ended early" if is_early else "it is not HTTP"
        case httpx.LocalProtocolError():
            return _FORBIDDEN
        case _:
            return reason_of(error)
