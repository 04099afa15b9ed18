"""A broker as a child process: `restbroker run` as users run it.

Used by `environment` and `fleet`. Always holds: it sees none of the user's RESTBROKER_* settings, and reads its secrets
from a file that only the user can read. A child has a process group of its own: Ctrl-C reaches the process that started
it, which then ends it in good order. A wire listens on loopback only, and passes bytes unchanged and unread.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs
import trio

from restbroker.errors import RestbrokerError
from restbroker.job.json_types import Json

COMMAND: Final = (sys.executable, "-m", "restbroker")
_PATIENCE_S: Final = 30.0


@attrs.define(eq=False)
class Wire:
    """Passes connections from a loopback port on to Redis at `host`:`port`, and can cut them.

    A wire instead of CLIENT KILL: it needs no right to CLIENT, and cannot reach other programs' connections.
    """

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


@attrs.frozen(eq=False)
class Broker:
    """One broker process, its configuration and its output. `wire`: its connection to Redis, if that can be cut."""

    process: trio.Process
    config: Path
    log: Path
    wire: Wire | None = None

    @property
    def last_words(self) -> str:
        """Its last lines, as the end of a message."""
        return f"The broker's last lines:\n{last_words(self.log)}"

    def require_alive(self) -> None:
        """Raise `RestbrokerError` with its last words if it ended by itself."""
        if (code := self.process.poll()) is not None:
            raise RestbrokerError(f"The broker ended unexpectedly, with {code}. {self.last_words}")

    async def stop(self) -> None:
        """Send it SIGTERM, and kill it after 30 s. Raise `RestbrokerError` unless it ended with 0 before."""
        await end(self.process, _PATIENCE_S)
        if (code := self.process.returncode) != 0:
            raise RestbrokerError(f"Asked to stop, the broker ended with {code}. {self.last_words}")


async def start(
    folder: Path, name: str, document: Mapping[str, Json], environ: Mapping[str, str], wire: Wire | None = None
) -> Broker:
    """Start a broker with this configuration, whose files in `folder` have this name."""
    config, log = folder / f"{name}.json", folder / f"{name}.log"
    config.touch(0o600)
    config.write_text(json.dumps(document, indent=2) + "\n")
    with log.open("wb") as output:
        process = await trio.lowlevel.open_process(
            [*COMMAND, "run", "--config", str(config)],
            env=without_settings(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
        )
    return Broker(process, config, log, wire)


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the variables that would count as configuration (RESTBROKER_*)."""
    return {name: value for name, value in environ.items() if not name.startswith("RESTBROKER_")}


async def end(process: trio.Process, patience_s: float = 5.0) -> None:
    """Send a process SIGTERM, and kill it after `patience_s` seconds. Goes on to the end when cancelled."""
    with trio.CancelScope(shield=True):
        process.terminate()
        with trio.move_on_after(patience_s) as patience:
            await process.wait()
        if patience.cancelled_caught:
            process.kill()
            await process.wait()


def last_words(log: Path) -> str:
    """Return the last ten lines that a child wrote."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-10:])


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
    """Pass bytes on until either side ends; then both do."""
    try:
        async for received in source:
            await sink.send_all(received)
    except trio.BrokenResourceError:
        pass
    scope.cancel()
