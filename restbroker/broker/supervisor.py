"""`run --processes N`: one process that delivers nothing and keeps N workers alive, each a whole `restbroker run`.

Assembly runs it. Always holds: what is asked of the supervisor by a signal is asked of every worker, also of those that
start later; a worker that ended is started again unless the group is to end; when the supervisor dies, however, its
workers end too (see `leash`); no job depends on it, since a worker's jobs are given back by the other workers.
"""

import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import attrs
import trio

from restbroker.broker import leash
from restbroker.broker.service import Service
from restbroker.broker.signals import WATCHED, task_tree
from restbroker.broker.view import View, together
from restbroker.telemetry.events import Report, Warned

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
HEALTHY_S = 60.0
"""A worker that lived so long begins anew with the shortest wait."""
HUNG_S = 10.0
"""So long a worker says nothing before it counts as one whose event loop hangs."""
KILL_S = 10.0
"""So long after a second signal what still lives is killed: a hung worker must not hold up the end."""
_RELOAD_S = 30.0
_CHUNK_BYTES = 65536
_STARTING = View("starting", store_up=True, beat_fresh=True, closed={})


@attrs.define(eq=False)
class Worker:
    """One that was started. `heard_at_s` is when it spoke last; None: not yet. `served`: it was ready once."""

    process: trio.Process
    line: socket.socket
    view: View = _STARTING
    reloads: int = 0
    heard_at_s: float | None = None
    served: bool = False

    def ask(self, number: int) -> None:
        """Asks it to act as at this signal. Nothing happens if it is gone."""
        with suppress(OSError):
            self.line.send(bytes([number]))


@attrs.frozen
class _End:
    """How a worker ended: in words, and as an exit code. `served` as in `Worker`; `pid` is None if it never began."""

    how: str
    code: int
    served: bool = False
    pid: int | None = None


@attrs.define(eq=False)
class Supervisor:
    """`command` starts a worker, which finds its end of the line on its standard input."""

    command: Sequence[str]
    count: int
    report: Report
    _workers: dict[int, Worker] = attrs.field(factory=dict)
    _orders: list[int] = attrs.field(factory=list)
    """What holds for those that start later too."""
    _codes: list[int] = attrs.field(factory=list)
    _stop: trio.Event = attrs.field(factory=trio.Event)
    _at_once: trio.Event = attrs.field(factory=trio.Event)
    _reload: trio.Event = attrs.field(factory=trio.Event)
    _news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    async def run(self, services: Sequence[Service], reload: Callable[[], Awaitable[None]]) -> int:
        """Keeps the workers until a signal ends the group. The exit code: 0, or the greatest of those that failed.

        `reload` is called at each SIGHUP.
        """
        async with trio.open_nursery() as process:
            await process.start(self._watch_signals)
            process.start_soon(self._reloads, reload)
            process.start_soon(self._kill_late)
            for service in services:
                await process.start(service.run)
            async with trio.open_nursery() as workers:
                for number in range(1, self.count + 1):
                    workers.start_soon(self._keep, number)
            process.cancel_scope.cancel()
        return max(self._codes, default=0)

    def view(self) -> View:
        """How all of them are, as one: ready when each is."""
        views = [worker.view for worker in self._workers.values()]
        views += [_STARTING] * (self.count - len(views))
        seen = together(views, stopping=self._stop.is_set())
        return seen if self.is_alive() else attrs.evolve(seen, beat_fresh=False)

    def is_alive(self) -> bool:
        """Whether the event loop of every worker turns. One that is being started again does not count."""
        now_s = trio.current_time()
        heard = [worker.heard_at_s for worker in self._workers.values() if worker.heard_at_s is not None]
        return all(now_s - at_s < HUNG_S for at_s in heard)

    def pids(self) -> frozenset[int]:
        """The workers' process ids."""
        return frozenset(worker.process.pid for worker in self._workers.values())

    async def reload_workers(self) -> None:
        """Has every worker load the configuration anew; returns when all have, or are gone, or take too long."""
        before = {number: (worker, worker.reloads) for number, worker in self._workers.items()}
        self._ask_all(signal.SIGHUP)
        with trio.move_on_after(_RELOAD_S):
            while any(self._workers.get(number) is one and one.reloads == n for number, (one, n) in before.items()):
                await self._news.park()

    async def _watch_signals(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(*WATCHED) as received:
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
                sys.stderr.write(task_tree())
                sys.stderr.flush()
            case signal.SIGTSTP:
                self._orders.append(number)
            case _ if self._stop.is_set():
                self._orders.append(number)
                self._codes.append(128 + number)
                self._at_once.set()
            case _:
                self._orders.append(number)
                self._stop.set()
        self._ask_all(number)

    def _ask_all(self, number: int) -> None:
        for worker in self._workers.values():
            worker.ask(number)

    async def _reloads(self, reload: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._reload.wait()
            self._reload = trio.Event()
            await reload()

    async def _kill_late(self) -> None:
        await self._at_once.wait()
        await trio.sleep(KILL_S)
        for worker in self._workers.values():
            worker.process.kill()

    async def _keep(self, number: int) -> None:
        """Keeps one worker alive until the group ends."""
        wait_s = FIRST_WAIT_S
        while not self._stop.is_set():
            began_s = trio.current_time()
            end = await self._live(number)
            if self._stop.is_set():
                self._codes.append(end.code)
                return
            if end.code and not end.served and not any(worker.served for worker in self._workers.values()):
                # It cannot start, and nobody else delivers: whoever started the group should know, not wait.
                self._codes.append(end.code)
                self._act(signal.SIGTERM)
                return
            if trio.current_time() - began_s >= HEALTHY_S:
                wait_s = FIRST_WAIT_S
            self._tell_of(number, end, wait_s)
            with trio.move_on_after(wait_s):
                await self._stop.wait()
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    async def _live(self, number: int) -> _End:
        """One life of a worker, from its start to its end."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours:
            try:
                with theirs:
                    # A process group of its own: Ctrl-C would end one that is still starting with a traceback.
                    process = await trio.lowlevel.open_process(self.command, stdin=theirs, process_group=0)
            except OSError as error:
                return _End(f"could not be started ({error.strerror})", 1)
            worker = self._workers[number] = Worker(process, ours)
            try:
                for order in self._orders:
                    worker.ask(order)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._listen, worker)
                    await process.wait()
                    nursery.cancel_scope.cancel()
            finally:
                del self._workers[number]
                self._news.unpark_all()
        return _ended(process.pid, process.returncode or 0, served=worker.served)

    async def _listen(self, worker: Worker) -> None:
        # A duplicate: closing it must not close what `ask` uses.
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
                for told in filter(None, map(leash.read, lines)):
                    worker.view, worker.reloads = told.view, told.reloads
                    worker.served = worker.served or told.view.unready is None
                if lines:
                    worker.heard_at_s = trio.current_time()
                    self._news.unpark_all()

    def _tell_of(self, number: int, end: _End, wait_s: float) -> None:
        who = f"Worker {number}" if end.pid is None else f"Worker {number} (pid {end.pid})"
        cure = "The lines of the log before this one may say why." if end.code else None
        message = f"{who} {end.how}. It is started again in {wait_s:g} s; its jobs go back to their queues meanwhile."
        self.report(Warned("WorkerEnded", message, cure))


def _ended(pid: int, code: int, *, served: bool) -> _End:
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        return _End(f"was killed by {names.get(-code, -code)}", 128 - code, served, pid)
    return _End(f"ended with {code}" if code else "was stopped, and not by the group", code, served, pid)
