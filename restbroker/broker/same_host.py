"""Whether another process of this very host has certainly ended.

The reaper calls it. Always holds: True is certain. Containers share host names but not pid namespaces, and pids are
used again, so boot id, pid namespace and start time of the process are all compared. Linux only; elsewhere the result
is always False, and fencing by heartbeats does the work.
"""

import os
import socket
from pathlib import Path

from restbroker.light import frozen
from restbroker.store.identities import ProcessInfo


@frozen
class Host:
    """This machine's current boot and this process's pid namespace; "" where the system does not say."""

    boot_id: str
    pid_namespace: str


def this_host() -> Host:
    """Return this machine's boot id and the PID namespace of this process; "" for each that cannot be read."""
    return Host(_read(Path("/proc/sys/kernel/random/boot_id")), _namespace())


def this_process(target: str) -> ProcessInfo:
    """Return the record of this process with which `is_gone` works in others; `target` is the pool's target."""
    host = this_host()
    pid = os.getpid()
    return ProcessInfo(
        pid=pid,
        hostname=socket.gethostname(),
        boot_id=host.boot_id,
        pid_namespace=host.pid_namespace,
        started_at_ticks=_start_ticks(pid) or 0,
        target=target,
    )


def is_gone(process: ProcessInfo, host: Host) -> bool:
    """Tell whether the process of `process` belongs to the boot and pid namespace of `host` and no longer runs.

    Return False if that is uncertain.
    """
    if not host.boot_id or not host.pid_namespace:
        return False
    if (process.boot_id, process.pid_namespace) != (host.boot_id, host.pid_namespace):
        return False
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    ticks = _start_ticks(process.pid)
    return ticks is not None and process.started_at_ticks > 0 and ticks != process.started_at_ticks


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return ""


def _start_ticks(pid: int) -> int | None:
    # Field 22 of stat; the name in field 2 may hold blanks and brackets, so count from its end.
    stat = _read(Path(f"/proc/{pid}/stat"))
    fields = stat.rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 else None
