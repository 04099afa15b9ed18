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

import attrs

from restbroker.telemetry import events
from restbroker.telemetry.events import ORDER_STOPPED, Event, JobFinished, JobsDelivered
from restbroker.telemetry.latency import Histogram, RecentLatency
from restbroker.telemetry.metrics import JOB_LIMITS_S, SHORT_LIMITS_S, Labels, Samples, Value

OTHER: Final = "other"
MOST_COMMANDS: Final = 200
MOST_CODES: Final = 200
RATE_WINDOW_S: Final = 10
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
NO_FAILURES: Final = frozenset(("delivered", "duplicate", "expired"))
"""Outcomes that `failed` leaves out, as Sidekiq's own count does."""
_TOTALS: Final = ("restbroker_redis_outages_total", "restbroker_fenced_total", "restbroker_jobs_recovered_total")


@attrs.define
class _TargetCounters:
    # By command and outcome. A duplicate is no try, nor is what expired unsent: it has no duration.
    jobs: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    durations: Histogram = attrs.field(factory=lambda: Histogram(JOB_LIMITS_S))
    latency: RecentLatency = attrs.field(factory=RecentLatency)
    # Tries per second of the clock, for the last ten whole seconds and the one that runs.
    per_second: dict[int, int] = attrs.field(factory=dict)

    def add(self, now_s: float, durations_s: Sequence[float]) -> None:
        self.durations.add(durations_s)
        self.latency.add(now_s, durations_s)
        second = int(now_s)
        if second not in self.per_second:
            self.per_second = {old: jobs for old, jobs in self.per_second.items() if old >= second - RATE_WINDOW_S}
            self.per_second[second] = 0
        self.per_second[second] += len(durations_s)

    def snapshot(self, now_s: float) -> dict[str, float | dict[str, int] | None]:
        outcomes = Counter({"delivered": 0})
        for (_, outcome), jobs in self.jobs.items():
            outcomes[outcome] += jobs
        second = int(now_s)
        # The second that runs is left out: it is not whole yet.
        recent = sum(jobs for old, jobs in self.per_second.items() if second - RATE_WINDOW_S <= old < second)
        return {
            "delivered": outcomes["delivered"],
            "failed": sum(count for outcome, count in outcomes.items() if outcome not in NO_FAILURES),
            "outcomes": dict(outcomes),
            "rate_per_s": recent / RATE_WINDOW_S,
            **self.latency.of_last_minute(now_s).summary_ms(),
        }


@attrs.define
class Counters:
    """The counts of one process; calling it with an event counts the event.

    `commands_of`: target's name → the commands of its catalogue. `now_s`: any clock. `app.metrics.LoopLag` adds to
    `loop_lag`.
    """

    commands_of: Callable[[str], Container[str]] = lambda _target: ()
    now_s: Callable[[], float] = time.monotonic
    loop_lag: Histogram = attrs.field(factory=lambda: Histogram(SHORT_LIMITS_S), init=False)
    _redis_calls: Histogram = attrs.field(factory=lambda: Histogram(SHORT_LIMITS_S), init=False)
    _classify: Histogram = attrs.field(factory=lambda: Histogram(SHORT_LIMITS_S), init=False)
    _without_key: Counter[Labels] = attrs.field(factory=Counter, init=False)
    _stopped: Counter[Labels] = attrs.field(factory=Counter, init=False)
    _targets: dict[str, _TargetCounters] = attrs.field(factory=lambda: defaultdict(_TargetCounters), init=False)
    _failures: Counter[Labels] = attrs.field(factory=Counter, init=False)
    _trips: Counter[Labels] = attrs.field(factory=Counter, init=False)
    _warnings: Counter[Labels] = attrs.field(factory=Counter, init=False)
    _events: Counter[Labels] = attrs.field(factory=Counter, init=False)
    _event_durations: dict[str, Histogram] = attrs.field(factory=dict, init=False)
    _totals: Counter[str] = attrs.field(factory=Counter, init=False)
    _commands: set[Labels] = attrs.field(factory=set, init=False)
    _codes: set[str] = attrs.field(factory=set, init=False)

    def __call__(self, event: Event) -> None:  # noqa: C901, PLR0912 - a table with a row for each event
        """Count what is counted of this event. Never raises."""
        match event:
            case JobsDelivered(target, took_s):
                now_s, counted = self.now_s(), self._targets[target]
                for command, durations_s in took_s.items():
                    counted.jobs[self._command(target, command), "delivered"] += len(durations_s)
                    counted.add(now_s, durations_s)
            case JobFinished(target):
                self._count_finished(event, self._targets[target])
            case events.TargetDown(target, code):
                self._trips[target, self._code(code)] += 1
            case events.StoreLost():
                self._totals["restbroker_redis_outages_total"] += 1
            case events.IdentityFenced():
                self._totals["restbroker_fenced_total"] += 1
            case events.JobsRecovered(jobs=jobs):
                self._totals["restbroker_jobs_recovered_total"] += jobs
            case events.JobsClassified(target, _, without_key, took_s):
                self._without_key[target,] += without_key
                if took_s is not None:
                    self._classify.add((took_s,))
            case events.EventHandled(source, outcome, took_s):
                self._events[source, outcome] += 1
                if took_s is not None:
                    self._event_durations.setdefault(source, Histogram(SHORT_LIMITS_S)).add((took_s,))
            case events.OperatorWarning(code, target=target):
                self._warnings[self._code(code),] += 1
                if code == ORDER_STOPPED and target is not None:
                    self._stopped[target,] += 1
            case _:
                pass

    def add_redis_call(self, duration_s: float) -> None:
        """Count a call of the delivery that Redis answered, which took `duration_s` seconds."""
        self._redis_calls.add((duration_s,))

    def snapshot(self, target: str) -> Mapping[str, float | dict[str, int] | None]:
        """Return the counts of one target since the start of the process, and its recent speed.

        The keys are `delivered`, `failed` and `outcomes` ({outcome: tries}), the `rate_per_s` of the last ten seconds,
        and, of the last minute, `p50_ms`, `p95_ms` and `p99_ms` (None: nothing was tried).
        """
        return self._targets[target].snapshot(self.now_s())

    def samples(self) -> Samples:
        """Return copies of all values; totals that never moved are 0, so that their first step is seen."""
        targets = self._targets.items()
        return {
            "restbroker_jobs_total": {(name, *key): jobs for name, one in targets for key, jobs in one.jobs.items()},
            "restbroker_failures_total": {**self._failures},
            "restbroker_job_duration_seconds": {(name,): one.durations.copy() for name, one in targets},
            "restbroker_gate_closings_total": {**self._trips},
            "restbroker_redis_call_seconds": {(): self._redis_calls.copy()},
            "restbroker_fair_classify_seconds": {(): self._classify.copy()} if self._without_key else {},
            "restbroker_fair_without_key_total": {**self._without_key},
            "restbroker_order_stopped_total": {**self._stopped},
            "restbroker_event_loop_lag_seconds": {(): self.loop_lag.copy()},
            "restbroker_warnings_total": {**self._warnings},
            **{name: {(): self._totals[name]} for name in _TOTALS},
            **self.event_samples(),
        }

    def event_samples(self) -> Samples:
        """Return copies of the values about events of servers."""
        durations: dict[Labels, Value] = {(name,): one.copy() for name, one in self._event_durations.items()}
        return {"restbroker_events_total": {**self._events}, "restbroker_event_seconds": durations}

    def _count_finished(self, event: JobFinished, counted: _TargetCounters) -> None:
        counted.jobs[self._command(event.target, event.command), event.outcome] += 1
        if event.outcome not in ("duplicate", "expired") or event.duration_s:
            counted.add(self.now_s(), (event.duration_s,))
        if event.fate != "ack":
            self._failures[event.target, self._code(event.code or event.outcome), event.fate] += 1

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
