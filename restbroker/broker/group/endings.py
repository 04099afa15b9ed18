"""How a worker of a group ended or hangs, and what is said of it. The supervisor and its watch of workers ask.

Always holds: no sentence promises what nobody is there to do: a dead worker's jobs are given back by one that serves.
"""

import signal

import attrs

from restbroker.config.values import duration_text
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
    start = f"It is started again within {duration_text(wait_s)}"
    if alone:
        start = "No other worker lives, so that one is started within a second"
    cure = _why(end) if end.code else None
    message = f"{end.of(number)}. {start}; a worker that serves gives its jobs back to their queues."
    return Warned("WorkerEnded", message, cure)


def failed(number: int, end: End) -> GroupFailed:
    """It ended before any worker was ready."""
    message = f"{end.of(number)} before any worker of the group was ready. The group ends, instead of trying for ever."
    return GroupFailed(end.code, message, f"{_why(end)} Then start the group again.")


def hangs(number: int, pid: int, silent_s: float) -> Warned:
    """It lives, and has said nothing for so long."""
    message = (
        f"Worker {number} (pid {pid}) has not answered for {duration_text(silent_s)}: it is suspended, or its event"
        " loop stands still. It is not ended; 20 s after its last beat, a worker that serves gives its jobs back to"
        " their queues."
    )
    cure = (
        f"See what holds it up (ps -o stat,wchan -p {pid}; T: suspended, kill -CONT {pid})."
        f" If it stays so: kill -KILL {pid}; another one is started in its place."
    )
    return Warned("WorkerHangs", message, cure)


def answers(number: int, pid: int, silent_s: float) -> Warned:
    """It was said to hang, and does not any more."""
    message = f"Worker {number} (pid {pid}) answers again, after {duration_text(silent_s)}."
    return Warned("WorkerAnswers", message, "Nothing is to be done; if it comes again, look what holds it up.")


def _why(end: End) -> str:
    if end.code == 128 + signal.SIGKILL:
        # It had no time for a last line.
        return (
            "If nobody killed it, the kernel did since memory ran out: look for its pid in dmesg or journalctl -k"
            ' ("Out of memory: Killed process").'
        )
    return "The lines of the log before this one may say why."
