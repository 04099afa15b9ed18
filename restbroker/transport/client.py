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

import trio

from restbroker.config.target import Target
from restbroker.config.tls import context_of
from restbroker.transport.exchange import Exchange, ExchangeService
from restbroker.transport.http1 import Heads, KnownHeads
from restbroker.transport.message import MaybeSent, NotSent, Request, Response, Sender, Transport
from restbroker.transport.pool import HttpPool
from restbroker.transport.readiness import Upkeep


class WaitingSink:
    """The sink of a request whose task waits for its end; `sender`, if there is one, is called as ever."""

    def __init__(self, sender: Sender | None) -> None:
        self._sender = sender
        self._is_over = False
        self._end: Response | Exception | None = None
        self._task: trio.lowlevel.Task | None = None

    async def end_of(self, exchange: Exchange) -> Response | Exception:
        """Return how its exchange ends; when cancelled, the exchange is cancelled too."""

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self._task = None
            exchange.cancel()
            return trio.lowlevel.Abort.SUCCEEDED

        if not self._is_over:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(abort)
        if self._end is not None:
            return self._end
        why = "The client stopped before a whole answer came."
        return MaybeSent(why) if exchange.left else NotSent(why)

    def may_send(self) -> None:
        """Call the sender's."""
        if self._sender is not None:
            self._sender.may_send()

    def start_sending(self) -> None:
        """Call the sender's."""
        if self._sender is not None:
            self._sender.start_sending()

    def clear_sending(self) -> None:
        """Call the sender's."""
        if self._sender is not None:
            self._sender.clear_sending()

    def answered(self, response: Response) -> None:
        """Wake the task with the answer."""
        self._end = response
        self.abandoned()

    def failed(self, error: Exception) -> None:
        """Wake the task with the error."""
        self._end = error
        self.abandoned()

    def abandoned(self) -> None:
        """Wake the task."""
        self._is_over = True
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None


class LeanClient:
    """The `Transport` of one target over its own pool of connections.

    `heads`: the bytes of its requests' heads. `service`: what sends requests without a task, since `run` was started.
    """

    def __init__(self, target: Target, tls: ssl.SSLContext, shared: Upkeep | None = None) -> None:
        self.heads = Heads(target)
        self.service: ExchangeService | None = None
        self._secrets = target.all_secrets
        self._known = KnownHeads()
        self._is_alone = shared is None
        self._upkeep = shared or Upkeep()
        self._pool = HttpPool(target, tls, self._upkeep.rests)
        self._share = self._upkeep.room.share(target.name)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve requests and close spent connections while it runs, as `Transport.run` promises."""
        async with trio.open_nursery() as nursery:
            if self._is_alone:
                await nursery.start(self._upkeep.run)
            self.service = service = self._serve(nursery, self._upkeep)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                service.close()

    def _serve(self, nursery: trio.Nursery, upkeep: Upkeep) -> ExchangeService:
        pool, heads, known = self._pool, self.heads, self._known
        return ExchangeService(
            pool, heads, known, self._secrets, nursery, upkeep.readiness, upkeep.deadlines, self._share, upkeep.on_bug
        )

    async def send(self, request: Request, sender: Sender | None = None) -> Response:
        """Send one request and return its whole answer, as `Transport.send` promises.

        Without `run`, what serves the request runs here until its end.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        waiting, service = WaitingSink(sender), self.service
        if service is not None and not service.is_over:
            end = await waiting.end_of(service.start(request, waiting))
        else:
            async with trio.open_nursery() as nursery:
                upkeep = Upkeep()
                await nursery.start(upkeep.run)
                end = await waiting.end_of(self._serve(nursery, upkeep).start(request, waiting))
                nursery.cancel_scope.cancel()
        if isinstance(end, Response):
            return end
        raise end

    async def keep_none(self) -> None:
        """Close the idle connections and keep none from now on, as `Transport.keep_none` promises."""
        self._pool.keep_none()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close the idle connections now and those in use after their exchange; waiting sends raise `NotSent`."""
        self._pool.close()
        await trio.lowlevel.checkpoint()


def open_transport(target: Target, *, tls: ssl.SSLContext | None = None, shared: Upkeep | None = None) -> Transport:
    """Return the client of this target, which connects only when something is sent.

    The server's certificate is checked against `target.tls.ca`, or else the system's authorities; restbroker's own
    certificate, if configured, is shown to a server that requests it. `tls` replaces all of that. `shared` does the
    upkeep of several clients, whose answers share its room; its `run` must run beside theirs. Raise OSError if a file
    of a certificate or key cannot be read any more.
    """
    if tls is None:
        # Loading the system's authorities takes time, so one context serves all connections, and plain HTTP gets none.
        https = target.url.scheme == "https"
        tls = context_of(target.tls) if https else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if target.engine == "lean" and target.proxy is None:
        return LeanClient(target, tls, shared)
    # Loading httpx takes as long as everything else together.
    from restbroker.transport.httpx_client import HttpxClient

    return HttpxClient(target, tls, (shared or Upkeep()).room.share(target.name))
