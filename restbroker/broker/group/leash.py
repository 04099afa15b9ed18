"""What ties a worker of `run --processes` to its supervisor: one socket, which is the worker's standard input.

Towards the worker, each byte is the number of a signal, and is acted on as that signal. Towards the supervisor, each
line is JSON: a `Told`, when it has changed and once a second, and, where /metrics is served, the values for it, every
two seconds and at the end. Real signals would not do: one that comes before a worker listens would end or suspend it,
and a byte waits. Always holds: when the supervisor is gone, however it went, the line ends, and the worker drains and
ends too; an order that came before the worker was up counts before it takes a job; a supervisor that does not read
holds nothing up.
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
from restbroker.telemetry.events import Report
from restbroker.telemetry.metrics import Samples, from_json, to_json

SAY_S = 1.0
"""Seconds between two lines of a worker at most; one that is silent for much longer hangs."""
_MEASURE_S = 2.0
_LOOK_S = 0.25
_GONE = "the supervisor is gone"
_ORIGIN = "the supervisor"
_CHUNK_BYTES = 4096


@attrs.frozen
class Told:
    """What a worker reports: how it is, and how many reloads it has finished."""

    view: View
    reloads: int

    def line(self) -> bytes:
        """Return it as the line of JSON that is sent."""
        return json.dumps(attrs.asdict(self)).encode() + b"\n"


def read(line: bytes) -> Told | None:
    """Return what `Told.line` put into this line; None if it cannot be read.

    After an upgrade a worker may be newer than its supervisor, or older after one was taken back, so that unknown
    fields are left out and new ones may be missing.
    """
    try:
        fields = json.loads(line)
        known = {field.name: fields["view"][field.name] for field in attrs.fields(View) if field.name in fields["view"]}
        return Told(View(**known), int(fields["reloads"]))
    except (ValueError, TypeError, KeyError):
        return None


def measured(line: bytes) -> Samples | None:
    """Return the values for /metrics if they are in this line, else None; it is read as leniently as `read` does."""
    try:
        return from_json(json.loads(line)["samples"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


@attrs.define(eq=False)
class Leash:
    """The worker's end, a service. `line` is the socket; `samples` copies the values for /metrics, if it is served."""

    line: socket.socket
    view: Callable[[], View]
    control: Control
    report: Report
    samples: Callable[[], Samples] | None = None
    _turn: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))
    _reloads: int = 0
    _told_to_stop: bool = False

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Obey the supervisor and report to it until cancelled, beginning with the orders that are there already.

        At the end the values for /metrics are sent once more.
        """
        self.line.setblocking(False)
        self._obey_first()
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(self.line))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey, stream)
                nursery.start_soon(self._tell, stream)
                task_status.started()
        finally:
            with suppress(OSError):
                self.line.send(self._measuring()())

    def reload_began(self) -> None:
        """Do nothing: the supervisor hears of a reload when it is over."""

    def reload_ended(self) -> None:
        """Count a reload that is over, no matter what became of it."""
        self._reloads += 1

    def _obey_first(self) -> None:
        """Act on the orders that are there already, before anything else begins."""
        try:
            self._act(self.line.recv(_CHUNK_BYTES))
        except BlockingIOError:
            return

    def _act(self, asked: bytes) -> None:
        for number in asked:
            if number in signals.STOP and self._told_to_stop:
                self.control.second = number
                self.control.at_once.set()
            else:
                # Not as a local one: systemd sends its first SIGTERM to supervisor and workers alike, and what the
                # supervisor passes on would be a second one.
                signals.act(number, self.control, self.report, _ORIGIN)
            self._told_to_stop = self._told_to_stop or number in signals.STOP
        if not asked:
            self.control.why = self.control.why or _GONE
            self.control.stop.set()

    async def _obey(self, stream: trio.SocketStream) -> None:
        asked = b"-"
        while asked:
            try:
                asked = await stream.receive_some(_CHUNK_BYTES)
            except trio.BrokenResourceError:  # it was killed with a line of ours unread
                asked = b""
            self._act(asked)

    async def _tell(self, stream: trio.SocketStream) -> None:
        said, said_at_s, measured_at_s = b"", trio.current_time(), trio.current_time()
        with suppress(trio.BrokenResourceError):
            while True:
                line = Told(self.view(), self._reloads).line()
                if line != said or trio.current_time() >= said_at_s + SAY_S:
                    await stream.send_all(line)
                    said, said_at_s = line, trio.current_time()
                if self.samples is not None and trio.current_time() >= measured_at_s + _MEASURE_S:
                    await stream.send_all(await trio.to_thread.run_sync(self._measuring(), limiter=self._turn))
                    measured_at_s = trio.current_time()
                await trio.sleep(_LOOK_S)

    def _measuring(self) -> Callable[[], bytes]:
        """Return what makes the line with the values of this moment, in any thread; no bytes without /metrics."""
        if self.samples is None:
            return bytes
        samples = self.samples()
        return lambda: json.dumps({"samples": to_json(samples)}).encode() + b"\n"
