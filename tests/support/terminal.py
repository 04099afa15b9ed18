"""Programs on a terminal of their own: what they show is waited for, and answered as by a person.

Always holds: the process does not outlive its `with` block.
"""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import attrs

from tests.support.process import RESTBROKER, clean_environment
from tests.support.wait import NEVER_S, until


@attrs.define
class Terminal:
    """`raw` is all that it showed so far."""

    process: subprocess.Popen[bytes]
    ours: int
    raw: bytes = b""
    _passed: int = 0

    @property
    def shown(self) -> str:
        """With the line ends of files."""
        return self.raw.decode(errors="replace").replace("\r\n", "\n")

    def type(self, words: str) -> None:
        os.write(self.ours, words.encode())

    def until(self, words: str) -> str:
        """What it shows before these words, from where the last ones ended."""
        while words not in self.shown[self._passed :]:
            assert self._read(), f"it ended before it showed {words!r}:\n{self.shown}"
        before, _, _ = self.shown[self._passed :].partition(words)
        self._passed += len(before) + len(words)
        return before

    def answer(self, question: str, words: str) -> bool:
        """Waits for the question, types the words and Enter; whether the terminal would have shown them."""
        self.until(question)
        # What hides what is typed does so after the question was written.
        hidden = self._hides() if "not shown" in question else False
        self.type(f"{words}\n")
        return not hidden

    def interrupt(self, question: str) -> None:
        """Waits for the question, and for the program to wait for its answer; types Ctrl-C."""
        self.until(question)
        # A signal between the last time that Python's input() looks for one and its read has no effect (seen twice in
        # 1500 times on a busy machine): nobody types that fast, or types it again then.
        until(self._reads, "the program waits for the answer")
        self.type("\x03")

    def end(self) -> int:
        """Waits for the end; the exit status."""
        while self._read():
            pass
        return self.process.wait(timeout=NEVER_S)

    def _reads(self) -> bool:
        """Whether the program is blocked in a call of the kernel that is about its standard input, as `read` is."""
        call = Path(f"/proc/{self.process.pid}/syscall").read_text().split()
        return call[1:2] == ["0x0"]

    def _hides(self) -> bool:
        deadline_s = time.monotonic() + NEVER_S
        while termios.tcgetattr(self.ours)[3] & termios.ECHO:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.01)
        return True

    def _read(self) -> bool:
        ready, _, _ = select.select([self.ours], [], [], NEVER_S)
        assert ready, f"nothing more came:\n{self.shown}"
        try:
            part = os.read(self.ours, 65536)
        except OSError:  # Linux says EIO when the other side of a terminal is closed
            return False
        self.raw += part
        return bool(part)


@contextmanager
def opened(
    command: Sequence[str], directory: Path, environ: Mapping[str, str], *, columns: int = 80, errors: bool = True
) -> Iterator[Terminal]:
    """Runs a command that a terminal controls; `errors`: its stderr is there too."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    stderr = theirs if errors else subprocess.DEVNULL
    words = ["setsid", "--ctty", *command]
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=stderr, cwd=directory, env=environ) as process:
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            process.kill()
            os.close(ours)


def dialogue(arguments: Sequence[str], directory: Path) -> AbstractContextManager[Terminal]:
    """`python -m restbroker` that asks questions."""
    return opened([*RESTBROKER, *arguments], directory, clean_environment({"TERM": "xterm"}))


def on_a_terminal(arguments: Sequence[str], directory: Path, *, columns: int = 80) -> str:
    """Everything that `python -m restbroker` writes to stdout on a terminal, escape sequences included."""
    environ = clean_environment({"TERM": "xterm"})
    with opened([*RESTBROKER, *arguments], directory, environ, columns=columns, errors=False) as terminal:
        terminal.end()
    return terminal.raw.decode()
