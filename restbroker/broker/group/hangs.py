"""Reports the workers of a group that live and do not answer: once when it begins, and once when it is over.

The supervisor runs it. Always holds: it ends no worker, since one that is suspended may have a reason (a debugger), and
its jobs are given back without that.
"""

from collections.abc import Callable, Mapping

import attrs
import trio

from restbroker.broker.group import endings
from restbroker.telemetry.events import Report

HUNG_S = 10.0
"""Seconds of silence after which a worker counts as one whose event loop hangs."""
_LOOK_S = 1.0


@attrs.frozen
class Heard:
    """A worker that lives: its number, its process and when it spoke last (None: not yet)."""

    number: int
    pid: int
    at_s: float | None


@attrs.define(eq=False)
class Hangs:
    """The watch for workers that hang. `heard` returns those that live now."""

    heard: Callable[[], list[Heard]]
    report: Report
    _told: Mapping[int, Heard] = attrs.field(factory=dict)
    """The workers that were reported to hang: {process id: the worker as it was then}."""

    def now(self) -> list[Heard]:
        """Return the workers that hang now."""
        return [one for one in self.heard() if is_silent(one.at_s)]

    def words(self) -> str | None:
        """Return which workers hang, as a sentence; None if none does."""
        names = [f"worker {one.number} (pid {one.pid})" for one in self.now()]
        return f"No answer from {', '.join(names)}." if names else None

    async def watch(self) -> None:
        """Report workers that begin to hang, or no longer do, until cancelled."""
        while True:
            due_s = trio.current_time() + _LOOK_S
            await trio.sleep_until(due_s)
            # Was it held up itself, it has not read yet what they said meanwhile.
            if trio.current_time() - due_s < _LOOK_S:
                self.look()

    def look(self) -> None:
        """Report what has changed since the last call, except about workers that are gone: their end is reported."""
        hung = {one.pid: one for one in self.now()}
        living = {one.pid: one for one in self.heard()}
        for pid, one in hung.items():
            if pid not in self._told:
                self.report(endings.hangs(one.number, pid, _silence_s(one.at_s, trio.current_time())))
        for pid, before in self._told.items():
            if pid in living and pid not in hung:
                self.report(endings.answers(before.number, pid, _silence_s(before.at_s, living[pid].at_s)))
        self._told = {pid: self._told.get(pid, one) for pid, one in hung.items()}


def is_silent(at_s: float | None) -> bool:
    """Tell whether a worker that spoke last at `at_s` has been silent for too long; False if it never spoke (None)."""
    return at_s is not None and trio.current_time() - at_s >= HUNG_S


def _silence_s(began_s: float | None, ended_s: float | None) -> float:
    return 0.0 if began_s is None or ended_s is None else ended_s - began_s
