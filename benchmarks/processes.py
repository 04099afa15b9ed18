"""What a process and its children cost, and how they are ended. Every measurement uses it.

Always holds: CPU time is that of all threads and all descendants, children that have ended included, as Linux counts it
in /proc (10 ms steps; so a measurement should last seconds).
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@contextmanager
def started(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a command in a process group of its own, and ends the group at the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def cpu_s(pid: int) -> float:
    """The CPU time so far of a process and all its descendants."""
    fields = [found for one in _family(pid) if (found := _stat(one)) is not None]
    return sum(sum(int(text) for text in found[11:15]) for found in fields) / _TICKS_PER_S


def stolen_cpu_s() -> float:
    """The CPU time of all cores that the host of this virtual machine has given to others so far."""
    line = Path("/proc/stat").read_text("ascii").splitlines()[0]
    return int(line.split()[8]) / _TICKS_PER_S


def memory_mib(pid: int) -> float:
    """The resident memory of a process and all its descendants; pages that they share count for each."""
    fields = [found for one in _family(pid) if (found := _stat(one)) is not None]
    return sum(int(found[21]) for found in fields) * _PAGE_BYTES / 2**20


def _family(pid: int) -> list[int]:
    parents = {one: int(found[1]) for one in _pids() if (found := _stat(one)) is not None}
    family = [pid]
    for one in family:
        # The list grows while it is walked: children of children are found too.
        family.extend(child for child, parent in parents.items() if parent == one)
    return family


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the command's name; None for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
