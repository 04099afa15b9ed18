"""What the process does when it gets a signal.

`watch` is one task, open until the process ends, or the second signal would not be seen; the process record calls `act`
for the requests of Sidekiq Web, and a process of `--processes` for those of its supervisor. SIGTERM and SIGINT drain, a
second one stops at once; SIGTSTP takes no more jobs (for good, as in Sidekiq); SIGTTIN prints what every task waits
for; SIGHUP loads the configuration again. Always holds: what a signal called for stays set; only a reload is for one
time.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from restbroker.light import define, field
from restbroker.start import STOP, end_at_once
from restbroker.telemetry.events import BrokerQuiet, Report

_TRIO = Path(trio.__file__).parent
WATCHED = (*STOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGHUP)


@define(eq=False)
class Control:
    """Requests that signals made. `second` is the number of the signal that ended the drain; None: there was none.

    `stop`: drain and end; `why` says in words what called for it. `at_once`: end now. `quiet`: take no more jobs.
    `reload` is for one reload: the task that acts on it calls `take_reload` first, so that no signal is missed
    meanwhile.
    """

    stop: trio.Event = field(factory=trio.Event)
    at_once: trio.Event = field(factory=trio.Event)
    quiet: trio.Event = field(factory=trio.Event)
    reload: trio.Event = field(factory=trio.Event)
    name: str = ""
    """What the process is called among those of `--processes`; empty without it."""
    why: str = ""
    is_local: bool = False
    """Whether a local signal called for the stop."""
    second: int | None = None

    def drain(self, why: str, *, is_local: bool = False) -> None:
        """Have the process drain and end; only the first reason counts. `is_local`: a local signal calls for it."""
        self.why, self.is_local = self.why or why, self.is_local or is_local
        self.stop.set()

    def cut_short(self, number: int) -> None:
        """Have the process end now, since the signal of this number came during the drain."""
        self.second = number
        self.at_once.set()

    def take_reload(self) -> None:
        """Begin to act on a reload: a signal that comes from now on calls for another one."""
        self.reload = trio.Event()


@contextmanager
def receive(*numbers: int) -> Iterator[AsyncIterator[int]]:
    """Receive these signals in the block, those included that came a moment before it; after it none ends the process.

    A second signal to stop at the very end changes nothing any more: all is in order by then, and the exit code is
    known.
    """
    early: list[int] = []
    for number in STOP:
        if signal.getsignal(number) is end_at_once:
            signal.signal(number, lambda number, _: early.append(number))
    with trio.open_signal_receiver(*numbers) as signals:
        for received in early:
            signal.raise_signal(received)
        yield signals


async def watch(
    control: Control, report: Report, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Turn signals into events of `control` until cancelled; call `task_status.started()` once signals are caught."""
    with receive(*WATCHED) as signals:
        task_status.started()
        async for number in signals:
            act(number, control, report)


def act(number: int, control: Control, report: Report, origin: str | None = None) -> None:
    """Do what the signal `number` calls for. `origin` names the sender if it is no local process.

    Only a second local signal to stop cuts the drain short: a first one may follow Sidekiq Web's, as when a service is
    stopped after it.
    """
    name = signal.Signals(number).name if origin is None else f"{signal.Signals(number).name} from {origin}"
    match number:
        case signal.SIGTERM | signal.SIGINT if origin is None and control.is_local:
            control.cut_short(number)
        case signal.SIGTERM | signal.SIGINT:
            control.drain(name, is_local=origin is None)
        case signal.SIGTSTP if not control.quiet.is_set():
            control.quiet.set()
            report(BrokerQuiet(name))
        case signal.SIGTTIN:
            dump(control.name)
        case signal.SIGHUP:
            control.reload.set()
        case _:
            pass


def dump(name: str) -> None:
    """Print to stderr where every task waits; if there is a `name`, each line begins with it and the process id."""
    label = f"{name} pid={os.getpid()}: " if name else ""
    # In one piece: other processes of this machine write their own at the same time.
    sys.stderr.write("".join(f"{label}{line}\n" for line in task_tree().splitlines()))
    sys.stderr.flush()


def task_tree() -> str:
    """Return every task of this process with the place where it waits, as indented text."""
    root = trio.lowlevel.current_root_task()
    lines: list[str] = []
    if root is not None:
        _describe(root, 0, lines)
    return "\n".join(lines) + "\n"


def _describe(task: trio.lowlevel.Task, depth: int, lines: list[str]) -> None:
    indent = "  " * depth
    # Every task waits inside Trio; what is worth knowing is where it was called from.
    frames = [frame for frame, _ in task.iter_await_frames() if _TRIO not in Path(frame.f_code.co_filename).parents]
    place = f" at {frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else ""
    lines.append(f"{indent}{task.name}{place}")
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            _describe(child, depth + 1, lines)
