"""The HTTP client of one target: opened here, whichever engine is inside, and the lean one itself.

`app` opens it for worker pools and connectors, `check` for itself; one test suite runs over both engines. The lean one
has a pool of kept-alive connections, each with one request at a time. Always holds: no redirect is followed, no proxy
of the environment is used, no cookie is kept, no content coding is requested, nothing is pipelined; a failure says
exactly whether the server can have seen any of the request; and a connection with any irregularity is closed.

httpx's pool costs 0.9 to 3 ms of CPU for a request (measured at 50 connections); the lean client costs 14 to 15 µs,
over TLS not quite twice as much, where a bare loop over sockets and the same parser costs 11 to 12 (measured at 20
connections).
"""

import ssl
from collections.abc import Callable
from typing import assert_never

import trio

from restbroker.config.target import Target
from restbroker.config.tls import context_of
from restbroker.transport.errors import NotSent
from restbroker.transport.exchange import Exchange, Service, Sink, Waiting
from restbroker.transport.http1 import Heads, KnownHeads
from restbroker.transport.message import Request, Response, Sender, Transport
from restbroker.transport.pool import Pool
from restbroker.transport.upkeep import Upkeep


class LeanClient:
    """The `Transport` of one target over its own pool of connections."""

    def __init__(self, target: Target, tls: ssl.SSLContext, shared: Upkeep | None = None) -> None:
        self._secrets = target.all_secrets
        self._heads = Heads(target)
        self._known = KnownHeads()
        self._pool = Pool(target, tls)
        self._is_alone = shared is None
        self._upkeep = shared or Upkeep()
        self.readiness = self._upkeep.readiness
        self._service: Service | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve requests and close spent connections while it runs, as `Transport.run` promises."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pool.idle.run)
            if self._is_alone:
                await nursery.start(self._upkeep.run)
            self._service = service = self._serve(nursery, self._upkeep)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                service.close()

    def _serve(self, nursery: trio.Nursery, upkeep: Upkeep) -> Service:
        return Service(self._pool, self._known, self._secrets, nursery, upkeep.readiness, upkeep.deadlines)

    async def send(self, request: Request, sender: Sender | None = None) -> Response:
        """Send one request and return its whole answer, as `Transport.send` promises.

        Over connections that turn out to be stale, the request is sent again as long as that does no harm. Without
        `run`, what serves the request runs here until its end.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        waiting = Waiting(sender)
        if self.can_start:
            end = await waiting.end_of(self.start(request, waiting))
        else:
            async with trio.open_nursery() as nursery:
                upkeep = Upkeep()
                await nursery.start(upkeep.run)
                end = await waiting.end_of(self._start(self._serve(nursery, upkeep), request, waiting))
                nursery.cancel_scope.cancel()
        if isinstance(end, Response):
            return end
        raise end

    @property
    def can_start(self) -> bool:
        """Whether `start` serves requests now: `run` runs."""
        return self._service is not None and not self._service.is_over

    def start(self, request: Request, sink: Sink, message: bytes | None = None) -> Exchange:
        """Send one request as `send` does, without a task: `sink` is told the end, maybe before this returns.

        `message`: its bytes, if the caller has them. `run` must have been started; once it ended, the exchange is
        abandoned at once.
        """
        assert self._service is not None  # noqa: S101 - it was started
        return self._start(self._service, request, sink, message)

    def call_soon(self, call: Callable[[], None]) -> None:
        """Call `call` once all answers that came at this time were read; at once if none is being read.

        What is started in it goes over the connections of those just answered, as cheaply as can be. What it raises is
        lost.
        """
        if self._service is None:
            call()
        else:
            self._service.call_soon(call)

    def _start(self, service: Service, request: Request, sink: Sink, message: bytes | None = None) -> Exchange:
        exchange = Exchange(service, request, message or b"", sink)
        try:
            exchange.message = message or self._heads.message(request)
        except NotSent as error:
            exchange.refuse(error)
        else:
            exchange.go_on(service.take())
        return exchange

    def head_of(self, request: Request) -> bytes:
        """Return the head of this request's message, but for the length of its body; raise `NotSent` as `send` does."""
        return self._heads.head(request)

    def message_of(self, request: Request) -> bytes:
        """Return the bytes of this request; raise `NotSent` as `send` does."""
        return self._heads.message(request)

    async def keep_none(self) -> None:
        """Close the idle connections and keep none from now on, as `Transport.keep_none` promises."""
        self._pool.idle.close()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close the idle connections now and those in use after their exchange; waiting sends raise `NotSent`."""
        self._pool.close()
        await trio.lowlevel.checkpoint()


def open_transport(target: Target, *, tls: ssl.SSLContext | None = None, shared: Upkeep | None = None) -> Transport:
    """Return the client of this target, which connects only when something is sent.

    The server's certificate is checked against `target.tls.ca`, or else the system's authorities; restbroker's own
    certificate, if configured, is shown to a server that requests it. `tls` replaces all of that. `shared` does the
    upkeep of several clients; its `run` must run beside theirs. Raise OSError if a file of a certificate or key cannot
    be read any more.
    """
    if tls is None:
        # Loading the system's authorities takes time, so one context serves all connections, and plain HTTP gets none.
        https = target.url.scheme == "https"
        tls = context_of(target.tls) if https else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    match target.engine:
        case "lean":
            return LeanClient(target, tls, shared)
        case "httpx":
            # Loading httpx takes as long as everything else together.
            from restbroker.transport.httpx_client import HttpxClient

            return HttpxClient(target, tls)
        case _:
            assert_never(target.engine)
