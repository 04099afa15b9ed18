"""What the real servers of the tests have in common: a process in a folder of its own, which is started, stopped,
killed and restarted.

Always holds: neither a service manager nor another user is involved, so it works in any container.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final, Self

import attrs

from tests.support.sweeper import spawn
from tests.support.wait import until

START_TIMEOUT_S: Final = 300.0
_TAIL_LINES: Final = 30
_BIND: Final = """\
root=$1 shared=$2; shift 2
mkdir -p "$root$shared" && for at in "$shared" /dev /proc; do mount --rbind "$at" "$root$at" || exit; done
exec chroot "$root" "$@"
"""
_CHROOT: Final = ("unshare", "--mount", "sh", "-c", _BIND, "sh")
"""What is mounted is seen by the server alone, and gone with it."""


@attrs.define
class Daemon:
    """One server, which a subclass spawns and asks."""

    name: ClassVar[str]
    logs: ClassVar[tuple[str, ...]] = ("output.log",)
    directory: Path
    root: str = attrs.field(factory=lambda: os.environ.get("SERVERS_ROOT", ""), kw_only=True)
    """A folder with an unpacked system in which it runs by chroot. Our temporary files are there, by the same paths."""
    process: subprocess.Popen[bytes] | None = attrs.field(default=None, init=False)

    def _spawn(self) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def _ready(self) -> bool:
        raise NotImplementedError

    def start(self) -> Self:
        """Starts it on the data that is there, and returns when it answers."""
        assert self.process is None, f"this {self.name} runs already"
        self.directory.mkdir(parents=True, exist_ok=True)
        process = self.process = self._spawn()
        try:
            until(lambda: process.poll() is not None or self._ready(), f"{self.name} answers", START_TIMEOUT_S)
            assert process.poll() is None, f"{self.name} did not start:\n{self.log_tail()}"
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Stops it gracefully (SIGTERM) and waits."""
        if self.process is not None:
            self.process.terminate()
            self._wait()

    def kill(self) -> None:
        """Ends it at once (SIGKILL)."""
        if self.process is not None:
            self._signal(signal.SIGKILL)
            self._wait()

    def restart(self) -> None:
        """Stops it gracefully and starts it again on the same ports and data."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Suspends it (SIGSTOP): connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on after `freeze`."""
        self._signal(signal.SIGCONT)

    def log_tail(self) -> str:
        """The last lines of what it printed and logged."""
        files = [self.directory / name for name in self.logs]
        found = [path.read_text("utf-8", "replace").splitlines()[-_TAIL_LINES:] for path in files if path.exists()]
        return "\n".join(line for lines in found for line in lines)

    def _run(self, *command: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        with (self.directory / "output.log").open("ab") as output:
            return spawn(
                (*_CHROOT, self.root, tempfile.gettempdir(), *command) if self.root else command,
                cwd=self.directory,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A shell script may become the server; its helpers share the group. Ctrl-C is ours.
                start_new_session=True,
            )

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None, f"this {self.name} does not run"
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _wait(self) -> None:
        assert self.process is not None, f"this {self.name} does not run"
        try:
            self.process.wait(timeout=60)
        finally:
            self._signal(signal.SIGKILL)
            self.process.wait(timeout=30)
            self.process = None
