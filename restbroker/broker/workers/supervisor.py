"""`run --processes N`: one process that delivers nothing and keeps N workers alive, each a whole `restbroker run`.

`app` runs it. Always holds: a signal to the supervisor is passed on to every worker, and what lasts (a stop, no more
jobs) also to those that start later; a worker that ended, or whose line ended, is started again unless all are to end,
after a wait that doubles each time; one that hangs is ended first, by time in which the supervisor itself ran on time
(a suspended machine is no worker's fault), and no other before its successor has reported; when the supervisor dies,
however, its workers end too (see `worker_channel`); once any worker was ready, only a signal ends the supervisor, no
matter what becomes of its workers or of the configuration; no job depends on it, since workers give back what a dead
one had.
"""

import signal
import socket
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from restbroker.broker.plan import Service, start_all
from restbroker.broker.scopes import until
from restbroker.broker.signals import WATCHED, dump, receive
from restbroker.broker.status.view import View, together
from restbroker.broker.workers.worker_channel import (
    KILL_AFTER_S,
    START_S,
    STARTING,
    WorkerProcess,
    read_report,
    read_samples,
)
from restbroker.config.values import duration_text
from restbroker.light import define, field, frozen
from restbroker.telemetry.events import GroupFailed, GroupStopping, OperatorWarning, Report
from restbroker.telemetry.metrics import MergedMetrics

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 8.0
HEALTHY_S = 60.0
"""A worker that lived for so many seconds begins again with the shortest wait."""
KILL_S = 10.0
"""Seconds after a second signal until what still lives is killed: a hung worker must not hold up the end."""
_RELOAD_S = 30.0
_LAST_WORDS_S = 0.5
_LOOK_S = 1.0
_CHUNK_BYTES = 65536


@frozen
class WorkerEnd:
    """How a worker ended, in words and as an exit code.

    `pid` is None if it never began. `is_ours`: the supervisor ended it, since it hung.
    """

    how: str
    code: int
    pid: int | None = None
    is_ours: bool = False

    def text(self, number: int) -> str:
        """Return the beginning of a sentence about worker `number`."""
        who = f"Worker {number}" if self.pid is None else f"Worker {number} (pid {self.pid})"
        return f"{who} {self.how}"


def end_of(pid: int, code: int, ended_for: str) -> WorkerEnd:
    """Return the end of a process from its exit code as Python gives it: below 0 for a signal.

    `ended_for`: why the supervisor ended it; "": it did not.
    """
    exit_code = 128 - code if code < 0 else code
    if ended_for:
        return WorkerEnd(ended_for, exit_code, pid, is_ours=True)
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        return WorkerEnd(f"was killed by {names.get(-code, -code)}", exit_code, pid)
    return WorkerEnd(f"ended with {code}" if code else "was stopped, but not by its supervisor", exit_code, pid)


def restart_warning(number: int, end: WorkerEnd, wait_s: float) -> OperatorWarning:
    """Return the warning about a worker that ended and gets a successor in `wait_s` seconds."""
    hint = _why(end) if end.code or end.is_ours else None
    start = f"It is restarted in {duration_text(wait_s)}"
    message = f"{end.text(number)}. {start}; another worker returns its jobs to their queues."
    return OperatorWarning("WorkerEnded", message, hint)


def failure(number: int, end: WorkerEnd) -> GroupFailed:
    """Return the report that the supervisor gives up, since this worker ended before any was ready."""
    message = f"{end.text(number)} before any worker was ready. All end."
    return GroupFailed(end.code, message, f"{_why(end)} Then start restbroker again.")


def _why(end: WorkerEnd) -> str:
    if end.is_ours:
        return "It was suspended, or its event loop was blocked: the log lines before this one may say why."
    if end.code == 128 + signal.SIGKILL:
        # It had no time for a last line.
        return (
            "If no one killed it, the kernel did, because memory ran out: look for its pid in dmesg or "
            'journalctl -k ("Out of memory: Killed process").'
        )
    return "The log lines before this one may say why."


async def always() -> bool:
    """Return True at once: the `may_start` of workers that may always start."""
    return True


@define(eq=False)
class Supervisor:
    """The supervisor of `count` workers. `command`, and a worker's number, starts that worker.

    The worker finds its end of the line on its standard input.
    """

    command: Sequence[str]
    count: int
    report: Report
    metrics: MergedMetrics = field(init=False)
    _workers: dict[int, WorkerProcess] = field(factory=dict)
    _served: bool = False
    """Whether any worker was ready once."""
    _reported_at_s: float | None = None
    """When any worker reported last; None: none did yet."""
    _orders: list[int] = field(factory=list)
    """The signals that hold for workers that start later too."""
    _codes: list[int] = field(factory=list)
    _stop: trio.Event = field(factory=trio.Event)
    _at_once: trio.Event = field(factory=trio.Event)
    _reload: trio.Event = field(factory=trio.Event)
    _changed: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)

    def __attrs_post_init__(self) -> None:
        self.metrics = MergedMetrics(self.count)

    async def run(
        self,
        services: Sequence[Service],
        reload: Callable[[], Awaitable[object]],
        may_start: Callable[[], Awaitable[bool]] = always,
    ) -> int:
        """Keep the workers alive until a signal ends them all; return the exit code: 0, or the greatest of all.

        `reload` is called at each SIGHUP, `may_start` before a worker is started again: if it may not, it waits on. If
        a worker fails before any was ready, the supervisor gives up, and all end.
        """
        async with trio.open_nursery() as process:
            await process.start(self._watch_signals)
            process.start_soon(self._reloads, reload)
            process.start_soon(self._kill_late)
            process.start_soon(self._end_hung)
            await start_all(services, process, self._stop)
            async with trio.open_nursery() as workers:
                for number in range(1, self.count + 1):
                    workers.start_soon(self._keep, number, may_start)
            process.cancel_scope.cancel()
        return max(self._codes, default=0)

    def view(self) -> View:
        """Return the views of all workers as one, ready when each of them is."""
        views = [worker.view for worker in self._workers.values()]
        views += [STARTING] * (self.count - len(views))
        view = together(views, stopping=self._stop.is_set())
        return view if self.is_alive() else attrs.evolve(view, heartbeat_fresh=False)

    def is_alive(self) -> bool:
        """Tell whether a worker reported within the last `START_S` seconds; True before any report."""
        return self._reported_at_s is None or trio.current_time() - self._reported_at_s < START_S

    def pids(self) -> frozenset[int]:
        """Return the process ids of the workers that live."""
        return frozenset(worker.process.pid for worker in self._workers.values())

    async def reload_workers(self) -> None:
        """Have every worker load the configuration again; return when all have, are gone, or take longer than 30 s."""
        before = {number: (worker, worker.reloads) for number, worker in self._workers.items()}
        self._order_all(signal.SIGHUP)
        with trio.move_on_after(_RELOAD_S):
            while any(self._workers.get(number) is was and was.reloads == n for number, (was, n) in before.items()):
                await self._changed.park()

    async def _watch_signals(self, *, task_status: trio.TaskStatus[None]) -> None:
        with receive(*WATCHED) as received:
            task_status.started()
            async for number in received:
                self._act(number)

    def _act(self, number: int) -> None:
        match number:
            case signal.SIGHUP:
                # The workers are asked once the file was looked at.
                self._reload.set()
                return
            case signal.SIGTTIN:
                dump("supervisor")
            case signal.SIGTSTP:
                self._orders.append(number)
            case _ if self._stop.is_set():
                self._orders.append(number)
                self._codes.append(128 + number)
                self._at_once.set()
            case _:
                self.report(GroupStopping(signal.Signals(number).name))
                self._orders.append(number)
                self._stop.set()
        self._order_all(number)

    def _order_all(self, number: int) -> None:
        for worker in self._workers.values():
            worker.order(number)

    async def _reloads(self, reload: Callable[[], Awaitable[object]]) -> None:
        while True:
            await self._reload.wait()
            self._reload = trio.Event()
            await reload()

    async def _kill_late(self) -> None:
        await self._at_once.wait()
        await trio.sleep(KILL_S)
        for worker in self._workers.values():
            worker.process.kill()

    async def _end_hung(self) -> None:
        """End workers that hang, one at a time, until cancelled."""
        while True:
            due_s = trio.current_time() + _LOOK_S
            await trio.sleep_until(due_s)
            if trio.current_time() - due_s >= _LOOK_S:
                # It was held up itself: what they reported meanwhile is not read yet.
                continue
            workers = list(self._workers.values())
            for worker in workers:
                worker.age(_LOOK_S)
            hung = next((worker for worker in workers if worker.is_hung), None)
            if hung is not None and all(worker.has_reported or worker.is_hung for worker in workers):
                await hung.end(f"did not report for {hung.status_age_s:.0f} s and was ended")

    async def _keep(self, number: int, may_start: Callable[[], Awaitable[bool]] = always) -> None:
        """Keep one worker alive until all are to end."""
        wait_s = FIRST_WAIT_S
        while not self._stop.is_set():
            began_s = trio.current_time()
            end = await self._live(number)
            if self._stop.is_set():
                self._codes.append(end.code)
                return
            if end.code and not self._served:
                self._give_up(number, end)
                return
            if trio.current_time() - began_s >= HEALTHY_S:
                wait_s = FIRST_WAIT_S
            self.report(restart_warning(number, end, wait_s))
            async with until(self._stop.wait):
                may_start_now = False
                while not may_start_now:
                    await trio.sleep(wait_s)
                    wait_s = min(wait_s * 2, LONGEST_WAIT_S)
                    may_start_now = await may_start()

    def _give_up(self, number: int, end: WorkerEnd) -> None:
        # No worker ever delivered: the person who started them should know, not wait.
        self.report(failure(number, end))
        self._codes.append(end.code)
        self._orders.append(signal.SIGTERM)
        self._stop.set()
        self._order_all(signal.SIGTERM)

    async def _live(self, number: int) -> WorkerEnd:
        """Start a worker, wait until it ends, and return how it ended."""
        command = [*self.command, str(number)]
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours:
            try:
                with theirs:
                    # A process group of its own: Ctrl-C would end one that is still starting with 130.
                    process = await trio.lowlevel.open_process(command, stdin=theirs, process_group=0)
            except OSError as error:
                return WorkerEnd(f"could not be started ({error.strerror})", 1)
            worker = self._workers[number] = WorkerProcess(process, ours)
            self.metrics.add_worker(process.pid)
            try:
                for order in self._orders:
                    worker.order(order)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._follow, worker)
                    await process.wait()
                    # Until the line's end; but a child of the worker's may hold it open.
                    nursery.cancel_scope.deadline = trio.current_time() + _LAST_WORDS_S
            finally:
                del self._workers[number]
                self.metrics.remove_worker(process.pid)
                self._changed.unpark_all()
        code = process.returncode or 0
        if code == -signal.SIGTERM and self._stop.is_set() and not worker.has_reported:
            code = 0  # by our order, before it could listen: it had done nothing
        return end_of(process.pid, code, worker.ended_for)

    async def _follow(self, worker: WorkerProcess) -> None:
        """Read what a worker reports; end one whose line ended, unless it ends by itself."""
        await self._listen(worker)
        with trio.move_on_after(KILL_AFTER_S):
            await worker.process.wait()
            return
        await worker.end("closed its line to the supervisor and was ended")

    async def _listen(self, worker: WorkerProcess) -> None:
        # A duplicate: closing it must not close what `order` uses.
        rest = b""
        with trio.socket.from_stdlib_socket(worker.line.dup()) as line:
            while True:
                try:
                    got = await line.recv(_CHUNK_BYTES)
                except OSError:
                    return
                if not got:
                    return
                *lines, rest = (rest + got).split(b"\n")
                for report in filter(None, map(read_report, lines)):
                    worker.note(report)
                    self._served = self._served or report.view.unready is None
                for samples in filter(None, map(read_samples, lines)):
                    self.metrics.update(worker.process.pid, samples)
                if lines:
                    worker.record_line()
                    self._reported_at_s = trio.current_time()
                    self._changed.unpark_all()
