"""The HTTP client of one target on httpx: for a proxy, and for servers whose answers the lean one refuses.

Opened by `client`. Always holds: as with the lean client, but that all connections become old at once, and that any
number of them may begin at once. `http1.check` alone says that a request cannot be written; a failure after it was not
sent only if its head was given to no connection, whatever the error's type. What a proxy refuses was not sent: neither
its `CONNECT` nor an answer 407 means that the server saw anything. httpx's pool looks at every connection for each
request, which costs 3 ms of CPU at 50 connections (measured with httpx 0.28.1).

`stream` uses the parts of it. No variable of the environment is read, no redirect is followed, no cookie is kept; no
text has a part of a request or an answer in it, nor words of a proxy: httpx quotes them, and they may show a login.
"""

import ssl
from collections.abc import Mapping
from typing import Any, Final, Self

import httpx
import trio

from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.errors import ConfigError
from restbroker.light import define, field
from restbroker.transport.connect import addresses_of, connections_for
from restbroker.transport.http1 import check, decode, unsendable
from restbroker.transport.message import MaybeSent, NotSent, Request, Response, Sender, reason_of
from restbroker.transport.room import FREE_BYTES, RECEIVED_BYTES, Holding, Share

CLOSE_GRACE_S: Final = 1.0


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


@define(eq=False)
class _Connections:
    """The connections of one transport; they are closed once it `is_over` and none of them is used any more.

    `opened_at_s`: since when there may be some, on Trio's clock. `hosts`: where to connect to, the URL's host or its
    public addresses, without those that refused before another one.
    """

    http: httpx.AsyncHTTPTransport
    opened_at_s: float = field(factory=trio.current_time)
    hosts: list[str] = field(factory=list)
    used: int = 0
    is_over: bool = False

    async def close_unused(self) -> None:
        """Close them if that is due."""
        if self.is_over and not self.used:
            # httpcore takes a lock first, which a cancelled task would not get past.
            with trio.move_on_after(CLOSE_GRACE_S, shield=True):
                await self.http.aclose()


@define(eq=False)
class _HttpxExchange:
    """One request on its way. `has_begun`: its head was given to a connection, to the server or to a proxy.

    `answer`: its answer, once that is read, or waits for room; `parts`: what came of its body; `is_cut`: not all did.
    """

    target: Target
    request: Request
    message: httpx.Request
    sender: Sender | None
    holding: Holding
    has_begun: bool = False
    answer: httpx.Response | None = None
    parts: list[bytes] = field(factory=list)
    is_cut: bool = True
    began_s: float = field(factory=trio.current_time)

    async def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Ask and notify the sender before our request's head leaves, not before that of a proxy's `CONNECT`."""
        if name == "http11.send_request_headers.started" and info["request"].method != b"CONNECT":
            if self.sender is not None:
                self.sender.may_send()
                self.sender.start_sending()
            self.has_begun = True

    async def request_over(self, connections: _Connections) -> httpx.Response:
        """Return the answer of the first address that can be connected to; forget those before it."""
        target = self.target
        try:
            with trio.fail_after(target.connect_timeout_s):
                connections.hosts = connections.hosts or await addresses_of(target)
        except trio.TooSlowError:
            raise self.error(httpx.ConnectTimeout("")) from None
        except (OSError, UnicodeError) as error:
            raise NotSent(f"No connection to {way_to(target)}: {describe_error(error)}.") from error
        *others, last = connections.hosts
        message = self.message
        for host in others:
            message.url = message.url.copy_with(host=host)
            try:
                return await connections.http.handle_async_request(message)
            except httpx.TransportError as error:
                if self.has_begun or tls_error(error) is not None:
                    raise
                connections.hosts = [other for other in connections.hosts if other != host]
        message.url = message.url.copy_with(host=last)
        return await connections.http.handle_async_request(message)

    def error(self, error: Exception) -> NotSent | MaybeSent:
        """Return what an error of httpx means for the request; its type only chooses the words."""
        if self.has_begun:
            return MaybeSent(f"The connection broke before a whole answer came: {describe_error(error)}.")
        if isinstance(error, httpx.ProxyError):
            return proxy_refusal(self.target, str(error))
        if isinstance(error, httpx.ConnectTimeout):
            within = duration_text(self.target.connect_timeout_s)
            return NotSent(f"{way_to(self.target)} did not accept a connection within {within}.", timed_out=True)
        if (tls := tls_error(error)) is not None:
            return NotSent(f"TLS with {self.target.url} failed: {describe_error(tls)}.", tls=True)
        return NotSent(f"No connection to {way_to(self.target)}: {describe_error(error)}.")


class HttpxClient:
    """The `Transport` of one target over httpx."""

    def __init__(self, target: Target, tls: ssl.SSLContext, share: Share) -> None:
        self._target = target
        self._share = share
        self._secrets = target.all_secrets
        self._tls = tls
        self._keeps = connections_for(target)
        self._places = trio.Semaphore(self._keeps)
        self._is_closed = False
        self._connections: _Connections | None = None

    async def send(self, request: Request, sender: Sender | None = None) -> Response:
        """Send one request and return its whole answer, as `Transport.send` promises."""
        if sender is not None:
            sender.may_send()
        message = written(self._target, request, {"connect": self._target.connect_timeout_s})
        message.headers.setdefault("Content-Length", "0")
        with trio.move_on_after(request.timeout_s) as waiting:
            await self._places.acquire()
        if waiting.cancelled_caught:
            raise NotSent(f"Every connection to {self._target.url} was busy for {duration_text(request.timeout_s)}.")
        if self._is_closed:
            self._places.release()
            raise NotSent(f"The connections to {self._target.url} are closed.")
        exchange = _HttpxExchange(self._target, request, message, sender, Holding(self._share))
        message.extensions["trace"] = exchange.trace
        connections = await self._current()
        connections.used += 1
        try:
            with trio.move_on_after(request.timeout_s):
                await self._receive(connections, exchange)
            if exchange.answer is not None:
                return self._response(exchange, exchange.answer)
        finally:
            self._places.release()
            # httpx keeps its requests, and with them the exchange, until the garbage collector comes.
            exchange.parts.clear()
            exchange.holding.free()
            connections.used -= 1
            await connections.close_unused()
        within = duration_text(request.timeout_s)
        if exchange.has_begun:
            raise MaybeSent(f"No whole answer within {within}.", timed_out=True)
        raise NotSent(f"No connection to {way_to(self._target)} within {within}.", timed_out=True)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Wait until cancelled: `Transport.run` has nothing to do here, since each exchange keeps its own deadline."""
        task_status.started()
        await trio.sleep_forever()

    async def keep_none(self) -> None:
        """Close the idle connections and keep none from now on, as `Transport.keep_none` promises."""
        self._keeps = 0
        await self._give_up()

    async def aclose(self) -> None:
        """Close the idle connections now and those in use after their exchange; waiting sends raise `NotSent`."""
        self._is_closed = True
        await self.keep_none()

    async def _give_up(self) -> None:
        if (before := self._connections) is not None:
            self._connections, before.is_over = None, True
            await before.close_unused()

    async def _current(self) -> _Connections:
        known = self._connections
        if known is not None and trio.current_time() - known.opened_at_s > self._target.max_connection_age_s:
            await self._give_up()
        if self._connections is None:
            most, idle_s = connections_for(self._target), self._target.idle_expiry_s
            limits = httpx.Limits(max_connections=most, max_keepalive_connections=self._keeps, keepalive_expiry=idle_s)
            self._connections = _Connections(open_httpx(self._target, self._tls, limits))
        return self._connections

    async def _receive(self, connections: _Connections, exchange: _HttpxExchange) -> None:
        """Receive the answer, or what comes of one that waited; raise `NotSent` or `MaybeSent` if there is none."""
        try:
            answer = await exchange.request_over(connections)
            if answer.status_code == LOGIN_REFUSED and self._target.proxy and self._target.url.scheme == "http":
                await self._give_up()
                await answer.aclose()
                raise proxy_refusal(self._target, str(LOGIN_REFUSED))
            exchange.is_cut = await self._read(exchange, answer)
            exchange.answer = answer
        # What httpcore passes through of a name that cannot be one (two dots in a row) is a UnicodeError.
        except (httpx.TransportError, OSError, UnicodeError) as error:
            if exchange.answer is not None:
                return
            if isinstance(error, httpx.ProxyError):
                await self._give_up()  # its password is read again for the next one
            raise exchange.error(error) from error

    def _response(self, exchange: _HttpxExchange, answer: httpx.Response) -> Response:
        request = exchange.request
        if exchange.sender is not None and not 200 <= answer.status_code < 300:
            exchange.sender.clear_sending()
        headers = {name.lower(): value for name, value in answer.headers.items()}
        limit_bytes, spare_bytes = request.body_limit_bytes, self._share.spare_bytes
        codings, body = headers.get("content-encoding", ""), b"".join(exchange.parts)
        body, note = decode(codings, body, limit_bytes, spare_bytes, cut=exchange.is_cut)
        said, duration_s = request.headers + request.query, trio.current_time() - exchange.began_s
        return Response(answer.status_code, headers, body, duration_s, note, said, self._secrets)

    async def _read(self, exchange: _HttpxExchange, answer: httpx.Response) -> bool:
        """Read the body, as sent, up to its limit and as far as there is room; tell whether it is cut."""
        length, most = answer.headers.get("content-length", ""), min(exchange.request.body_limit_bytes, RECEIVED_BYTES)
        size = min(int(length) if length.isdecimal() else 0, most)
        came = 0
        # Cancelled, the next read ends each generator of httpx and httpcore; by `break`, they would stay half-read.
        with trio.CancelScope() as reading:
            if size > FREE_BYTES and not exchange.holding.take(size):
                exchange.answer = answer
                try:
                    await exchange.holding.wait(size)
                except trio.Cancelled:
                    # No read ends its generators, so that its connection would never be free again.
                    await answer.aclose()
                    raise
            async for part in answer.aiter_raw():
                exchange.parts.append(part[: max(0, most - came)])
                came += len(part)
                if came > most or not (size or exchange.holding.take_steps(came)):
                    reading.cancel()
        return reading.cancel_called


LOGIN_REFUSED: Final = 407


def written(target: Target, request: Request, timeouts: Mapping[str, float]) -> httpx.Request:
    """Return a request as httpx wants it, with a length if it has a body; raise `NotSent` if it cannot be written."""
    path, headers = check(target, request)
    if request.body:
        headers.append(("Content-Length", str(len(request.body))))
    try:
        url = httpx.URL(target.url.origin + path)
    except httpx.InvalidURL:  # it takes 65,536 characters
        raise unsendable("its path and query are too long for httpx") from None
    extensions = {"timeout": timeouts, "sni_hostname": target.url.host}
    return httpx.Request(request.method, url, headers=headers, stream=_Body(request.body), extensions=extensions)


def open_httpx(target: Target, tls: ssl.SSLContext, limits: httpx.Limits) -> httpx.AsyncHTTPTransport:
    """Return the transport of httpx for this target, which connects only when something is sent.

    Raise `NotSent` if the secret of its proxy cannot be read.
    """
    proxy = None
    if target.proxy is not None:
        login = target.proxy.login
        try:
            auth = None if login is None else (login.user, login.password.reveal())
            proxy = httpx.Proxy(target.proxy.origin, auth=auth)
        except ConfigError as error:
            raise NotSent(str(error)) from error
    return httpx.AsyncHTTPTransport(verify=tls, trust_env=False, limits=limits, proxy=proxy, uds=target.url.socket)


def way_to(target: Target) -> str:
    """Return the target's address, with that of the proxy before it."""
    return str(target.url) if target.proxy is None else f"{target.url} through the proxy {target.proxy.origin}"


def proxy_refusal(target: Target, status: str) -> NotSent:
    """Return the error for a proxy that passes nothing on, and begins its answer with `status`."""
    if status.startswith((str(LOGIN_REFUSED), "401")):  # tinyproxy answers 401 to a wrong password
        what, hint = f"it refused the login ({status[:3]})", "Correct ProxyUser and ProxyPass, or that user's rights."
    else:
        what, hint = f"it answered {status[:3]}", "Check that the proxy reaches the server and may connect to it."
    return NotSent(f"No connection to {way_to(target)}: {what}.", hint=hint)


def tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """Return the error of TLS that caused this one; None if none did."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None


def describe_error(error: BaseException) -> str:
    """Return the error as text without a full stop, and without any part of request or answer.

    httpx quotes both, which may show a login.
    """
    if isinstance(error, httpx.ProtocolError):
        is_early = str(error).startswith(("Server disconnected", "peer closed connection"))
        return "it ended early" if is_early else "it is not HTTP"
    return reason_of(error)
