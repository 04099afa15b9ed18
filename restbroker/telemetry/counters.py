"""Counts the events since the start of the process: for /metrics, and for the numbers in `stats` and on the pages.

A sink: `app` reports to it. A scrape calls `samples`, each heartbeat `snapshot`. Always holds: no label is a text that
a producer chose, and there are never more than some hundred, no matter what producers and servers send; memory is
bounded; jobs that come together cost what their commands cost, and each a fifth of a microsecond for its duration.
"""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Final

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
)
from restbroker.telemetry.latency import Histogram, RecentLatency
from restbroker.telemetry.metrics import METRICS, Labels, Metric, Samples

OTHER: Final = "other"
MOST_COMMANDS: Final = 200
MOST_CODES: Final = 200
RATE_WINDOW_S: Final = 10
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
NO_FAILURES: Final = frozenset(("delivered", "duplicate", "expired"))
"""Outcomes that `failed` leaves out, as Sidekiq's own count does."""
_JOBS: Final = "restbroker_jobs_total"


@define
class _Recent:
    """The speed of a target in the last minute."""

    latency: RecentLatency = field(factory=RecentLatency)
    # Tries per second of the clock, for the last ten whole seconds and the one that runs.
    per_second: dict[int, int] = field(factory=dict)

    def add(self, now_s: float, durations_s: Sequence[float]) -> None:
        self.latency.add(now_s, durations_s)
        second = int(now_s)
        if second not in self.per_second:
            self.per_second = {old: jobs for old, jobs in self.per_second.items() if old >= second - RATE_WINDOW_S}
            self.per_second[second] = 0
        self.per_second[second] += len(durations_s)

    def rate_per_s(self, now_s: float) -> float:
        second = int(now_s)
        # The second that runs is left out: it is not whole yet.
        recent = sum(jobs for old, jobs in self.per_second.items() if second - RATE_WINDOW_S <= old < second)
        return recent / RATE_WINDOW_S


@define
class Counters:
    """The counts of one process; calling it with an event counts the event.

    `commands_of`: target's name → the commands of its catalogue. `now_s`: any clock.
    """

    commands_of: Callable[[str], Container[str]] = lambda _target: ()
    now_s: Callable[[], float] = time.monotonic
    _counts: dict[str, Counter[Labels]] = field(factory=lambda: defaultdict(Counter), init=False)
    _durations: dict[str, dict[Labels, Histogram]] = field(factory=lambda: defaultdict(dict), init=False)
    """Both by the metric's name and the values of its labels."""
    _recent: dict[str, _Recent] = field(factory=lambda: defaultdict(_Recent), init=False)
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
                for command, durations_s in took_s.items():
                    self._counts[_JOBS][target, self._command(target, command), "delivered"] += len(durations_s)
                    self._add_durations(target, durations_s)
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
        outcomes, now_s, recent = Counter({"delivered": 0}), self.now_s(), self._recent[target]
        for (name, _, outcome), jobs in self._counts[_JOBS].items():
            if name == target:
                outcomes[outcome] += jobs
        return {
            "delivered": outcomes["delivered"],
            "failed": sum(count for outcome, count in outcomes.items() if outcome not in NO_FAILURES),
            "outcomes": dict(outcomes),
            "rate_per_s": recent.rate_per_s(now_s),
            **recent.latency.of_last_minute(now_s).summary_ms(),
        }

    def samples(self) -> Samples:
        """Return copies of all values."""
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
        self._counts[_JOBS][event.target, self._command(event.target, event.command), event.outcome] += 1
        # A duplicate is no try, nor is what expired unsent: it has no duration.
        if event.outcome not in ("duplicate", "expired") or event.duration_s:
            self._add_durations(event.target, (event.duration_s,))
        if event.fate != "ack":
            code = self._code(event.code or event.outcome)
            self._counts["restbroker_failures_total"][event.target, code, event.fate] += 1

    def _add_durations(self, target: str, durations_s: Sequence[float]) -> None:
        self._histogram("restbroker_job_duration_seconds", (target,)).add(durations_s)
        self._recent[target].add(self.now_s(), durations_s)

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
        if len(self._commands) >= MOST_COMMANDS or command not in self.commands_of(target):
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
