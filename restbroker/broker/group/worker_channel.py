"""The channel between a worker of `run --processes` and its supervisor: a socket, the worker's standard input.

Towards the worker, each byte is the number of a signal, and is acted on as that signal. Towards the supervisor, each
line is JSON: a `WorkerReport`, when it has changed and once a second, and, where /metrics is served, the values for it,
every two seconds and at the end. Real signals would not do: one that comes before a worker listens would end or suspend
it, and a byte waits. Always holds: when the supervisor is gone, however it went, the line ends, and the worker drains
and ends too; an order that came before the worker was up counts before it takes a job; a supervisor that does not read
holds nothing up; and the supervisor reports a worker that lives and is silent, once when that begins and once when it
is over, and ends none: one that is suspended may have a reason (a debugger), and its jobs are requeued without that.
"""

import json
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

import attrs
import trio

from restbroker.broker import signals
from restbroker.broker.signals import Control
from restbroker.broker.status.view import View
from restbroker.config.values import duration_text
from restbroker.telemetry.events import OperatorWarning, Report
from restbroker.telemetry.metrics import Samples, from_json, to_json

REPORT_S = 1.0
"""Seconds between two lines of a worker at most; one that is silent for much longer hangs."""
HUNG_S = 10.0
"""Seconds of silence after which a worker counts as one whose event loop hangs."""
START_S = 60.0
"""Seconds of silence from its start on after which a worker counts so; a full machine takes long to start many."""
STARTING = View("starting", store_up=True, heartbeat_fresh=True, down_targets={})
_MEASURE_S = 2.0
_CHECK_S = 0.25
_LOOK_S = 1.0
_GONE = "the supervisor is gone"
_ORIGIN = "the supervisor"
_CHUNK_BYTES = 4096


@attrs.frozen
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


@attrs.define(eq=False)
class WorkerChannel:
    """The worker's end, a service. `line` is the socket; `samples` copies the values for /metrics, if it is served."""

    line: socket.socket
    view: Callable[[], View]
    control: Control
    report: Report
    samples: Callable[[], Samples] | None = None
    _lock: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))
    _reloads: int = 0
    _told_to_stop: bool = False

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
        """Do nothing: the supervisor hears of a reload when it is over."""

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
            if number in signals.STOP and self._told_to_stop:
                self.control.cut_short(number)
            else:
                # Not as a local one: systemd sends its first SIGTERM to supervisor and workers alike, and what the
                # supervisor passes on would be a second one.
                signals.act(number, self.control, self.report, _ORIGIN)
            self._told_to_stop = self._told_to_stop or number in signals.STOP
        if not requests:
            self.control.drain(_GONE)

    async def _obey(self, stream: trio.SocketStream) -> None:
        asked = b"-"
        while asked:
            try:
                asked = await stream.receive_some(_CHUNK_BYTES)
            except trio.BrokenResourceError:  # it was killed with a line of ours unread
                asked = b""
            self._act(asked)

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


@attrs.define(eq=False)
class Worker:
    """A worker as its supervisor knows it.

    `last_report_s`: when it reported last, or was started, on Trio's clock. `patience_s`: how long it may be silent.
    """

    process: trio.Process
    line: socket.socket
    view: View = STARTING
    reloads: int = 0
    last_report_s: float = attrs.field(factory=trio.current_time)
    patience_s: float = START_S

    def order(self, number: int) -> None:
        """Order the worker to act as if it got the signal `number`; do nothing if its end of the socket is closed."""
        with suppress(OSError):
            self.line.send(bytes([number]))

    def note(self, report: WorkerReport) -> None:
        """Keep the view and the number of reloads that the worker reported."""
        self.view, self.reloads = report.view, report.reloads

    def note_line(self) -> None:
        """Note that a line came from the worker now, so that it lives."""
        self.last_report_s, self.patience_s = trio.current_time(), HUNG_S

    @property
    def is_silent(self) -> bool:
        """Whether its last line came `HUNG_S` seconds ago or more, or it was started `START_S` ago and said nothing."""
        return trio.current_time() - self.last_report_s >= self.patience_s


@attrs.define(eq=False)
class WorkerHealth:
    """The watch for workers that hang. `workers`: {number: worker} of those that live."""

    workers: Mapping[int, Worker]
    report: Report
    _reported: Mapping[int, float] = attrs.field(factory=dict)
    """The workers that were reported to hang: {process id: when it had reported last}."""

    def silent_workers(self) -> dict[int, Worker]:
        """Return the workers that hang now, by their numbers."""
        return {number: worker for number, worker in self.workers.items() if worker.is_silent}

    def problem(self) -> str | None:
        """Return which workers hang, as a sentence; None if none does."""
        names = [f"worker {number} (pid {worker.process.pid})" for number, worker in self.silent_workers().items()]
        return f"No answer from {', '.join(names)}." if names else None

    async def watch(self) -> None:
        """Report workers that begin to hang, or no longer do, until cancelled."""
        while True:
            due_s = trio.current_time() + _LOOK_S
            await trio.sleep_until(due_s)
            # Was it held up itself, it has not read yet what they reported meanwhile.
            if trio.current_time() - due_s < _LOOK_S:
                self.check()

    def check(self) -> None:
        """Report each worker that began to hang, or answers again, since the last call; nothing about ended workers."""
        hung: dict[int, float] = {}
        for number, worker in self.workers.items():
            pid, heard_at_s = worker.process.pid, worker.last_report_s
            if worker.is_silent:
                hung[pid] = self._reported.get(pid, heard_at_s)
                if pid not in self._reported:
                    self.report(_hang_warning(number, pid, trio.current_time() - heard_at_s))
            elif pid in self._reported:
                self.report(_recovery_notice(number, pid, heard_at_s - self._reported[pid]))
        self._reported = hung


def _hang_warning(number: int, pid: int, silent_s: float) -> OperatorWarning:
    """Return the warning about a worker that lives and has been silent for `silent_s` seconds."""
    message = (
        f"Worker {number} (pid {pid}) has not answered for {duration_text(silent_s)}: it is suspended, or its "
        "event loop is blocked. It is not killed; 20 s after its last heartbeat, another worker returns its "
        "jobs to their queues."
    )
    hint = (
        f"Find the cause (ps -o stat,wchan -p {pid}; T: suspended, kill -CONT {pid}). If it does not recover: "
        f"kill -KILL {pid}; another worker replaces it."
    )
    return OperatorWarning("WorkerHangs", message, hint)


def _recovery_notice(number: int, pid: int, silent_s: float) -> OperatorWarning:
    """Return the report that a worker answers again which was reported to hang, after `silent_s` seconds."""
    message = f"Worker {number} (pid {pid}) answers again, after {duration_text(silent_s)}."
    return OperatorWarning("WorkerAnswers", message, "Nothing; if it happens again, find the cause.")
