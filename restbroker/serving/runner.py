"""Runs one web app for as long as the process lives, on Hypercorn or plainly. `app` makes a `Server` for each app.

Always holds: nothing that happens here stops the delivery of jobs, except a flood of connections: while it uses up the
process' file descriptors, jobs wait. A taken port is reported once and tried again until it is free; and what breaks
Hypercorn ends one connection, or all of the app's at worst, not the process. The listening sockets are restbroker's
own, so that a restart refuses no client.
"""

import contextlib
import errno
import logging
import resource
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState, LifespanState

from restbroker.config.values import duration_text
from restbroker.errors import kinds_in
from restbroker.light import define, field
from restbroker.serving.connections import STALLED_S, BoundedStream, Connections
from restbroker.serving.plain import PlainApp, PlainHttp, Stream
from restbroker.serving.tls import Certificate, failure
from restbroker.telemetry.events import ListenerStarted, OperatorWarning, Report

GRACE_S = 1.5
"""Seconds that a stop waits for answers that are being written."""
_RESTART_S = 0.05
_HEADER_LIMIT_BYTES = 16 * 1024


def _do_nothing() -> None:
    pass


def _most_descriptors() -> int:
    """Return how many file descriptors may be in use before connections are to go: an eighth is left for servers."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft * 7 // 8


@define(eq=False)
class Server:
    """One app on one address; port 0 takes any free one. `what` and `key` (of the configuration) name it in messages.

    A connection that sends no whole request for `keep_alive_s` is closed (one of a `PlainApp` after a success, if no
    byte comes for `rest_s`), and those that wait longest as soon as a new one has the descriptor `most_descriptors` or
    a higher one. A taken port is tried again after `bind_again_s`. `addresses` are the app's URLs, known once `run`
    has started; none while the port is taken. `at_stop` is called when a stop begins: answers that would last are to
    end then. A `PlainApp` gets of HTTP only what machines need (see `plain`), and TLS if there is a `certificate`.
    """

    what: str
    key: str
    host: str
    port: int
    app: ASGIFramework | PlainApp
    report: Report
    bind_again_s: float = 5.0
    keep_alive_s: float = 5.0
    rest_s: float = 5.0
    at_stop: Callable[[], None] = _do_nothing
    certificate: Certificate | None = None
    most_descriptors: int = field(factory=_most_descriptors)
    addresses: tuple[str, ...] = ()
    _warned: set[str] = field(factory=set)
    _connections: Connections = field(factory=Connections)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until cancelled, then let running answers end within two seconds; never raise."""
        while not (listeners := await self._listeners()):
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            await trio.sleep(self.bind_again_s)
        self.addresses = tuple(_url(listener, is_secured=self.certificate is not None) for listener in listeners)
        # Trio goes on, and writes a traceback ten times a second.
        logging.getLogger("trio.serve_listeners").addFilter(self._tell_of_flood)
        stopping = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                scope = trio.CancelScope(shield=True)
                nursery.start_soon(self._serve, listeners, stopping, scope)
                self.report(ListenerStarted(self.what, self.addresses))
                task_status.started()
                try:
                    await trio.sleep_forever()
                finally:
                    stopping.set()
                    self.at_stop()
                    self._connections.hurry()
                    # Hypercorn bounds a stop itself; this is for when it does not.
                    scope.deadline = trio.current_time() + GRACE_S + 0.5
        finally:
            logging.getLogger("trio.serve_listeners").removeFilter(self._tell_of_flood)
            for listener in listeners:
                listener.socket.close()

    async def _listeners(self) -> list[trio.SocketListener]:
        try:
            listeners = await trio.open_tcp_listeners(self.port, host=self.host)
        except OSError as error:
            self._warn_once(
                "PortTaken" if error.errno == errno.EADDRINUSE else "CannotListen",
                f"Cannot serve {self.what} on {self.host}:{self.port}: {error.strerror or error}.",
                f"restbroker tries again every {duration_text(self.bind_again_s)}, and all else goes on meanwhile. "
                f"Stop the program on that port, or change {self.key}.",
            )
            return []
        for listener in listeners:
            _drop_stalled(listener)
        return listeners

    async def _serve(self, listeners: list[trio.SocketListener], stopping: trio.Event, scope: trio.CancelScope) -> None:
        with scope:
            while not stopping.is_set():
                try:
                    await self._serve_once(listeners, stopping)
                # Whatever it is: a stranger must not end a broker.
                except* Exception as group:  # noqa: BLE001
                    self._warn_once(
                        "ServerFault",
                        f"The server of {self.what} broke ({kinds_in(group)}); it was restarted.",
                        "Jobs are not affected. Please report this.",
                    )
                    with trio.move_on_after(_RESTART_S):
                        await stopping.wait()

    async def _serve_once(self, listeners: list[trio.SocketListener], stopping: trio.Event) -> None:
        if isinstance(self.app, PlainApp):
            if self.certificate is not None:
                # Before anybody comes: who comes while it is read takes what there is by then.
                await self.certificate.context()
            async with self._accept(partial(self._serve_plainly, self.app), listeners):
                await stopping.wait()
        else:
            await self._serve_hypercorn(self.app, listeners, stopping)

    async def _serve_hypercorn(
        self, app: ASGIFramework, listeners: list[trio.SocketListener], stopping: trio.Event
    ) -> None:
        """Serve as `hypercorn.trio.serve` does, which hands out no connections: their sends are to be bounded."""
        config, context = _config(self.keep_alive_s), WorkerContext(None)
        state: LifespanState = {}
        lifespan = Lifespan(ASGIWrapper(app), config, state)

        async def connection(bounded: BoundedStream) -> None:
            # Neither is one for mypy; Hypercorn takes it for one with TLS where it has the method `do_handshake`.
            stream = cast("trio.SSLStream[trio.SocketStream]", bounded)
            with self._connections.bound_connection(self.keep_alive_s) as life:
                kept = ASGIWrapper(bounded.keep_to_protocol(app, life))
                await TCPServer(kept, config, context, ConnectionState(state.copy()), stream)

        async with trio.open_nursery() as living:
            await living.start(lifespan.handle_lifespan)
            await lifespan.wait_for_startup()
            async with self._accept(connection, listeners):
                await stopping.wait()
                await context.terminated.set()
            await lifespan.wait_for_shutdown()
            living.cancel_scope.cancel()

    @asynccontextmanager
    async def _accept(
        self, serve: Callable[[BoundedStream], Awaitable[None]], listeners: list[trio.SocketListener]
    ) -> AsyncIterator[None]:
        """Serve connections; at the end of the block take no more, and give those that there are some time to end."""

        async def connection(stream: trio.SocketStream) -> None:
            # The kernel gives the lowest that is free: how far it is above shows how many are to go.
            if (above := stream.socket.fileno() - self.most_descriptors) >= 0:
                self._connections.make_room(above + 1)
            with trio.CancelScope() as scope:
                await self._serve_alone(serve(BoundedStream(stream, self._connections, scope)))

        async with trio.open_nursery() as serving:
            async with trio.open_nursery() as accepting:
                # What accepts closes them; ours stay open for a restart.
                copies = [trio.SocketListener(listener.socket.dup()) for listener in listeners]
                accepting.start_soon(partial(trio.serve_listeners, connection, copies, handler_nursery=serving))
                yield
                accepting.cancel_scope.cancel()
            serving.cancel_scope.deadline = trio.current_time() + GRACE_S

    async def _serve_alone(self, connection: Awaitable[None]) -> None:
        """Serve one connection; the others go on even if it fails, whatever it is.

        Hypercorn 0.18 raises sometimes where a client that was refused a WebSocket sends on (h11's LocalProtocolError),
        and at a bad chunk (BusyResourceError: two tasks send); both measured.
        """
        try:
            await connection
        except* Exception as group:  # noqa: BLE001
            self._warn_once(
                "ServerFault",
                f"A connection to the server of {self.what} failed ({kinds_in(group)}); it was ended.",
                "Jobs are not affected. Restrict access to this port, or report this.",
            )

    async def _serve_plainly(self, app: PlainApp, bounded: BoundedStream) -> None:
        stream: Stream | None = bounded if self.certificate is None else await self._secure(bounded, self.certificate)
        if stream is None:
            return
        client, limits_s = _client(bounded), (self.keep_alive_s, self.rest_s)
        await PlainHttp(app, stream, self._connections, *limits_s, client).serve()

    async def _secure(self, bounded: BoundedStream, certificate: Certificate) -> Stream | None:
        """Return the connection with TLS; None if that does not come about."""
        tls = await certificate.context()
        if tls is None:
            return None
        stream = cast("trio.SocketStream", bounded)
        secured = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        try:
            return secured if await self._connections.handshake(secured) else None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            if (warned := failure(error, self.what)) is not None:
                self._warn_once(warned.code, warned.message, warned.hint or "")
            return None

    def _tell_of_flood(self, _record: logging.LogRecord) -> bool:
        self._warn_once(
            "TooManyConnections",
            # Trio does not say for which port it is, and none can be taken at any.
            f"No connection to {self.what}, or to any other port, can be accepted: the process has no file"
            " descriptors left.",
            "New connections to servers fail as well, and their jobs wait, until there are fewer. Restrict access to"
            " this port, or raise LimitNOFILE.",
        )
        return False

    def _warn_once(self, code: str, message: str, hint: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            self.report(OperatorWarning(code, message, hint))


def _drop_stalled(listener: trio.SocketListener) -> None:
    """Let the kernel end connections whose reader is gone or stuck; accepted connections inherit the setting.

    Hypercorn shields its sends, so nothing else ends one.
    """
    with contextlib.suppress(AttributeError):  # Linux only
        listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(STALLED_S * 1000))


def _client(stream: BoundedStream) -> str:
    """Return the other end's address; "" if it is gone already."""
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:
        return ""


def _config(keep_alive_s: float) -> Config:
    config = Config()
    # By default it writes to stderr in a format of its own. Failures of apps are reported by `serving.app`.
    config.errorlog = config.accesslog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = _HEADER_LIMIT_BYTES
    config.keep_alive_timeout = keep_alive_s
    config.graceful_timeout = GRACE_S
    return config


def _url(listener: trio.SocketListener, *, is_secured: bool) -> str:
    host, port = listener.socket.getsockname()[:2]
    scheme = "https" if is_secured else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
