"""The channel between a worker of `run --processes` and its supervisor: a socket, the worker's standard input.

Towards the worker, each byte is the number of a signal, and is acted on as that signal. Towards the supervisor, each
line is JSON: a `WorkerReport`, when it has changed and once a second, and, where /metrics is served, the values for it,
every two seconds and at the end. Real signals would not do: one that comes before a worker listens would end or suspend
it, and a byte waits. A stop alone is a signal, too, until the worker has reported, since it has taken no job by then.
Always holds: when the supervisor is gone, however it went, the line ends, and the worker drains and ends too; an order
that came before the worker was up counts before it takes a job; and a supervisor that does not read holds nothing up.
"""

import json
import socket
from collections.abc import Callable
from contextlib import suppress

import attrs
import trio

from restbroker.broker import signals
from restbroker.broker.signals import Control
from restbroker.broker.status.view import View
from restbroker.light import define, field, frozen
from restbroker.start import STOP
from restbroker.telemetry.events import Report
from restbroker.telemetry.metrics import Samples, from_json, to_json

REPORT_S = 1.0
"""Seconds between two lines of a worker at most; one that is silent for much longer hangs."""
STATUS_S = 30.0
"""A worker whose last report is so many seconds old hangs."""
START_S = 60.0
"""Seconds within which a worker must report after its start; a full machine takes long to start many."""
KILL_AFTER_S = 5.0
"""Seconds from the SIGTERM to a worker that hangs until SIGKILL."""
STARTING = View("starting", store_up=True, heartbeat_fresh=True, down_targets={})
_MEASURE_S = 2.0
_CHECK_S = 0.25
_GONE = "the supervisor is gone"
_ORIGIN = "the supervisor"
_CHUNK_BYTES = 4096


@frozen
class WorkerReport:
    """A worker's report to its supervisor: its state, and how many reloads it has finished."""

    view: View
    reloads: int

    def line(self) -> bytes:
        """Return the report as one line of JSON, for the socket."""
        return json.dumps(attrs.asdict(self)).encode() + b"\n"


def read_report(line: bytes) -> WorkerReport | None:
    """Return what `WorkerReport.line` put into this line; None if it cannot be read.

    After an upgrade a worker may be newer than its supervisor, or older after one was taken back, so that unknown
    fields are left out and new ones may be missing.
    """
    try:
        fields = json.loads(line)
        known = {field.name: fields["view"][field.name] for field in attrs.fields(View) if field.name in fields["view"]}
        return WorkerReport(View(**known), int(fields["reloads"]))
    except (ValueError, TypeError, KeyError):
        return None


def read_samples(line: bytes) -> Samples | None:
    """Return the values for /metrics if they are in this line, else None; read as leniently as `read_report` does."""
    try:
        return from_json(json.loads(line)["samples"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


@define(eq=False)
class WorkerChannel:
    """The worker's end, a service. `line` is the socket; `samples` copies the values for /metrics, if it is served."""

    line: socket.socket
    view: Callable[[], View]
    control: Control
    report: Report
    samples: Callable[[], Samples] | None = None
    _lock: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1))
    _reloads: int = 0
    _is_stopping: bool = False

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Act on the supervisor's signal numbers and report to it, until cancelled.

        Orders that came before the start are acted on first. At the end the values for /metrics are sent once more.
        """
        self.line.setblocking(False)
        self._act_first()
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(self.line))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey, stream)
                nursery.start_soon(self._report_to, stream)
                task_status.started()
        finally:
            with suppress(OSError):
                self.line.send(self._measuring()())

    def reload_began(self) -> None:
        """Do nothing: a reload is reported to the supervisor when it is over."""

    def reload_ended(self) -> None:
        """Count a reload that has ended, whether it succeeded or not, for the next report."""
        self._reloads += 1

    def _act_first(self) -> None:
        """Act on the orders that are there already, before anything else begins."""
        try:
            self._act(self.line.recv(_CHUNK_BYTES))
        except BlockingIOError:
            return

    def _act(self, requests: bytes) -> None:
        for number in requests:
            if number in STOP and self._is_stopping:
                self.control.cut_short(number)
            else:
                # Not as a local one: systemd sends its first SIGTERM to supervisor and workers alike, and what the
                # supervisor passes on would be a second one.
                signals.act(number, self.control, self.report, _ORIGIN)
            self._is_stopping = self._is_stopping or number in STOP
        if not requests:
            self.control.drain(_GONE)

    async def _obey(self, stream: trio.SocketStream) -> None:
        requests = b"-"
        while requests:
            try:
                requests = await stream.receive_some(_CHUNK_BYTES)
            except trio.BrokenResourceError:  # it was killed with a line of ours unread
                requests = b""
            self._act(requests)

    async def _report_to(self, stream: trio.SocketStream) -> None:
        sent, sent_at_s, measured_at_s = b"", trio.current_time(), trio.current_time()
        with suppress(trio.BrokenResourceError):
            while True:
                line = WorkerReport(self.view(), self._reloads).line()
                if line != sent or trio.current_time() >= sent_at_s + REPORT_S:
                    await stream.send_all(line)
                    sent, sent_at_s = line, trio.current_time()
                if self.samples is not None and trio.current_time() >= measured_at_s + _MEASURE_S:
                    await stream.send_all(await trio.to_thread.run_sync(self._measuring(), limiter=self._lock))
                    measured_at_s = trio.current_time()
                await trio.sleep(_CHECK_S)

    def _measuring(self) -> Callable[[], bytes]:
        """Return what makes the line with the values of this moment, in any thread; no bytes without /metrics."""
        if self.samples is None:
            return bytes
        samples = self.samples()
        return lambda: json.dumps({"samples": to_json(samples)}).encode() + b"\n"


@define(eq=False)
class WorkerProcess:
    """A worker as its supervisor knows it.

    `status_age_s`: how long ago it reported, in time in which the supervisor itself ran on time. `ended_for`: why the
    supervisor ended it, as a part of a sentence; "": it did not.
    """

    process: trio.Process
    line: socket.socket
    view: View = STARTING
    reloads: int = 0
    status_age_s: float = 0.0
    has_reported: bool = False
    ended_for: str = ""

    def order(self, number: int) -> None:
        """Order the worker to act as if it got the signal `number`; do nothing if its end of the socket is closed.

        A stop ends one that is still starting at once: it may take seconds until it reads its line.
        """
        with suppress(OSError):
            self.line.send(bytes([number]))
        if number in STOP and not self.has_reported:
            self.process.terminate()

    def note(self, report: WorkerReport) -> None:
        """Keep the view and the number of reloads that the worker reported."""
        self.view, self.reloads = report.view, report.reloads

    def record_line(self) -> None:
        """Note that a line came from the worker now, so that it lives."""
        self.status_age_s, self.has_reported = 0.0, True

    def age(self, seconds: float) -> None:
        """Note that so many seconds passed without a line from it."""
        self.status_age_s += seconds

    @property
    def is_hung(self) -> bool:
        """Whether its last report is `STATUS_S` seconds old, or it was started `START_S` ago and never reported."""
        return self.status_age_s >= (STATUS_S if self.has_reported else START_S)

    async def end(self, why: str) -> None:
        """End its process, and wait until it has ended: with SIGTERM, and `KILL_AFTER_S` seconds later with SIGKILL."""
        self.ended_for = why
        self.process.terminate()
        with trio.move_on_after(KILL_AFTER_S):
            await self.process.wait()
        self.process.kill()
        await self.process.wait()
