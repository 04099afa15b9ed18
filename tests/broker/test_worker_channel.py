"""The worker's end of the line to its supervisor: what it does on request, and what it reports."""

import itertools
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import attrs
import pytest
import trio

from restbroker.broker.signals import Control
from restbroker.broker.status.view import View
from restbroker.broker.workers.worker_channel import WorkerChannel, WorkerReport, read_report, read_samples
from restbroker.telemetry import metrics
from restbroker.telemetry.events import Event
from restbroker.telemetry.metrics import Samples
from tests.support.wait import until_async

READY = View("serving", store_up=True, heartbeat_fresh=True, down_targets={})


@attrs.define(eq=False)
class Line:
    """Both ends, and the worker behind one of them."""

    ours: socket.socket
    theirs: socket.socket
    control: Control = attrs.field(factory=Control)
    events: list[Event] = attrs.field(factory=list)
    view: View = READY
    channel: WorkerChannel = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.channel = WorkerChannel(self.theirs, lambda: self.view, self.control, self.events.append)

    def ask(self, *numbers: int) -> None:
        self.ours.sendall(bytes(numbers))

    def report(self) -> WorkerReport | None:
        """The last whole line of the reports since the last look."""
        self.ours.setblocking(False)
        try:
            lines = self.ours.recv(65536).split(b"\n")
        except BlockingIOError:
            return None
        return read_report(lines[-2]) if len(lines) > 1 else None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                await nursery.start(self.channel.run)
                yield
                nursery.cancel_scope.cancel()


@pytest.fixture
def line() -> Iterator[Line]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Line(ours, theirs)


async def test_requests_before_the_start_take_effect_first(line: Line) -> None:
    line.ask(signal.SIGTSTP)
    async with line.running():
        assert line.control.quiet.is_set()


async def test_a_byte_is_acted_on_as_the_signal_of_that_number(line: Line) -> None:
    async with line.running():
        line.ask(signal.SIGHUP, signal.SIGTERM)
        await line.control.stop.wait()
        assert line.control.reload.is_set()
        assert line.control.why == "SIGTERM from the supervisor"
        assert not line.control.at_once.is_set()


async def test_a_supervisor_that_is_gone_makes_it_drain(line: Line) -> None:
    async with line.running():
        line.ours.close()
        await line.control.stop.wait()
        assert (line.control.why, line.control.second) == ("the supervisor is gone", None)


async def test_changes_and_finished_reloads_are_reported(line: Line) -> None:
    async with line.running():
        await until_async(lambda: line.report() == WorkerReport(READY, 0), "it is reported")
        line.view = attrs.evolve(READY, phase="quiet")
        await until_async(lambda: line.report() == WorkerReport(line.view, 0), "the change is reported")
        line.channel.reload_ended()
        await until_async(lambda: line.report() == WorkerReport(line.view, 1), "the reload is reported")


async def test_unchanged_state_is_repeated_each_second_as_sign_of_life(
    line: Line, autojump_clock: trio.testing.MockClock
) -> None:
    async with line.running():
        await trio.sleep(10)
        assert line.ours.recv(65536).count(b"\n") in (10, 11)


async def test_a_supervisor_that_does_not_read_is_still_obeyed(line: Line) -> None:
    line.theirs.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            line.theirs.send(bytes(4096))
    async with line.running():
        line.ask(signal.SIGTERM)
        await line.control.stop.wait()


async def test_metric_values_are_written_in_a_thread_also_at_the_end(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restbroker.broker.workers.worker_channel._MEASURE_S", 0.0)
    written_in: list[int] = []

    def written(samples: Samples) -> object:
        written_in.append(threading.get_ident())
        return metrics.to_json(samples)

    count = itertools.count()
    monkeypatch.setattr("restbroker.broker.workers.worker_channel.to_json", written)
    line.channel.samples = lambda: {"restbroker_workers": {(): next(count)}}
    async with line.running():
        await until_async(lambda: written_in, "values are written")
    received = [values for line in line.ours.recv(65536).splitlines() if (values := read_samples(line)) is not None]
    assert written_in[0] != threading.get_ident()
    assert written_in[-1] == threading.get_ident()
    assert received[-1] == {"restbroker_workers": {(): len(written_in) - 1}}
