"""Ends what a run of tests leaves behind, however it ends: a watcher for each process of pytest, which outlives it.

Always holds: when this process has ended, also by SIGKILL, the watcher kills all that bears this process' mark in its
environment, what `spawn` started (Redis, Ruby and nginx overwrite their environment), and what these have started. The
workers of xdist bear the mark of pytest; what they start bears theirs, and has a watcher of its own.
"""

import functools
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

MARK: Final = "TESTS_SWEPT_BY"
_ROUNDS: Final = 50
_PAUSE_S: Final = 0.05

_Facts: TypeAlias = tuple[int, str]
"""The parent of a process, and when it was started: a number may be another process' later."""


def spawn(command: Sequence[str | Path], **options: Any) -> subprocess.Popen[bytes]:
    """As `subprocess.Popen`; the process does not outlive this one."""
    line = watch()
    process: subprocess.Popen[bytes] = subprocess.Popen(command, **options)
    os.write(line, f"{process.pid}\n".encode())
    return process


@functools.cache
def watch() -> int:
    """Mark this process' environment, and start its watcher; return where the numbers of processes go."""
    os.environ[MARK] = uuid.uuid4().hex
    reading, writing = os.pipe()
    # Its parent ends at once, so that it is nobody's child and Ctrl-C does not reach it.
    subprocess.run(
        [sys.executable, "-I", "-S", __file__],
        stdin=reading,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        check=True,
    )
    os.close(reading)
    return writing


def _sweep() -> None:
    if os.fork():
        return
    known = {int(line): _facts(line.strip()) for line in sys.stdin}
    mark = f"{MARK}={os.environ[MARK]}".encode()
    for _ in range(_ROUNDS):
        found = list(_found(known, mark))
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return
        time.sleep(_PAUSE_S)


def _found(known: dict[int, _Facts | None], mark: bytes) -> Iterator[int]:
    """Yield the processes to end that live."""
    names = [process.name for process in Path("/proc").glob("[0-9]*")]
    living = {int(name): facts for name in names if (facts := _facts(name))}
    living.pop(os.getpid())
    found = {pid for pid, (_, began) in living.items() if _bears(pid, mark) or _began(known.get(pid)) == began}
    while more := {pid for pid, (parent, _) in living.items() if parent in found} - found:
        found |= more
    yield from found


def _began(facts: _Facts | None) -> str | None:
    return facts[1] if facts else None


def _bears(pid: int, mark: bytes) -> bool:
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def _facts(pid: str) -> _Facts | None:
    """Return None of one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else (int(fields[1]), fields[19])


if __name__ == "__main__":
    _sweep()
