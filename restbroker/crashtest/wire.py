"""A wire between one broker and Redis that can be cut. Used by `crashtest.fleet` and `crashtest.faults`.

A wire instead of CLIENT KILL: it needs no right to CLIENT, and cannot reach other programs' connections. Always holds:
listens on loopback only, passes bytes unchanged and unread.
"""

import attrs
import trio


@attrs.define(eq=False)
class Wire:
    """Passes connections from a loopback port on to Redis at `host`:`port`."""

    host: str
    port: int
    _connections: set[trio.CancelScope] = attrs.field(factory=set)

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Pass connections on until cancelled; report the port to connect to by `task_status`."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listener.socket.getsockname()[1])
        await trio.serve_listeners(self._pass_on, [listener])

    def cut(self) -> None:
        """Break every open connection; new ones are passed on."""
        for connection in self._connections:
            connection.cancel()

    async def _pass_on(self, near: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            self._connections.add(scope)
            try:
                async with (
                    near,
                    await trio.open_tcp_stream(self.host, self.port) as far,
                    trio.open_nursery() as nursery,
                ):
                    nursery.start_soon(_pump, near, far, scope)
                    await _pump(far, near, scope)
            except OSError:
                pass  # Redis cannot be reached: the broker sees its connection end
            finally:
                self._connections.discard(scope)


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
    """Pass bytes on until either side ends; then both do."""
    try:
        async for received in source:
            await sink.send_all(received)
    except trio.BrokenResourceError:
        pass
    scope.cancel()
