"""Counts the events since the start of the process: for /metrics, the numbers in `stats` and on the pages, and the log.

`app` reports to a `Reporter`, which hands all to the log and to the `Counters`. A scrape calls `samples`, each
heartbeat `snapshot`, the log's ticker `take_sums`. Always holds: no label is a text that a producer chose, and there
are never more than some hundred, no matter what producers and servers send; memory is bounded; who reads a count finds
in it all that was reported before.
"""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Mapping
from typing import Final

import trio

from restbroker.light import define, field
from restbroker.telemetry.events import (
    ORDER_STOPPED,
    Event,
    EventHandled,
    IdentityFenced,
    JobFinished,
    JobsDelivered,
    JobsRecovered,
    OneEvent,
    OperatorWarning,
    StoreLost,
    bug_warning,
)
from restbroker.telemetry.latency import Histogram, Speed, Sums
from restbroker.telemetry.log import LogSink
from restbroker.telemetry.metrics import METRICS, Labels, Metric, Samples

OTHER: Final = "other"
MOST_COMMANDS: Final = 200
MOST_CODES: Final = 200
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
NO_FAILURES: Final = frozenset(("delivered", "duplicate", "expired"))
"""Outcomes that `failed` leaves out, as Sidekiq's own count does."""
_JOBS: Final = "restbroker_jobs_total"
GATHER_S: Final = 0.1
"""For how many seconds delivered jobs wait to be counted together."""
MOST_WAIT: Final = 2000
"""How many wait at most: as many as are counted in a millisecond."""


@define
class Counters:
    """The counts of one process; calling it with an event counts the event.

    `commands_of`: target's name → the commands of its catalogue; None: all commands count as one. `now_s`: any clock.
    `flush` has all counted that was reported before, and is called first by whatever reads counts.
    """

    commands_of: Callable[[str], Container[str]] | None = None
    now_s: Callable[[], float] = time.monotonic
    flush: Callable[[], None] = lambda: None
    _counts: dict[str, Counter[Labels]] = field(factory=lambda: defaultdict(Counter), init=False)
    _durations: dict[str, dict[Labels, Histogram]] = field(factory=lambda: defaultdict(dict), init=False)
    """Both by the metric's name and the values of its labels."""
    _speeds: dict[str, Speed] = field(factory=dict, init=False)
    _put_off_until_s: list[float] = field(factory=list, init=False)
    """Until when each job waits that was in progress in several crashes."""
    _commands: set[Labels] = field(factory=set, init=False)
    _codes: set[str] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        # Shown before they moved, so that their first step is seen.
        for event in (StoreLost, IdentityFenced, JobsRecovered):
            for name in event.log.metrics:
                self._counts[name][()] = 0
        for name in ("restbroker_redis_call_seconds", "restbroker_event_loop_lag_seconds"):
            self._histogram(name)

    @property
    def loop_lag(self) -> Histogram:
        """The histogram to which `app.metrics.LoopLag` adds."""
        return self._histogram("restbroker_event_loop_lag_seconds")

    def __call__(self, event: Event) -> None:
        """Count what is counted of this event. Never raises."""
        match event:
            case JobsDelivered(target, took_s):
                jobs, speed = self._counts[_JOBS], self._speeds.get(target) or self._new_speed(target)
                for command, durations_s in took_s.items():
                    labels = target, command, "delivered"
                    if labels not in jobs:  # most are, since they came before
                        labels = target, self._command(target, command), "delivered"
                    jobs[labels] += len(durations_s)
                    speed.delivered += len(durations_s)
                    speed.add(self.now_s(), durations_s)
            case JobFinished():
                self._count_finished(event)
            case _:
                for name, added in event.log.metrics.items():
                    self._count(METRICS[name], event, added)
                if isinstance(event, JobsRecovered):
                    self._put_off_until_s += [self.now_s() + wait_s for wait_s in event.waits_s]
                if isinstance(event, OperatorWarning) and event.code == ORDER_STOPPED and event.target is not None:
                    self._counts["restbroker_order_stopped_total"][event.target,] += 1

    def add_redis_call(self, duration_s: float) -> None:
        """Count a call of the delivery that Redis answered, which took `duration_s` seconds."""
        self._histogram("restbroker_redis_call_seconds").add((duration_s,))

    def snapshot(self, target: str) -> Mapping[str, float | dict[str, int] | None]:
        """Return the counts of one target since the start of the process, and its recent speed.

        The keys are `delivered`, `failed` and `outcomes` ({outcome: tries}), the `rate_per_s` of the last ten seconds,
        and, of the last minute, `p50_ms`, `p95_ms` and `p99_ms` (None: nothing was tried).
        """
        self.flush()
        outcomes, now_s, speed = Counter({"delivered": 0}), self.now_s(), self._speeds.get(target) or Speed()
        for (name, _, outcome), jobs in self._counts[_JOBS].items():
            if name == target:
                outcomes[outcome] += jobs
        return {
            "delivered": outcomes["delivered"],
            "failed": sum(count for outcome, count in outcomes.items() if outcome not in NO_FAILURES),
            "outcomes": dict(outcomes),
            "rate_per_s": speed.rate_per_s(now_s),
            **speed.of_last_minute(now_s).summary_ms(),
        }

    def take_sums(self) -> Mapping[str, Sums]:
        """Return by target what was tried since the last call, without targets of which nothing was."""
        self.flush()
        return {target: speed.take() for target, speed in self._speeds.items() if speed.delivered or speed.failed}

    def samples(self) -> Samples:
        """Return copies of all values."""
        self.flush()
        durations, now_s = self._durations.items(), self.now_s()
        self._put_off_until_s = [until_s for until_s in self._put_off_until_s if until_s > now_s]
        return {
            "restbroker_crashed_jobs_waiting": {(): len(self._put_off_until_s)},
            **{name: {**values} for name, values in self._counts.items()},
            **{name: {labels: series.copy() for labels, series in values.items()} for name, values in durations},
        }

    def event_samples(self) -> Samples:
        """Return copies of the values about events of servers."""
        return {name: values for name, values in self.samples().items() if name in EventHandled.log.metrics}

    def _count(self, metric: Metric, event: OneEvent, added: str) -> None:
        """Add the event's attribute of this name to the metric; one if it is `""`."""
        values = [(label, getattr(event, label)) for label in metric.labels]
        labels = tuple(self._code(value) if label == "code" else value for label, value in values)
        amount = getattr(event, added) if added else 1
        if metric.kind == "counter":
            self._counts[metric.name][labels] += amount
        elif amount is not None:
            self._histogram(metric.name, labels).add((amount,))

    def _count_finished(self, event: JobFinished) -> None:
        target, outcome = event.target, event.outcome
        self._counts[_JOBS][target, self._command(target, event.command), outcome] += 1
        speed = self._speeds.get(target) or self._new_speed(target)
        speed.delivered += outcome == "delivered"
        speed.failed += outcome not in NO_FAILURES
        # A duplicate is no try, nor is what expired unsent: it has no duration.
        if outcome not in ("duplicate", "expired") or event.duration_s:
            speed.add(self.now_s(), (event.duration_s,))
        if event.fate != "ack":
            code = self._code(event.code or event.outcome)
            self._counts["restbroker_failures_total"][target, code, event.fate] += 1

    def _new_speed(self, target: str) -> Speed:
        speed = self._speeds[target] = Speed(self._histogram("restbroker_job_duration_seconds", (target,)))
        return speed

    def _histogram(self, name: str, labels: Labels = ()) -> Histogram:
        values = self._durations[name]
        if labels not in values:
            values[labels] = Histogram(METRICS[name].limits_s)
        return values[labels]

    def _command(self, target: str, command: str) -> str:
        # What an endpoint says behind the command (`register/v1`) may be anything.
        command = command.partition("/")[0]
        if (target, command) in self._commands:
            return command
        known = () if self.commands_of is None or len(self._commands) >= MOST_COMMANDS else self.commands_of(target)
        if command not in known:
            return OTHER
        self._commands.add((target, command))
        return command

    def _code(self, code: str) -> str:
        """Return the code, which is restbroker's own or made of a server's answer (`HttpStatus500`).

        Return `other` if it does not look like a code, or there are too many.
        """
        if code in self._codes:
            return code
        if len(self._codes) >= MOST_CODES or code_label(code) == OTHER:
            return OTHER
        self._codes.add(code)
        return code


def code_label(code: str) -> str:
    """Return the code of a reason if it looks like one, else `other`."""
    return code if _CODE.fullmatch(code) else OTHER


@define(eq=False)
class Reporter:
    """Hands each event to the log and to `counters`; delivered jobs wait, so that many are counted in one step.

    What is reported of a job is decided when it is reported: kept is how long it took, and at debug level its line is
    written at once. `flush` counts what waits; before any other event is reported, before a count is read and at the
    end it is called anyway, and `run` calls it after `GATHER_S`. While nothing waits, nothing wakes up.
    """

    log: LogSink
    now_s: Callable[[], float] = time.monotonic
    commands_of: Callable[[str], Container[str]] | None = None
    counters: Counters = field(init=False)
    _waiting: dict[str, dict[str, list[float]]] = field(factory=dict, init=False)
    """By target and command how many seconds each job took."""
    _count: int = field(default=0, init=False)
    _lot: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)

    def __attrs_post_init__(self) -> None:
        self.counters = Counters(self.commands_of, self.now_s, self.flush)

    def __call__(self, event: Event) -> None:
        """Report the event behind all that came before, or have it wait if it is of delivered jobs. Never raises."""
        if not isinstance(event, JobsDelivered):
            self.flush()
            self.log(event)
            self.counters(event)
            return
        if self.log.tells_each:
            self.log(event)
        waiting = self._waiting.setdefault(event.target, {})
        for command, took_s in event.took_s.items():
            waiting.setdefault(command, []).extend(took_s)
            self._count += len(took_s)
        if self._count >= MOST_WAIT:
            self.flush()
        elif self._lot:
            self._lot.unpark_all()

    def flush(self) -> None:
        """Count the jobs that wait. A bug costs these their count, and nothing else."""
        if not self._waiting:
            return
        waiting, self._waiting, self._count = self._waiting, {}, 0
        try:
            for target, took_s in waiting.items():
                self.counters(JobsDelivered(target, took_s))
        except Exception as bug:  # noqa: BLE001 - who reads counts must go on, and who settles jobs
            self.log(bug_warning(bug, "as it counted delivered jobs; some are in no count"))

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Count what waits, ten times a second at most, until cancelled, and the rest then."""
        task_status.started()
        try:
            while True:
                if not self._waiting:
                    await self._lot.park()
                await trio.sleep(GATHER_S)
                self.flush()
        finally:
            self.flush()

    def tick(self, now_s: float) -> None:
        """Have the log write its sums: `LogSink.tick`."""
        self.log.tick(now_s, self.counters.take_sums())
