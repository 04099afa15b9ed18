"""Whether a pool's target gets jobs now, how many at once, and who of those that wait comes next. One breaker per pool.

The intake and waiting jobs read it, the worker reports the outcome of each delivery, and has its jobs enter and leave
the places of the semaphore; the prober reports when the target works again. Always holds: while it is tripped nothing
is fetched and nothing is sent but probes, so an outage is a wait and never a hot loop; after one, the first job goes
alone; jobs that wait for a place get one in their order, and no other job gets one meanwhile; while the entrance is
closed, none gets one. The rules inside are pure (`rules.py`); this file gives them the time, wakes the tasks, and opens
and closes the entrance.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TypeAlias, assert_never

import attrs
import trio

from restbroker.broker.ready_buffer import Demand
from restbroker.broker.rules import CALM_S, SILENT_LIMIT, Adaptive, TripRules
from restbroker.config.values import duration_text
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Probe, Reason, Rejected, Uncertain, Unsent
from restbroker.light import define, field
from restbroker.telemetry.events import Report, TargetDown, TargetUp, VersionReported

TakePlace: TypeAlias = Callable[[], None]
"""What is called, once, for a job when its place comes: the job has it then, or leaves at once."""


@define(eq=False)
class AdaptiveSemaphore:
    """The places of one pool; at first the entrance is closed. The adaptive limit is pure: this gives it the number."""

    _adaptive: Adaptive
    demand: Demand
    """Where it counts the jobs in delivery, and keeps what limits them up to date."""
    line: deque[TakePlace] = field(init=False)
    """The jobs that wait for a place, in their order: who takes one is counted, and must `leave`."""
    beside: deque[TakePlace] = field(factory=deque)
    """The jobs that wait for the entrance alone, since they need no place."""
    _is_waking: bool = False
    _is_open: bool = False

    def __attrs_post_init__(self) -> None:
        """Keep the line at hand."""
        self.line = self.demand.line

    @property
    def limit(self) -> int:
        """How many jobs may be in delivery now, from 1 on."""
        return self._adaptive.limit

    @property
    def capacity(self) -> int:
        """How many more jobs may be in delivery now."""
        return max(0, self.demand.limit - self.demand.in_delivery)

    def try_enter(self) -> bool:
        """Count one more job in delivery if it need not wait; return False if it would have to.

        If it returns True, `leave` must follow.
        """
        demand = self.demand
        if demand.line or demand.in_delivery >= demand.limit:
            return False
        demand.in_delivery += 1
        return True

    def leave(self) -> None:
        """Note that a job that entered is no longer in delivery, and let the next ones in."""
        self.demand.in_delivery -= 1
        self.wake_waiting()

    def wake_waiting(self) -> None:
        """Give the places that are free to the jobs that wait, in their order.

        Who leaves while it does that wakes no one: that place is given in the same loop.
        """
        if self._is_waking:
            return
        demand, line, self._is_waking = self.demand, self.line, True
        while line and demand.in_delivery < demand.limit:
            demand.in_delivery += 1
            line.popleft()()
        self._is_waking = False

    def leave_together(self, now_s: float, count: int) -> None:
        """Note that `count` jobs that entered were delivered together, and let the next ones in."""
        demand, adaptive = self.demand, self._adaptive
        others = demand.in_delivery - 1
        demand.in_delivery -= count
        if adaptive.limit < adaptive.ceiling:
            adaptive.record_answers(now_s, others, count)
            self._record_limit()
        if demand.line:
            self.wake_waiting()

    def record_answer(self, now_s: float) -> None:
        """Note that the target answered one of the jobs in delivery, which is to leave."""
        self._adaptive.record_answer(now_s, max(0, self.demand.in_delivery - 1))
        self._record_limit()

    def record_refusal(self, now_s: float) -> None:
        """Note that the target refused one of the jobs in delivery, which is to leave, or did not answer it in time."""
        self._adaptive.record_refusal(now_s, max(0, self.demand.in_delivery - 1))
        self._record_limit()

    def raise_limit(self, now_s: float) -> None:
        """Raise the limit if all places have been taken for a while, and let the next job in."""
        if self.capacity == 0:
            self._adaptive.raise_limit(now_s)
            self._record_limit()
            self.wake_waiting()

    def open(self, *, alone: bool) -> None:
        """Open the entrance, and let in who waits; `alone`: one job at first, as after an outage."""
        if alone:
            self._adaptive.restart(self.demand.in_delivery)
        self._is_open = True
        self._record_limit()
        self.wake_waiting()
        while self.beside and self._is_open:
            self.beside.popleft()()

    def close(self) -> None:
        """Close the entrance; who waits goes on waiting."""
        self._is_open = False
        self._record_limit()

    def _record_limit(self) -> None:
        self.demand.limit = self._adaptive.limit if self._is_open else 0


_DENIED_WAIT_S = 5.0
_WELL_FOR_S = 1.0
_MOST_FAILING = 32
_BUSY = (429, 503)
_START = Reason("Starting", "the target has not been probed yet")


@define(eq=False)
class Breaker:
    """The breaker of a pool. It is tripped until a probe is answered: the first job needs the server's version."""

    target: str
    report: Report
    concurrency: int = 20
    demand: Demand = field(factory=Demand)
    rules: TripRules = field(factory=TripRules)
    denied: Reason | None = None
    server_version: str | None = None
    stopped: bool = False
    is_final: bool = False
    """Whether it stays tripped, no matter what a probe finds."""
    was_let_in: bool = False
    """Whether a probe was ever let in, so that a denial is news and no mistake of this process' configuration."""
    is_reported: bool = False
    """Whether it was reported that it is tripped, and not yet that it was reset."""
    admits: bool = field(default=False, init=False)
    """Whether jobs may be fetched and sent."""
    reason: Reason | None = field(default=_START, init=False)
    """Why it is tripped; None while it admits jobs."""
    semaphore: AdaptiveSemaphore = field(init=False)
    answers: int = 0
    """How often the target answered a command finally, so that it works at least for some."""
    _delivered_at_s: float = float("-inf")
    _tripped_at_s: float = field(factory=trio.current_time)
    _probed_at_s: float = float("-inf")
    _changed: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)
    _clock: trio.abc.Clock = field(factory=trio.lowlevel.current_clock)
    """What `trio.current_time` reads, at a third of its price: each job needs the time."""
    _failing: set[str] = field(factory=set)
    """Commands that tripped it and have not been delivered since."""
    _row: deque[str] = field(factory=lambda: deque(maxlen=SILENT_LIMIT))
    """The commands of the last jobs that a gateway's answer cost a try."""

    def __attrs_post_init__(self) -> None:
        """Make the places, at a limit that holds nothing back."""
        self.semaphore = AdaptiveSemaphore(Adaptive(self.concurrency), self.demand)

    @property
    def is_untried(self) -> bool:
        """Whether it has been tripped from the beginning, with no result of a probe yet."""
        return self.reason is _START

    @property
    def tripped_for_s(self) -> float:
        """Seconds since it last tripped."""
        return trio.current_time() - self._tripped_at_s

    @property
    def held_for_s(self) -> float:
        """Seconds for which the target's last Retry-After forbids even a probe, 0 without one."""
        return self.rules.held_for_s(trio.current_time())

    @property
    def paused_for_s(self) -> float:
        """Seconds until the pause for that Retry-After ends unless a probe ends it, 0 without one."""
        return self.rules.paused_for_s(trio.current_time())

    async def wait_to_admit(self) -> bool:
        """Wait until jobs may be sent; return False if the pool stops instead. Safe to cancel."""
        while not self.admits and not self.stopped:
            await self._changed.park()
        return not self.stopped

    async def wait_to_trip(self) -> None:
        """Wait until no jobs may be sent. Safe to cancel."""
        while self.admits:
            await self._changed.park()

    def record_delivered(self, counts: Mapping[str, int]) -> None:
        """Note how many jobs of each command were delivered together, and let the next ones in."""
        self._delivered_at_s = now_s = self._clock.current_time()
        total = 0
        for command, count in counts.items():
            self._failing.discard(command)
            self.rules.record_answer(now_s, command, count, deferred=False)
            total += count
        self.answers += total
        self.semaphore.leave_together(now_s, total)

    def observe(
        self,
        outcome: Outcome,
        command: str = "",
        duration_s: float = 0.0,
        *,
        in_slot: bool = False,
        is_retry: bool = False,
        once: bool = False,
    ) -> None:
        """Note the outcome of a delivery of `command` (its endpoint), and trip or change the limit accordingly.

        To be called before `semaphore.leave`, which lets others in. `duration_s`: how many seconds the delivery took.
        `in_slot`: the job had a place in its command's slot, beside the limit. `is_retry`: the job failed before, so
        that another failure says more about the job than about the target. `once`: it must run at most once, so that it
        dies of an answer that may be a gateway's.
        """
        now_s = self._clock.current_time()
        match outcome:
            case Delivered():
                self._delivered_at_s = now_s
                self._failing.discard(command)
                self._answered(now_s, command, in_slot=in_slot)
            case Rejected() | Deferred(of_job=True):
                self._answered(now_s, command, in_slot=in_slot)
            case Deferred(reason):
                self._record_deferral(now_s, outcome, command, is_retry=is_retry, once=once)
                self._follow(reason)
                if reason.status in _BUSY:
                    self._slow_down(now_s, command, in_slot=in_slot)
            case Unsent(reason):
                self.rules.record_unsent(now_s)
                self._follow(reason)
            case Uncertain(reason):
                self._unanswered(now_s, outcome, command, duration_s)
                self._follow(reason)
                self._slow_down(now_s, command, in_slot=in_slot)
            case Denied():
                pass
            case _:
                assert_never(outcome)

    def _answered(self, now_s: float, command: str, *, in_slot: bool) -> None:
        self.answers += 1
        self.rules.record_answer(now_s, command, deferred=False)
        if not in_slot:
            self.semaphore.record_answer(now_s)

    def _record_deferral(self, now_s: float, outcome: Deferred, command: str, *, is_retry: bool, once: bool) -> None:
        # A target that has just done something is well: then it is this command that gets a 503.
        unhealthy = now_s - self._delivered_at_s > _WELL_FOR_S
        wait_s = outcome.retry_after_s
        if outcome.pause_target and (wait_s is not None or (unhealthy and command not in self._failing)):
            self.rules.trip(now_s, outcome.reason.message, wait_s or 0.0)
            self._record_failing(command)
        elif outcome.ran == "unlikely":
            self._record_gateway(now_s, command, is_lost=once)
        elif not (is_retry and outcome.counts):
            self.rules.record_answer(now_s, command, deferred=True)

    def _pause_text(self) -> str:
        """Return until when the target is paused and why, as a sentence after others; empty if it is not."""
        if not self.paused_for_s:
            return ""
        end = time.strftime("%H:%M:%S UTC", time.gmtime(time.time() + self.paused_for_s))
        probes = f"after {duration_text(round(self.held_for_s))} a good probe ends it"
        return f" It asked for a pause (Retry-After): until {end} at the latest; {probes}."

    def _unanswered(self, now_s: float, outcome: Uncertain, command: str, duration_s: float) -> None:
        if outcome.by_gateway:
            self._record_gateway(now_s, command, is_lost=True)
            return
        self.rules.record_silence(now_s, command, duration_s)
        if outcome.pause_target:
            self.rules.trip(now_s, outcome.reason.message)

    def _record_gateway(self, now_s: float, command: str, *, is_lost: bool) -> None:
        """Note an answer that may be a gateway's, before a target that is away: five in a row trip it at once.

        `is_lost`: it costs the job a try or its life. The commands of that row do not trip it so again before they are
        delivered: until then the probe decides, as in `_record_failing`.
        """
        was_well = self.rules.permits
        is_lost = is_lost and command not in self._failing
        if is_lost:
            self._row.append(command)
        self.rules.record_gateway(now_s, command, is_lost=is_lost)
        if is_lost and was_well and not self.rules.permits:
            for other in self._row:
                self._record_failing(other)

    def _slow_down(self, now_s: float, command: str, *, in_slot: bool) -> None:
        if not in_slot and not self.rules.is_alone(command):
            self.semaphore.record_refusal(now_s)
            # The task that waits for it to trip has to look after the limit from now on.
            self._changed.unpark_all()

    def _record_failing(self, command: str) -> None:
        """Note that this command tripped it: without a Retry-After, it does not do so again until it is delivered.

        Until then the probe decides, which found the target well although this command fails.
        """
        if len(self._failing) >= _MOST_FAILING:
            self._failing.clear()
        self._failing.add(command)

    def deny(self, reason: Reason) -> None:
        """Trip because the target refuses the broker's own login; the next probe that succeeds resets it."""
        if self.denied is None:
            self.denied = reason
            self.is_reported = False
        self._trip(reason)

    def trip(self, reason: Reason) -> None:
        """Trip because the target does not work at all; the next probe that succeeds resets it."""
        self.rules.trip(trio.current_time(), reason.message)
        self._trip(reason)

    def trip_for_good(self, reason: Reason) -> None:
        """Trip for good: nothing more can be sent in this generation of the pool."""
        self.is_final = True
        self._trip(reason)

    def stop(self) -> None:
        """End the waits of `wait_to_admit`, which returns False from now on, and let no one in any more."""
        self.stopped = True
        self._changed.unpark_all()
        self.semaphore.close()

    async def wait_to_probe(self) -> None:
        """Wait until the breaker is tripped, and not for good, so that the target is to be probed. Safe to cancel.

        Meanwhile it raises the adaptive limit when all places were taken for `CALM_S` seconds, and lets the next job
        in, since no other task watches a breaker that admits jobs. Only the prober may wait here.
        """
        while self.admits or self.is_final:
            limited = self.semaphore.limit < self.concurrency
            with trio.move_on_after(CALM_S if limited else math.inf):
                await self._changed.park()
            if limited and self.admits:
                self.semaphore.raise_limit(trio.current_time())

    def probe_in_s(self, jitter: float) -> float:
        """Return the seconds until the next probe is due, 0 if it is; `jitter` in [0, 1) spreads processes."""
        now_s = trio.current_time()
        if self.denied is not None:
            return max(0.0, self._probed_at_s + _DENIED_WAIT_S * (0.8 + 0.4 * jitter) - now_s)
        return self.rules.probe_due_s(now_s, jitter)

    def record_probe(self, found: Probe | Reason) -> None:
        """Note the result of a probe, or the reason why it got none: reset if the target works for us, else trip."""
        self._probed_at_s = trio.current_time()
        if self.is_final:
            return
        match found:
            case Reason():
                self._record_failed_probe(found)
            case Probe(ok=True):
                if not self.held_for_s:  # while the probe was on its way, it may have asked for a longer pause
                    self._reset(found)
            case Probe(denied=True):
                self.deny(Reason("TargetDenied", found.detail, found.hint))
            case _:
                self.denied = None
                self._record_failed_probe(Reason("TargetUnwell", found.detail, found.hint))

    def _record_failed_probe(self, reason: Reason) -> None:
        self.rules.probe_failed(trio.current_time(), reason.message)
        self._trip(reason)

    def _follow(self, reason: Reason) -> None:
        if not self.rules.permits:
            self._trip(attrs.evolve(reason, message=f"{reason.message}{self._pause_text()}"))

    def _trip(self, reason: Reason) -> None:
        if self.admits:
            self._tripped_at_s = trio.current_time()
        self.admits, self.reason = False, reason
        self.semaphore.close()
        if not self.is_reported:
            self.is_reported = True
            denied = self.denied is not None
            self.report(TargetDown(self.target, reason.code, reason.message, reason.hint, denied=denied))
        self._changed.unpark_all()

    def _reset(self, probe: Probe) -> None:
        is_first = self.is_untried
        self.rules.probe_ok(trio.current_time())
        if self.is_reported:
            self.report(TargetUp(self.target, trio.current_time() - self._tripped_at_s))
        if probe.version is not None and probe.version != self.server_version:
            self.server_version = probe.version
            self.report(VersionReported(self.target, probe.version, probe.detail))
        self.admits, self.reason, self.denied = True, None, None
        self.was_let_in = True
        self.is_reported = False
        self._changed.unpark_all()
        if not self.stopped:
            self.semaphore.open(alone=not is_first)
