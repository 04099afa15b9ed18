"""How a worker of a group ended, and what is said of it. The supervisor asks.

Always holds: no sentence promises what nobody is there to do: a dead worker's jobs are given back by one that serves.
"""

import signal

import attrs

from restbroker.telemetry.events import GroupFailed, Warned


@attrs.frozen
class End:
    """In words, and as an exit code. `pid` is None if it never began."""

    how: str
    code: int
    pid: int | None = None

    def of(self, number: int) -> str:
        """The beginning of a sentence about worker `number`."""
        who = f"Worker {number}" if self.pid is None else f"Worker {number} (pid {self.pid})"
        return f"{who} {self.how}"


def ended(pid: int, code: int) -> End:
    """`code` as Python gives it: below 0 for a signal."""
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        return End(f"was killed by {names.get(-code, -code)}", 128 - code, pid)
    return End(f"ended with {code}" if code else "was stopped, and not by the group", code, pid)


def replaced(number: int, end: End, wait_s: float, *, alone: bool) -> Warned:
    """It will have a successor. `alone`: no other worker lives."""
    start = f"It is started again within {wait_s:g} s"
    if alone:
        start = "No other worker lives, so that one is started within a second"
    cure = "The lines of the log before this one may say why." if end.code else None
    message = f"{end.of(number)}. {start}; a worker that serves gives its jobs back to their queues."
    return Warned("WorkerEnded", message, cure)


def failed(number: int, end: End) -> GroupFailed:
    """It ended before any worker was ready."""
    message = f"{end.of(number)} before any worker of the group was ready. The group ends, instead of trying for ever."
    cure = "The lines of the log before this one may say why. Then start the group again."
    if end.code == 128 + signal.SIGKILL:
        cure = "Look whether the kernel ran out of memory (dmesg), then start the group again."
    return GroupFailed(end.code, message, cure)
