"""Counts what happened since the start, for /metrics.

A sink: `app` reports to it where `Stats` is on, and asks for its `samples`. Always holds: no label is a text that a
producer chose, and there are never more than some hundred, whatever producers and servers say; jobs that come together
cost what their commands cost, not what they do.
"""

import re
from collections import Counter
from collections.abc import Callable, Container
from typing import Final

import attrs

from restbroker.telemetry import events
from restbroker.telemetry.events import Event, JobFinished, JobsDelivered
from restbroker.telemetry.latency import Histogram
from restbroker.telemetry.series import SHORT_LIMITS_S, Distribution, Labels, Samples

OTHER: Final = "other"
MOST_COMMANDS: Final = 200
MOST_CODES: Final = 200
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")


@attrs.define
class Counts:
    """`known`: the commands of a target's catalogue, by the target's name."""

    known: Callable[[str], Container[str]]
    _jobs: Counter[Labels] = attrs.field(factory=Counter, init=False)
    _failures: Counter[Labels] = attrs.field(factory=Counter, init=False)
    _closings: Counter[Labels] = attrs.field(factory=Counter, init=False)
    _warnings: Counter[Labels] = attrs.field(factory=Counter, init=False)
    _heard: Counter[Labels] = attrs.field(factory=Counter, init=False)
    _took: dict[str, Histogram] = attrs.field(factory=dict, init=False)
    _events: Counter[str] = attrs.field(factory=Counter, init=False)
    _commands: set[Labels] = attrs.field(factory=set, init=False)
    _codes: set[str] = attrs.field(factory=set, init=False)

    def __call__(self, event: Event) -> None:  # noqa: C901 - a table with a row for each event
        """Takes note of what is counted. Never raises."""
        match event:
            case JobsDelivered(target, took_s):
                for command, durations_s in took_s.items():
                    self._jobs[target, self._command(target, command), "delivered"] += len(durations_s)
            case JobFinished(target):
                self._jobs[target, self._command(target, event.command), event.outcome] += 1
                if event.fate != "ack":
                    self._failures[target, self._code(event.code or event.outcome), event.fate] += 1
            case events.GateClosed(target, code):
                self._closings[target, self._code(code)] += 1
            case events.StoreLost():
                self._events["restbroker_redis_outages_total"] += 1
            case events.IdentityFenced():
                self._events["restbroker_fenced_total"] += 1
            case events.JobsRecovered(jobs=jobs):
                self._events["restbroker_jobs_recovered_total"] += jobs
            case events.EventHandled(source, outcome, took_s):
                self._heard[source, outcome] += 1
                if took_s is not None:
                    self._took.setdefault(source, Histogram()).add((took_s,))
            case events.Warned(code):
                self._warnings[self._code(code),] += 1
            case _:
                pass

    def samples(self) -> Samples:
        """What was counted up to now. Totals that never moved are 0, so that their first step is seen."""
        totals = ("restbroker_redis_outages_total", "restbroker_fenced_total", "restbroker_jobs_recovered_total")
        return {
            "restbroker_jobs_total": {**self._jobs},
            "restbroker_failures_total": {**self._failures},
            "restbroker_gate_closings_total": {**self._closings},
            "restbroker_warnings_total": {**self._warnings},
            "restbroker_events_total": {**self._heard},
            "restbroker_event_seconds": {
                (source,): Distribution(took.between(SHORT_LIMITS_S), took.total_s)
                for source, took in self._took.items()
            },
            **{name: {(): self._events[name]} for name in totals},
        }

    def _command(self, target: str, command: str) -> str:
        # What an endpoint says behind the command (`register/v1`) may be anything.
        command = command.partition("/")[0]
        if (target, command) in self._commands:
            return command
        if len(self._commands) >= MOST_COMMANDS or command not in self.known(target):
            return OTHER
        self._commands.add((target, command))
        return command

    def _code(self, code: str) -> str:
        """The code: one of ours, or made of a server's answer (`HttpStatus500`)."""
        if code in self._codes:
            return code
        if len(self._codes) >= MOST_CODES or as_label(code) == OTHER:
            return OTHER
        self._codes.add(code)
        return code


def as_label(code: str) -> str:
    """The code of a reason if it looks like one, else `other`."""
    return code if _CODE.fullmatch(code) else OTHER
