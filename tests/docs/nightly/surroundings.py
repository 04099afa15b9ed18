"""Where the recipes of the pages are typed: a shell on a terminal, beside a real Redis, ejabberd and broker.

For test_recipes.py. `systemctl` and `ejabberdctl` are played here, since a container has no systemd and the ejabberd of
the tests no node name. Always holds: everything else is what a reader has, and sees: programs
on PATH, files in the working directory, a terminal of 120 columns; ports and folders are shown as the page names them.
"""

import contextlib
import fcntl
import os
import pty
import re
import select
import shlex
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Protocol

import attrs

from tests.docs.nightly.transcripts import Names, Step, same
from tests.support.process import Running, clean_environment, started
from tests.support.ruby import environment as for_ruby
from tests.support.wait import NEVER_S

REDIS: Final = "redis://127.0.0.1:6379/0"
SERVER: Final = "http://127.0.0.1:5281/api"
PATIENCE_S: Final = NEVER_S
_END: Final = "\x1e"
_LOOKS: Final = re.compile(
    r"restbroker (?:(?:queues|targets|processes|dead|retries|scheduled|token) (?:list|show|peek)\b|"
    r"(?:queues|targets|processes|dead|retries|scheduled|periodic)(?: -|$| \|)|"
    r"events (?:sources|tail --last)|stats|explain|find|audit|check)|"
    r"journalctl|cat |redis-cli LLEN |sh where\.sh"
)
"""What only looks, and may be typed again until it sees what the page shows."""
_PLAYED: Final = re.compile(r"(?:systemctl|ejabberdctl) ")
_PAUSE_S: Final = 0.4
_MNESIA_S: Final = 4.0


class Server(Protocol):
    """What stands behind `RestURL`."""

    @property
    def url(self) -> str:
        """Where it answers."""

    def start(self) -> object:
        """Starts it, and returns when it answers."""

    def stop(self) -> None:
        """Ends it in good order."""

    def kill(self) -> None:
        """Ends it at once."""

    def call(self, command: str, /, **arguments: object) -> tuple[int, str]:
        """Has it do something, past the broker."""


@attrs.define
class Broker:
    """`restbroker run` in the folder, as a service."""

    place: Path
    environ: Mapping[str, str]
    running: Running | None = None
    _stack: ExitStack = attrs.field(factory=ExitStack)

    def start(self) -> None:
        """Starts it, and returns when it has begun."""
        log = self.place / ".log"
        command = [sys.executable, "-m", "restbroker", "run", "--config", str(self.place / "env.json")]
        self.running = self._stack.enter_context(started([], directory=log, environ=self.environ, command=command))
        self.running.wait_for(r"broker\.started")

    def stop(self) -> None:
        """Ends it in good order."""
        if self.running is not None:
            assert self.running.stop() == 0, self.running.output()

    def kill(self) -> None:
        """Ends it at once."""
        if self.running is not None:
            self.running.process.kill()
            self.running.wait()

    def is_let_in(self) -> None:
        """Returns when it has found its server, which accepts its login."""
        assert self.running is not None
        self.running.wait_for(r"target\.found")

    def reload(self) -> None:
        """Has it read its configuration again, and returns when it did."""
        if self.running is not None:
            before = self.running.output().count("broker.started")
            self.running.signal(signal.SIGHUP)
            self.running.wait_for(r"broker\.started", times=before + 1)

    def close(self) -> None:
        """Ends it whatever it does."""
        self._stack.close()


@attrs.frozen
class Workplace:
    """One shell, and the services beside it. `shown` has what the page calls by another name than this machine.

    `addresses` has what of it is typed.
    """

    shell: subprocess.Popen[str]
    terminal: int
    services: Mapping[str, Server | Broker]
    shown: Mapping[str, str]
    addresses: Mapping[str, str]

    def type(self, step: Step, names: Names, patience_s: float) -> str:
        """Types what the page has typed, and returns what was printed.

        What only looks is typed again until it prints what the page shows, for `patience_s` seconds at most.
        """
        deadline_s = time.monotonic() + patience_s
        typed = names.typed(step.typed)
        for theirs, ours in self.addresses.items():
            typed = typed.replace(theirs, ours)
        while True:
            printed = self._run(typed) if _PLAYED.match(typed) is None else self._played(typed)
            for ours, theirs in self.shown.items():
                printed = printed.replace(ours, theirs)
            if same(step.printed, printed, names):
                names.learn(step.printed, printed)
                return printed
            if not _LOOKS.match(typed) or time.monotonic() > deadline_s:
                return printed
            time.sleep(_PAUSE_S)

    def _played(self, typed: str) -> str:
        """Does what these programs would."""
        match shlex.split(typed):
            case ["systemctl", "start", name]:
                self.services[name].start()
            case ["systemctl", "stop", name]:
                self.services[name].stop()
            case ["systemctl", "kill", "--signal=KILL", name]:
                # A reader types more slowly: what ejabberd acknowledged is on its disk only some 2 s later.
                time.sleep(_MNESIA_S)
                self.services[name].kill()
            case ["systemctl", "reload", "restbroker"]:
                broker = self.services["restbroker"]
                assert isinstance(broker, Broker)
                broker.reload()
            case ["ejabberdctl", "change_password", user, host, password]:
                server, broker = self.services["ejabberd"], self.services["restbroker"]
                assert isinstance(broker, Broker)
                assert not isinstance(server, Broker)
                # Else its first look at the server may find the new password, and no job is sent that could.
                broker.is_let_in()
                status, answer = server.call("change_password", user=user, host=host, newpass=password)
                assert status == 200, answer
            case ["ejabberdctl", "send_message", kind, sender, receiver, subject, body]:
                server = self.services["ejabberd"]
                assert not isinstance(server, Broker)
                message = {"type": kind, "from": sender, "to": receiver, "subject": subject, "body": body}
                assert server.call("send_message", **message) == (200, "0")
            case _:
                raise AssertionError(f"What shall {typed!r} do here?")
        return ""

    def _run(self, typed: str) -> str:
        assert self.shell.stdin is not None
        # `$?` is what the step before left; a step reads nothing of what is typed behind it.
        self.shell.stdin.write(f"(exit $r)\n{{\n{typed}\n}} </dev/null\nr=$?; printf '{_END}'\n")
        self.shell.stdin.flush()
        printed, deadline_s = b"", time.monotonic() + 60.0
        while not printed.endswith(_END.encode()):
            ready, _, _ = select.select([self.terminal], [], [], max(0.0, deadline_s - time.monotonic()))
            assert ready, f"{typed!r} does not end; so far it printed:\n{printed.decode()}"
            printed += os.read(self.terminal, 65536)
        text = printed.decode().removesuffix(_END)
        return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


@contextmanager
def workplace(
    place: Path, files: Mapping[str, str], addresses: Mapping[str, str], services: Mapping[str, Server]
) -> Iterator[Workplace]:
    """A shell in `place` with these files. `addresses`: which ones of this machine are meant by those of the page."""
    for name, text in files.items():
        for theirs, ours in addresses.items():
            text = text.replace(theirs, ours)  # noqa: PLW2901 - one after the other
        (place / name).write_text(text)
    redis_url = addresses[REDIS]
    _tools(place, redis_url)
    environ = clean_environment({
        **for_ruby(redis_url), "PATH": f"{place / '.bin'}:{os.environ['PATH']}",
        "TERM": "dumb", "COLUMNS": "120", "LINES": "50", "NO_COLOR": "1",
        "HOME": str(place), "SUDO_USER": "you", "PYTHONWARNINGS": "error",
    })  # fmt: skip
    broker = Broker(place, environ)
    shown = {ours: theirs for theirs, ours in addresses.items()}
    shown |= {str(place): "/home/you", f"@{socket.gethostname()}": "@host", f"{socket.gethostname()}:": "host:"}
    with _shell(place, environ) as (shell, terminal), contextlib.closing(broker):
        broker.start()
        yield Workplace(shell, terminal, {**services, "restbroker": broker}, shown, addresses)


def _tools(place: Path, redis_url: str) -> None:
    """What a reader has on PATH."""
    (place / ".bin").mkdir()
    lines = {
        "restbroker": f'exec {sys.executable} -m restbroker "$@"',
        "python3": f'exec {sys.executable} "$@"',
        "redis-cli": f'exec /usr/bin/redis-cli -u {redis_url} "$@"',
        "journalctl": f"cat {place}/.log/*.stdout {place}/.log/*.stderr",
    }
    for name, line in lines.items():
        file = place / ".bin" / name
        file.write_text(f"#!/bin/sh\n{line}\n")
        file.chmod(0o755)


@contextmanager
def _shell(place: Path, environ: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A shell that reads from a pipe and prints on a terminal, whose other end is the number."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
    with subprocess.Popen(
        ["bash", "--norc"], cwd=place, env=environ, stdin=subprocess.PIPE, stdout=theirs, stderr=theirs, text=True,
        start_new_session=True,
    ) as shell:  # fmt: skip
        os.close(theirs)
        try:
            yield shell, ours
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            os.close(ours)
