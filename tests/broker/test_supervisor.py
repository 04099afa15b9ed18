# ruff: noqa: SLF001 - a supervisor whose workers are no processes
"""What the supervisor of `run --processes` does with workers that crash, hang or never start: small programs here."""

import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
import trio

from restbroker.broker.status.view import View, together
from restbroker.broker.workers import supervisor, worker_channel
from restbroker.broker.workers.supervisor import Supervisor, always
from restbroker.broker.workers.worker_channel import START_S, WorkerProcess, WorkerReport, read_report
from restbroker.telemetry.events import Event, GroupFailed, OperatorWarning
from tests.support.wait import until_async

READY = View("serving", store_up=True, heartbeat_fresh=True, down_targets={})
STARTING = attrs.evolve(READY, phase="starting")
SAY_READY = f"line.sendall({WorkerReport(READY, 0).line()!r})"


@attrs.define(eq=False)
class Group:
    """A supervisor of small programs, which have their end of the line as `line` and their number as `number`."""

    supervisor: Supervisor
    events: list[Event]
    may_start: Callable[[], Awaitable[bool]] = always
    reloads: list[None] = attrs.field(factory=list)
    code: int | None = None

    def warnings(self) -> list[OperatorWarning]:
        return [event for event in self.events if isinstance(event, OperatorWarning)]

    def messages(self) -> list[str]:
        return [event.message for event in self.warnings()]

    async def reload(self) -> None:
        await self.supervisor.reload_workers()
        self.reloads.append(None)

    async def run(self) -> None:
        self.code = await self.supervisor.run([], self.reload, self.may_start)

    def kill(self) -> None:
        for worker in self.workers():
            worker.process.kill()

    def workers(self) -> list[WorkerProcess]:
        return list(self.supervisor._workers.values())

    async def serve(self) -> None:
        """Returns when all workers are ready."""
        await until_async(lambda: self.supervisor.view().unready is None, "all are ready")


def group(*program: str, count: int = 1) -> Group:
    events: list[Event] = []
    begin = ("import os, signal, socket, sys, time", "line = socket.socket(fileno=0)", "number = int(sys.argv[1])")
    return Group(Supervisor([sys.executable, "-c", "\n".join((*begin, *program))], count, events.append), events)


@asynccontextmanager
async def running(one: Group) -> AsyncIterator[Group]:
    """Runs it inside the block; a stop at the end, unless the test did."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.run)
            yield one
            if one.code is None and not one.supervisor._stop.is_set():
                one.supervisor._act(signal.SIGTERM)


OBEYS = (SAY_READY, "sys.exit(line.recv(1)[0] - signal.SIGTERM)")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(supervisor, "LONGEST_WAIT_S", 0.04)


async def test_crashed_worker_restarts_after_bounded_doubling_waits() -> None:
    crash = "number == 2 and os.kill(os.getpid(), signal.SIGKILL)"
    async with running(group(SAY_READY, crash, *OBEYS, count=2)) as one:
        await until_async(lambda: len(one.messages()) >= 5, "it crashed five times")
    waits = [message.partition("restarted in ")[2].partition(";")[0] for message in one.messages()]
    assert waits[:5] == ["10 ms", "20 ms", "40 ms", "40 ms", "40 ms"]
    assert "was killed by SIGKILL" in one.messages()[0]
    assert all("dmesg or journalctl -k" in str(event.hint) for event in one.warnings())


async def test_worker_that_lived_a_minute_restarts_after_shortest_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "HEALTHY_S", 0.0)
    async with running(group(SAY_READY, "number == 2 and sys.exit(1)", *OBEYS, count=2)) as one:
        await until_async(lambda: len(one.messages()) >= 3, "it crashed three times")
    assert all("restarted in 10 ms" in message for message in one.messages())
    assert "ended with 1" in one.messages()[0]


@pytest.mark.parametrize(("how", "code"), [("sys.exit(2)", 2), ("os.kill(os.getpid(), signal.SIGKILL)", 137)])
async def test_a_group_whose_workers_cannot_start_ends_with_their_code(how: str, code: int) -> None:
    one = group(how, count=2)
    with trio.fail_after(20):
        await one.run()
    assert one.code == code
    (failed,) = one.events
    assert isinstance(failed, GroupFailed)
    assert failed.code == code
    assert " before any worker was ready" in failed.message
    assert ("dmesg" in failed.hint) == (code == 137)


async def test_worker_that_may_not_start_waits_and_the_group_goes_on(tmp_path: Path) -> None:
    looks: list[None] = []
    fine = tmp_path / "fine"

    async def may_start() -> bool:
        looks.append(None)
        return fine.exists()

    one = group(*OBEYS, count=2)
    one.may_start = may_start
    async with running(one):
        await one.serve()
        assert looks == []
        one.kill()
        await until_async(lambda: len(looks) >= 5, "it is looked at again and again")
        assert (len(one.messages()), one.workers()) == (2, [])
        fine.touch()
        await one.serve()
    assert one.code == 0


async def test_a_stop_does_not_wait_for_one_that_waits_to_be_started() -> None:
    one = group(*OBEYS)
    one.may_start = partial(trio.sleep_forever)
    async with running(one):
        await one.serve()
        one.kill()
        await until_async(one.messages, "it is reported")
    assert one.code == 0


async def test_a_command_that_cannot_be_run_ends_the_group() -> None:
    one = Group(Supervisor(["/nowhere/at/all"], 2, lambda _event: None), [])
    with trio.fail_after(20):
        await one.run()
    assert one.code == 1


async def test_worker_unable_to_start_beside_a_serving_one_is_retried(tmp_path: object) -> None:
    # The first to make the file serves; the others fail.
    first = f"os.open({str(tmp_path) + '/first'!r}, os.O_CREAT | os.O_EXCL)"
    async with running(group(first, *OBEYS)) as one:
        await one.serve()
        one.supervisor.count = 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.supervisor._keep, 2)
            await until_async(lambda: len(one.messages()) >= 3, "the second failed three times")
            assert one.code is None
            one.supervisor._act(signal.SIGTERM)


async def test_late_worker_gets_the_orders_of_its_group() -> None:
    order = "order = line.recv(1)[0]"
    async with running(group(SAY_READY, order, "sys.exit(order)")) as one:
        await one.serve()
        one.supervisor._act(signal.SIGTSTP)
        await until_async(lambda: len(one.messages()) >= 3, "each took the same order")
    assert all(f"ended with {signal.SIGTSTP.value}" in message for message in one.messages()[:3])


async def test_exit_code_is_the_worst_of_those_ended_after_the_stop() -> None:
    async with running(group(SAY_READY, "line.recv(1)", "sys.exit(os.getpid() % 2)", count=6)) as one:
        await one.serve()
        odd = any(pid % 2 for pid in one.supervisor.pids())
    assert one.code == int(odd)


async def test_a_stop_ends_workers_that_still_start_with_0() -> None:
    """They would read their line in seconds only; SIGTERM is no failure of theirs."""
    async with running(group("time.sleep(60)", count=2)) as one:
        await until_async(lambda: len(one.workers()) == 2, "both are started")
    assert one.code == 0


async def test_second_signal_is_passed_on_and_hanging_workers_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "KILL_S", 0.2)
    async with running(group(SAY_READY, "time.sleep(60)", count=2)) as one:
        await one.serve()
        one.supervisor._act(signal.SIGTERM)
        one.supervisor._act(signal.SIGINT)
    assert one.code == 128 + signal.SIGKILL


async def test_reload_is_over_when_every_worker_reloaded_or_is_gone() -> None:
    done = WorkerReport(READY, 1).line()
    # One that is started again in the place of one with an odd process id is asked to stop, and not to reload.
    ending = "line.recv(1)[0] == signal.SIGTERM and sys.exit(0)"
    answers = (SAY_READY, ending, "os.getpid() % 2 and sys.exit(1)", f"line.sendall({done!r})", "line.recv(1)")
    async with running(group(*answers, count=4)) as one:
        await one.serve()
        one.supervisor._act(signal.SIGHUP)
        await until_async(lambda: one.reloads, "it is over")
    assert len(one.reloads) == 1


def key_queue_of(*views: View) -> Sequence[WorkerReport | None]:
    return [read_report(WorkerReport(view, 3).line()) for view in views]


def test_worker_reports_are_read_exactly_and_odd_ones_left_out() -> None:
    down = attrs.evolve(READY, down_targets={"a": "TargetUnreachable"}, finishing=2, refused=True)
    assert key_queue_of(READY, down) == [WorkerReport(READY, 3), WorkerReport(down, 3)]
    newer = WorkerReport(READY, 3).line().replace(b'"reloads"', b'"mood": "good", "reloads"')
    assert read_report(newer.replace(b'"phase"', b'"colour": 1, "phase"')) == WorkerReport(READY, 3)
    for odd in (b"", b"{}", b"[]", b"\xff", b'{"view": {}, "reloads": 1}', b'{"view": null, "reloads": 1}', b"5"):
        assert read_report(odd) is None
    older = WorkerReport(READY, 3).line().replace(b', "store_reason": null', b"")
    assert b"store_reason" not in older
    assert read_report(older) == WorkerReport(READY, 3)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_channel, "STATUS_S", 0.5)
    monkeypatch.setattr(worker_channel, "KILL_AFTER_S", 0.2)
    monkeypatch.setattr(supervisor, "KILL_AFTER_S", 0.2)
    monkeypatch.setattr(supervisor, "_LOOK_S", 0.05)


def counted(tmp_path: Path) -> str:
    """Sets `first` to how many workers began before this one."""
    return f"first = len(os.listdir({str(tmp_path)!r})); open({str(tmp_path)!r} + f'/{{os.getpid()}}', 'w').close()"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("ignores", [False, True], ids=["obeys-term", "ignores-term"])
async def test_a_worker_that_hangs_is_ended_and_gets_a_successor(tmp_path: Path, *, ignores: bool) -> None:
    how = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if ignores else ""
    hangs = f"first < 1 and ({how or 'None'}, {SAY_READY}, time.sleep(60))"
    speaks = ("line.settimeout(0.1)", "while True:", f"  {SAY_READY}", "  try: sys.exit(line.recv(1)[0] - 15)")
    async with running(group(counted(tmp_path), hangs, *speaks, "  except TimeoutError: pass")) as one:
        await until_async(lambda: len(list(tmp_path.iterdir())) == 2, "it has a successor")
        await one.serve()
    (message,) = one.messages()
    assert "did not report for" in message
    assert "was ended. It is restarted in " in message
    assert "suspended, or its event loop was blocked" in str(one.warnings()[0].hint)
    assert one.code == 0


@pytest.mark.usefixtures("impatient")
async def test_workers_that_hang_are_replaced_one_at_a_time(tmp_path: Path) -> None:
    hangs = f"first < 3 and ({SAY_READY}, time.sleep(60))"
    # The successors take a while to be ready.
    async with running(group(counted(tmp_path), hangs, "time.sleep(1)", SAY_READY, "line.recv(1)", count=3)) as one:
        await until_async(one.messages, "the first is ended")
        before = one.workers()
        await until_async(lambda: len(one.workers()) == 3, "its successor begins")
        successor = next(worker for worker in one.workers() if worker not in before)
        await until_async(lambda: len(one.messages()) == 2, "the second is ended")
        assert successor.has_reported


@pytest.mark.usefixtures("impatient")
async def test_a_worker_whose_line_ends_gets_a_successor(tmp_path: Path) -> None:
    cut = f"first < 1 and ({SAY_READY}, line.close(), time.sleep(60))"
    async with running(group(counted(tmp_path), cut, *OBEYS)) as one:
        await until_async(lambda: len(list(tmp_path.iterdir())) == 2, "it has a successor")
        await one.serve()
    (message,) = one.messages()
    assert "closed its line to the supervisor and was ended" in message


async def test_time_lost_by_the_supervisor_itself_does_not_count(
    mock_clock: trio.testing.MockClock,
) -> None:
    one = group().supervisor
    process = SimpleNamespace(pid=4711)
    worker = one._workers[1] = WorkerProcess(process, line=None, has_reported=True)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one._end_hung)
        for step_s in (1.0, 1.0, 100.0, 1.0):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(step_s)
        await trio.testing.wait_all_tasks_blocked()
        assert worker.status_age_s == 3.0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("age_s", "has_reported", "is_hung"),
    [(29.0, True, False), (30.0, True, True), (59.0, False, False), (60.0, False, True)],
)
def test_worker_hangs_30_s_after_its_report_or_60_s_after_start(
    age_s: float, *, has_reported: bool, is_hung: bool
) -> None:
    worker = WorkerProcess(SimpleNamespace(pid=1), None, status_age_s=age_s, has_reported=has_reported)  # type: ignore[arg-type]
    assert worker.is_hung is is_hung
    worker.record_line()
    assert worker.status_age_s == 0


async def test_workers_without_reports_for_a_minute_are_not_alive(
    autojump_clock: trio.testing.MockClock,
) -> None:
    one = group(count=2).supervisor
    ours, theirs = socket.socketpair()
    worker = one._workers[1] = WorkerProcess(SimpleNamespace(pid=4711), ours)  # type: ignore[arg-type]
    assert one.is_alive()
    with ours:
        with theirs:
            theirs.sendall(WorkerReport(READY, 0).line())
        await one._listen(worker)
    del one._workers[1]
    await trio.sleep(START_S - 1)
    assert one.is_alive()
    await trio.sleep(1)
    assert not one.is_alive()
    assert not one.view().heartbeat_fresh


def test_group_is_ready_when_each_is_and_names_closed_targets() -> None:
    quiet, away = attrs.evolve(READY, phase="quiet"), attrs.evolve(READY, store_up=False, store_reason="Redis is full.")
    a, b = (
        attrs.evolve(READY, down_targets={"a": "X"}, finishing=1),
        attrs.evolve(READY, down_targets={"b": "Y"}, finishing=2),
    )
    assert together([READY, READY], stopping=False).unready is None
    assert together([quiet, quiet], stopping=False) == quiet
    assert together([quiet, READY], stopping=False).phase == "serving"
    assert together([READY, STARTING], stopping=False).unready == "The broker is starting."
    assert together([READY, attrs.evolve(READY, phase="stopping")], stopping=False).phase == "starting"
    assert together([READY, away], stopping=False).unready == "Redis is full."
    assert together([READY, READY], stopping=True).phase == "stopping"
    both = together([a, b], stopping=False)
    assert (both.down_targets, both.finishing) == ({"a": "X", "b": "Y"}, 3)
