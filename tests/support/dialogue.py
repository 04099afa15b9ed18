"""A command on a terminal that asks questions: what it asks is waited for, and answered as by a person.

Used by tests of the command line. Always holds: stdin, stdout and stderr are one real pseudo-terminal, and the process
does not outlive its `with` block.
"""

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.support.process import clean_environment
from tests.support.wait import NEVER_S

_PATIENCE_S = NEVER_S


@attrs.define
class Dialogue:
    """`shown` is all that the terminal showed so far, with the line ends of files."""

    process: subprocess.Popen[bytes]
    ours: int
    shown: str = ""
    _seen: int = 0

    def answer(self, question: str, words: str) -> bool:
        """Waits for the question, types the words and Enter; whether the terminal would have shown them."""
        self._until(question)
        # What hides what is typed does so after the question was written.
        hidden = self._hides() if "not shown" in question else False
        os.write(self.ours, f"{words}\n".encode())
        return not hidden

    def interrupt(self, question: str) -> None:
        self._until(question)
        os.write(self.ours, b"\x03")

    def end(self) -> int:
        """Waits for the end; the exit status."""
        while self._read():
            pass
        return self.process.wait(timeout=_PATIENCE_S)

    def _hides(self) -> bool:
        deadline_s = time.monotonic() + _PATIENCE_S
        while termios.tcgetattr(self.ours)[3] & termios.ECHO:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.01)
        return True

    def _until(self, words: str) -> None:
        while words not in self.shown[self._seen :]:
            assert self._read(), f"it ended before it asked {words!r}:\n{self.shown}"
        self._seen += self.shown[self._seen :].index(words) + len(words)

    def _read(self) -> bool:
        ready, _, _ = select.select([self.ours], [], [], _PATIENCE_S)
        assert ready, f"nothing more came:\n{self.shown}"
        try:
            part = os.read(self.ours, 65536)
        except OSError:  # Linux says EIO when the other side of a terminal is closed
            return False
        self.shown += part.decode().replace("\r\n", "\n")
        return bool(part)


@contextmanager
def dialogue(arguments: Sequence[str], directory: Path) -> Iterator[Dialogue]:
    """Runs `python -m restbroker` on a terminal of its own, which controls it."""
    ours, theirs = pty.openpty()
    command = ["setsid", "--ctty", sys.executable, "-m", "restbroker", *arguments]
    environ = clean_environment({"TERM": "xterm"})
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=directory, env=environ) as process:
        os.close(theirs)
        try:
            yield Dialogue(process, ours)
        finally:
            process.kill()
            os.close(ours)
