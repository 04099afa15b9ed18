"""What a process and its descendants use, and how they are started and ended."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@contextmanager
def started(words: Sequence[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a process group of its own, and end the group at the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, env={**os.environ, **environment}, stdout=output, stderr=output, start_new_session=True
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
    """Return the CPU time of a process and its living descendants, in steps of nanoseconds."""
    return sum(_clock_s(process) for process in _family(pid))


def has_ended(pid: int) -> bool:
    """Return whether a process is over, though nobody has waited for it yet."""
    return _stat(pid)[:1] in ([], ["Z"])


def memory_mib(pid: int) -> float:
    """Return the resident memory of a process and its descendants; shared pages count for each."""
    return sum(int(found[21]) for process in _family(pid) if (found := _stat(process))) * _PAGE_BYTES / 2**20


def _clock_s(pid: int) -> float:
    try:
        return time.clock_gettime((~pid << 3) | 2)  # the clock of another process: clock_getcpuclockid(3)
    except OSError:
        return 0.0


def _family(pid: int) -> list[int]:
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    parents = {pid: int(found[1]) for pid in pids if (found := _stat(pid))}
    family = [pid]
    for process in family:
        # The list grows while it is walked, so that children of children are found too.
        family.extend(child for child, parent in parents.items() if parent == process)
    return family


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the command's name; none for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
