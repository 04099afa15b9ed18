"""When workers are restarted, and the messages about how they ended. The supervisor calls it.

Always holds: a worker that keeps ending is restarted less and less often; but while no worker lives, jobs wait, so that
one is started at once, though no two within `ALONE_S` seconds; and each message is true of the workers as they are: a
dead one's jobs are requeued by another.
"""

import math
import signal
from collections.abc import Awaitable, Callable

import attrs
import trio

from restbroker.config.values import duration_text
from restbroker.telemetry.events import GroupFailed, OperatorWarning

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
ALONE_S = 1.0


async def always() -> bool:
    """Return True at once: the `may_start` of workers that may always start."""
    return True


@attrs.define(eq=False)
class RestartBackoff:
    """The restarts of workers. `any_lives` tells whether one lives; `stop` ends all waiting.

    Code that changes what `any_lives` returns unparks `changed`.
    """

    any_lives: Callable[[], bool]
    changed: trio.lowlevel.ParkingLot
    stop: trio.Event
    _tried_at_s: float = -math.inf
    """When any worker was started last, or was about to be."""

    def note_start(self) -> None:
        """Note that a worker is started without having waited."""
        self._tried_at_s = trio.current_time()

    async def wait(self, wait_s: float, may_start: Callable[[], Awaitable[bool]]) -> float:
        """Wait until a worker may be restarted or all are to end; return the `wait_s` for the worker's next restart.

        `wait_s` (seconds) is how long to wait while other workers live. It is doubled after each wait; while
        `may_start` returns False, another wait follows.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_at_stop, nursery.cancel_scope)
            while True:
                await self._wait(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
                if await may_start():
                    break
            nursery.cancel_scope.cancel()
        return wait_s

    async def _cancel_at_stop(self, scope: trio.CancelScope) -> None:
        await self.stop.wait()
        scope.cancel()

    async def _wait(self, wait_s: float) -> None:
        due_s = trio.current_time() + wait_s
        while True:
            wake_s = due_s if self.any_lives() else min(due_s, self._tried_at_s + ALONE_S)
            if trio.current_time() >= wake_s:
                break
            with trio.move_on_at(wake_s):
                await self.changed.park()
        # Before anything is awaited, so that only one of those that wait is the first.
        self._tried_at_s = trio.current_time()


@attrs.frozen
class End:
    """How a worker ended, in words and as an exit code.

    `pid` is None if it never began. `is_ours`: the supervisor ended it, since it hung.
    """

    how: str
    code: int
    pid: int | None = None
    is_ours: bool = False

    def of(self, number: int) -> str:
        """Return the beginning of a sentence about worker `number`."""
        who = f"Worker {number}" if self.pid is None else f"Worker {number} (pid {self.pid})"
        return f"{who} {self.how}"


def end_of(pid: int, code: int, ended_for: str) -> End:
    """Return the end of a process from its exit code as Python gives it: below 0 for a signal.

    `ended_for`: why the supervisor ended it; "": it did not.
    """
    exit_code = 128 - code if code < 0 else code
    if ended_for:
        return End(ended_for, exit_code, pid, is_ours=True)
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        return End(f"was killed by {names.get(-code, -code)}", exit_code, pid)
    return End(f"ended with {code}" if code else "was stopped, but not by its supervisor", exit_code, pid)


def restart_warning(number: int, end: End, wait_s: float, *, alone: bool) -> OperatorWarning:
    """Return the warning about a worker that ended and gets a successor. `alone`: no other worker lives.

    `wait_s`: within how many seconds it is restarted, if others live.
    """
    start = f"It is restarted within {duration_text(wait_s)}"
    if alone:
        start = "No other worker is left, so one is started within a second"
    hint = _why(end) if end.code or end.is_ours else None
    message = f"{end.of(number)}. {start}; another worker returns its jobs to their queues."
    return OperatorWarning("WorkerEnded", message, hint)


def failure(number: int, end: End) -> GroupFailed:
    """Return the report that the supervisor gives up, since this worker ended before any was ready."""
    message = f"{end.of(number)} before any worker was ready. All end."
    return GroupFailed(end.code, message, f"{_why(end)} Then start restbroker again.")


def _why(end: End) -> str:
    if end.is_ours:
        return "It was suspended, or its event loop was blocked: the log lines before this one may say why."
    if end.code == 128 + signal.SIGKILL:
        # It had no time for a last line.
        return (
            "If no one killed it, the kernel did, because memory ran out: look for its pid in dmesg or "
            'journalctl -k ("Out of memory: Killed process").'
        )
    return "The log lines before this one may say why."
