"""Whether a lane's target gets jobs now. One gate per lane.

The fetcher and waiting workers ask, workers tell what became of each delivery, and one prober finds out when the
target works again. Always holds: while the gate is closed nothing is fetched and nothing is sent but probes, so an
outage is a wait and never a hot loop. The breaker inside is pure; this file gives it the time and wakes the tasks.
"""

import random
from collections.abc import Awaitable, Callable
from typing import assert_never

import attrs
import trio

from restbroker.broker.link import unreachable
from restbroker.rules.breaker import Breaker
from restbroker.rules.outcome import Deferred, Delivered, Denied, Outcome, Probe, Reason, Rejected, Uncertain, Unsent
from restbroker.telemetry.events import GateClosed, GateOpened, Report, TargetFound
from restbroker.transport.errors import MaybeSent, NotSent

_DENIED_WAIT_S = 5.0
_WELL_FOR_S = 1.0
_START = Reason("Starting", "the target was not asked yet")


@attrs.define(eq=False)
class Gate:
    """Closed until the first probe has been answered, so that the server's version is known before the first job."""

    target: str
    report: Report
    concurrency: int = 20
    breaker: Breaker = attrs.field(factory=Breaker)
    denied: Reason | None = None
    server_version: str | None = None
    stopped: bool = False
    answers: int = 0
    """How often the target answered a command finally, so that it works at least for some."""
    _delivered_at_s: float = float("-inf")
    _closed_for: Reason | None = _START
    _closed_at_s: float = attrs.field(factory=trio.current_time)
    _told: bool = False
    _probed_at_s: float = float("-inf")
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    _turns: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    _in_delivery: int = 0

    @property
    def is_open(self) -> bool:
        """Whether jobs may be fetched and sent."""
        return self._closed_for is None

    @property
    def reason(self) -> Reason | None:
        """Why the gate is closed; None while it is open."""
        return self._closed_for

    @property
    def limit(self) -> int:
        """How many jobs may be in delivery now, 1 to `concurrency`."""
        return self.concurrency

    async def opened(self) -> bool:
        """Waits until jobs may be sent. False when the lane stops instead. Safe to cancel."""
        while not self.is_open and not self.stopped:
            await self._changed.park()
        return not self.stopped

    @property
    def room(self) -> int:
        """How many more jobs may be in delivery now."""
        return max(0, self.limit - self._in_delivery) if self.is_open else 0

    async def enter(self) -> bool:
        """Waits until one more job may be in delivery. False when the lane stops instead; if True, `leave` must follow.

        Safe to cancel.
        """
        while self.room == 0 and not self.stopped:
            await self._turns.park()
        if self.stopped:
            return False
        self._in_delivery += 1
        if self.room:
            self._turns.unpark()
        return True

    def leave(self) -> None:
        """A job that entered is in delivery no longer."""
        self._in_delivery -= 1
        self._turns.unpark()

    def observe(self, outcome: Outcome, command: str = "") -> None:  # noqa: ARG002 - groups by it in a moment
        """Tells what became of a delivery of this command (its endpoint, as the producer wrote it)."""
        now_s = trio.current_time()
        match outcome:
            case Delivered() | Rejected():
                self.answers += 1
                if isinstance(outcome, Delivered):
                    self._delivered_at_s = now_s
                self.breaker.answered(now_s, deferred=False)
            case Deferred(reason, retry_after_s, _, _, pause_target, _):
                # A target that has just done something is well: then it is this command that gets a 503.
                unwell = now_s - self._delivered_at_s > _WELL_FOR_S
                if pause_target and (unwell or retry_after_s is not None):
                    self.breaker.trip(now_s, reason.message, retry_after_s or 0.0)
                else:
                    self.breaker.answered(now_s, deferred=True)
                self._follow(reason)
            case Unsent(reason):
                self.breaker.unsent(now_s)
                self._follow(reason)
            case Uncertain(reason):
                self.breaker.unanswered(now_s)
                self._follow(reason)
            case Denied():
                pass
            case _:
                assert_never(outcome)

    def deny(self, reason: Reason) -> None:
        """The target refuses the broker itself: closed until a probe is let in."""
        self.breaker.trip(trio.current_time(), reason.message)
        if self.denied is None:
            self.denied = reason
            self._told = False
        self._close(reason)

    def close(self, reason: Reason) -> None:
        """The target does not work at all now: closed until a probe finds it well."""
        now_s = trio.current_time()
        if self.breaker.permits:
            self.breaker.trip(now_s, reason.message)
        self._close(reason)

    def stop(self) -> None:
        """Ends every wait for this gate."""
        self.stopped = True
        self._changed.unpark_all()
        self._turns.unpark_all()

    async def probe_forever(self, ask: Callable[[], Awaitable[Probe]]) -> None:
        """Opens the gate whenever the target works again. The lane's only prober."""
        while True:
            while self.is_open:
                await self._changed.park()
            jitter = random.random()  # noqa: S311 - spreads probes, protects nothing
            # No single sleep: a Retry-After or a denial may move the moment meanwhile.
            while self._closed_for is not _START and (wait_s := self._wait_s(jitter)) > 0:  # noqa: ASYNC110
                await trio.sleep(wait_s)
            self._probed_at_s = trio.current_time()
            await self._probe(ask)

    async def _probe(self, ask: Callable[[], Awaitable[Probe]]) -> None:
        try:
            probe = await ask()
        except (NotSent, MaybeSent) as problem:
            self._failed(unreachable(problem))
            return
        if probe.ok and self.breaker.held(trio.current_time()):
            return  # while the probe was on its way, the target asked for a longer pause
        if probe.ok:
            self._open(probe)
        elif probe.denied:
            self.deny(Reason("TargetDenied", probe.detail, probe.cure))
        else:
            self.denied = None
            self._failed(Reason("TargetUnwell", probe.detail, probe.cure))

    def _wait_s(self, jitter: float) -> float:
        now_s = trio.current_time()
        if self.denied is not None:
            return self._probed_at_s + _DENIED_WAIT_S * (0.8 + 0.4 * jitter) - now_s
        return self.breaker.probe_due_s(now_s, jitter)

    def _failed(self, reason: Reason) -> None:
        now_s = trio.current_time()
        if self.breaker.permits:
            self.breaker.trip(now_s, reason.message)
        else:
            self.breaker.probe_failed(now_s, reason.message)
        self._close(reason)

    def _follow(self, reason: Reason) -> None:
        if not self.breaker.permits:
            self._close(reason)

    def _close(self, reason: Reason) -> None:
        if self._closed_for is None:
            self._closed_at_s = trio.current_time()
            self._told = False
        self._closed_for = reason
        if not self._told:
            self._told = True
            denied = self.denied is not None
            self.report(GateClosed(self.target, reason.code, reason.message, reason.cure, denied=denied))
        self._changed.unpark_all()

    def _open(self, probe: Probe) -> None:
        self.breaker.probe_ok(trio.current_time())
        if self._told:
            self.report(GateOpened(self.target, trio.current_time() - self._closed_at_s))
        if probe.version is not None and probe.version != self.server_version:
            self.server_version = probe.version
            self.report(TargetFound(self.target, probe.version, probe.detail))
        self._closed_for = self.denied = None
        self._told = False
        self._changed.unpark_all()
        self._turns.unpark()
