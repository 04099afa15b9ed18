"""How a worker of a group ended or hangs, and what is reported of it. Used by the supervisor and by `hangs`.

Always holds: no sentence promises what no process is there to do: a dead worker's jobs are given back by one that
serves.
"""

import signal

import attrs

from restbroker.config.values import duration_text
from restbroker.telemetry.events import GroupFailed, Warned


@attrs.frozen
class End:
    """How a worker ended, in words and as an exit code. `pid` is None if it never began."""

    how: str
    code: int
    pid: int | None = None

    def of(self, number: int) -> str:
        """Return the beginning of a sentence about worker `number`."""
        who = f"Worker {number}" if self.pid is None else f"Worker {number} (pid {self.pid})"
        return f"{who} {self.how}"


def ended(pid: int, code: int) -> End:
    """Return the end of a process from its exit code as Python gives it: below 0 for a signal."""
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        return End(f"was killed by {names.get(-code, -code)}", 128 - code, pid)
    return End(f"ended with {code}" if code else "was stopped, but not by the group", code, pid)


def replaced(number: int, end: End, wait_s: float, *, alone: bool) -> Warned:
    """Return the warning about a worker that ended and gets a successor. `alone`: no other worker lives.

    `wait_s`: within how many seconds it is restarted, if others live.
    """
    start = f"It is restarted within {duration_text(wait_s)}"
    if alone:
        start = "No other worker is left, so one is started within a second"
    cure = _why(end) if end.code else None
    message = f"{end.of(number)}. {start}; another worker returns its jobs to their queues."
    return Warned("WorkerEnded", message, cure)


def failed(number: int, end: End) -> GroupFailed:
    """Return the report that the group gives up, since this worker ended before any was ready."""
    message = f"{end.of(number)} before any worker of the group was ready. The group gives up."
    return GroupFailed(end.code, message, f"{_why(end)} Then start the group again.")


def hangs(number: int, pid: int, silent_s: float) -> Warned:
    """Return the warning about a worker that lives and has been silent for `silent_s` seconds."""
    message = (
        f"Worker {number} (pid {pid}) has not answered for {duration_text(silent_s)}: it is suspended, or its "
        "event loop is blocked. It is not killed; 20 s after its last heartbeat, another worker returns its "
        "jobs to their queues."
    )
    cure = (
        f"Find the cause (ps -o stat,wchan -p {pid}; T: suspended, kill -CONT {pid}). If it does not recover: "
        f"kill -KILL {pid}; another worker replaces it."
    )
    return Warned("WorkerHangs", message, cure)


def answers(number: int, pid: int, silent_s: float) -> Warned:
    """Return the report that a worker answers again which was reported to hang, after `silent_s` seconds."""
    message = f"Worker {number} (pid {pid}) answers again, after {duration_text(silent_s)}."
    return Warned("WorkerAnswers", message, "Nothing; if it happens again, find the cause.")


def _why(end: End) -> str:
    if end.code == 128 + signal.SIGKILL:
        # It had no time for a last line.
        return (
            "If no one killed it, the kernel did, because memory ran out: look for its pid in dmesg or "
            'journalctl -k ("Out of memory: Killed process").'
        )
    return "The log lines before this one may say why."
