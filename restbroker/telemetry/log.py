"""The log: events as lines on standard error.

A sink: `app` reports to it and calls `tick` every ten seconds and once at the end, with what was counted since. Always
holds: neither raises nor waits for anything but the stream; a stream that is gone is ignored, since jobs matter more
than words; no line holds a line break or another control character.

The format is stable. As text: `TIME LEVEL EVENT key=value …`, values with blanks in double quotes; as JSON: one object
a line with `timestamp`, `level`, `event` and the same keys. Keys without a value are left out. Lines of a worker of
`run --processes` have its number first, as `worker`. docs/codes.md has a table of all lines.
"""

import contextlib
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TextIO

import attrs
import orjson

from restbroker.light import define, field, frozen
from restbroker.telemetry.events import (
    BrokerStarted,
    Event,
    EventHandled,
    JobFinished,
    JobsDelivered,
    OneEvent,
    OperatorWarning,
    StoreBack,
    StoreLost,
    StoreOutageChanged,
    TargetDown,
    TargetUp,
)
from restbroker.telemetry.latency import Sums
from restbroker.telemetry.log_events import LOG_EVENTS, Fields, Level, LogLine

_RANKS: Mapping[Level, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
# More kinds of failure than this within ten seconds are counted together.
_KINDS_LIMIT = 200
_OTHER = "Other"
_DIED = frozenset({"dead", "drop"})
_SAME_WORDS = 3
"""How often in ten seconds a warning in the same words has a line: a user who reloads twice wants to see it twice."""
REMIND_S = 60.0
# With what turns the direction of writing, or is not seen.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]+")
_LONGEST_VALUE = 4096
"""The longest value in characters, of a producer's jid, say.

journald and Docker split a longer line into several, and the producer could choose how these begin.
"""
_PLAIN = re.compile(r"[^\s\"=]+")


@frozen
class LogSettings:
    """How lines are written: those below `level` are left out; `json`: as JSON. `worker`: number of this worker."""

    level: Level = "info"
    json: bool = False
    worker: int | None = None


@define
class _Problem:
    """A problem that was logged and is not over: its line and since when it lasts, by the log's clock.

    `reminded_s`: the tick that wrote it last.
    """

    line: LogLine
    since_s: float
    reminded_s: float | None = None


@define
class LogSink:
    """A writer of events to `stream`. `now_s` returns epoch seconds for the time of each line."""

    settings: LogSettings = LogSettings()
    stream: TextIO = field(factory=lambda: sys.stderr)
    now_s: Callable[[], float] = time.time
    _repeats: dict[tuple[str, str], int] = field(factory=dict, init=False)
    _warnings: dict[tuple[str, str], int] = field(factory=dict, init=False)
    _event_outcomes: dict[str, Counter[str]] = field(factory=lambda: defaultdict(Counter), init=False)
    _problems: dict[str, _Problem] = field(factory=dict, init=False)
    _began_s: float = field(init=False)
    _last_tick_s: float | None = field(default=None, init=False)
    tells_each: bool = field(init=False)
    """Whether each job has a line, also if it was delivered."""

    def __attrs_post_init__(self) -> None:
        self._began_s = self.now_s()
        self.set_level(self.settings.level)

    def set_level(self, level: Level) -> None:
        """Leave out lines below this level from now on."""
        self.settings = attrs.evolve(self.settings, level=level)
        self.tells_each = self._is_written("debug")

    def __call__(self, event: Event) -> None:
        """Write the event's line, if it has one at this level.

        Between two ticks, failures of one kind have one line, except that a job that was let in and died of it always
        has its own; a warning in the same words has three at most.
        """
        match event:
            case JobsDelivered():
                for job in event.each() if self.tells_each else ():
                    self._write(job.log.line(job))
            case JobFinished():
                self._write_job(event)
            case OperatorWarning():
                self._write_warning(event)
            case EventHandled(source, outcome):
                self._event_outcomes[source][outcome] += 1
                if self.tells_each:
                    self._write(event.log.line(event))
            case _:
                self._write(event.log.line(event))
                self._remember(event)

    def tick(self, now_s: float, sums: Mapping[str, Sums] = MappingProxyType({})) -> None:
        """Write the sums since the last tick, and each minute a reminder of each problem that is not over.

        The sums are repeated failures and warnings, and a summary of each busy source, and of each target that had jobs
        since: `sums`. `now_s` is any clock in seconds that all ticks share.
        """
        elapsed_s = self.now_s() - self._began_s if self._last_tick_s is None else now_s - self._last_tick_s
        self._last_tick_s = now_s
        repeats, self._repeats = self._repeats, {}
        for (target, code), count in repeats.items():
            if count:
                self._write_sum("jobs.failed", target=target, code=code, count=count)
        warnings, self._warnings = self._warnings, {}
        for code in dict.fromkeys(code for code, _ in warnings):
            count = sum(max(0, times - _SAME_WORDS) for (known, _), times in warnings.items() if known == code)
            if count:
                self._write_sum("warnings", code=code, count=count)
        events, self._event_outcomes = self._event_outcomes, defaultdict(Counter)
        for source, outcomes in events.items():
            rate_per_s = _rate_per_s(outcomes.total(), elapsed_s)
            self._write_sum("events", source=source, **dict(sorted(outcomes.items())), rate_per_s=rate_per_s)
        for target, tried in sums.items():
            rate_per_s = _rate_per_s(tried.delivered + tried.failed, elapsed_s)
            latency = tried.latency.summary_ms()
            counts = {"delivered": tried.delivered, "failed": tried.failed}
            self._write_sum("summary", target=target, **counts, rate_per_s=rate_per_s, **latency)
        for problem in self._problems.values():
            self._remind(problem, now_s)

    def _remember(self, event: OneEvent) -> None:
        match event:
            case StoreLost():
                self._problems["redis"] = _Problem(event.log.line(event), self.now_s())
            case StoreOutageChanged(message) if (problem := self._problems.get("redis")) is not None:
                problem.line = StoreLost.log.line(StoreLost(message))
            case StoreBack():
                self._problems.pop("redis", None)
            case TargetDown(target):
                self._problems[f"target {target}"] = _Problem(event.log.line(event), self.now_s())
            case TargetUp(target):
                self._problems.pop(f"target {target}", None)
            case BrokerStarted(down=down):
                # Breakers are new in each generation of the broker, and report again when they trip.
                kept = {"redis", *(f"target {target}" for target in down)}
                self._problems = {name: problem for name, problem in self._problems.items() if name in kept}
            case _:
                pass

    def _remind(self, problem: _Problem, now_s: float) -> None:
        if problem.reminded_s is None:
            problem.reminded_s = now_s
        elif now_s - problem.reminded_s >= REMIND_S:
            problem.reminded_s = now_s
            first, for_s = problem.line, round(max(0.0, self.now_s() - problem.since_s))
            self._write(LogLine(first.level, "still", {"what": first.event, "for_s": for_s, **first.fields}))

    def _write_job(self, event: JobFinished) -> None:
        # A delivered job dies when its answer could not be written. Of a duplicate that was signed a warning tells, and
        # what else comes twice is no one's fault.
        if event.outcome != "duplicate" and (event.outcome != "delivered" or event.fate == "dead"):
            self._write_failure(event)
        if self.tells_each:
            self._write(event.log.line(event))

    def _write_failure(self, event: JobFinished) -> None:
        kind = (event.target, event.code or event.outcome)
        if kind not in self._repeats and len(self._repeats) >= _KINDS_LIMIT:
            kind = (event.target, _OTHER)
        if kind not in self._repeats:
            self._repeats[kind] = 0
        elif not (event.admitted and event.fate in _DIED):
            # Anyone without a token may push as many as they like.
            self._repeats[kind] += 1
            return
        self._write(LOG_EVENTS["job.failed"].line(event))

    def _write_warning(self, event: OperatorWarning) -> None:
        # Anyone may ask for a page that fails, or try to log in, as often as they like.
        kind = (event.code, event.message)
        if kind not in self._warnings and len(self._warnings) >= _KINDS_LIMIT:
            kind = (event.code, _OTHER)
        self._warnings[kind] = self._warnings.get(kind, 0) + 1
        if self._warnings[kind] <= _SAME_WORDS:
            self._write(event.log.line(event))

    def _is_written(self, level: Level) -> bool:
        return _RANKS[level] >= _RANKS[self.settings.level]

    def _write_sum(self, name: str, **fields: object) -> None:
        self._write(LogLine(LOG_EVENTS[name].levels[0], name, fields))

    def _write(self, line: LogLine) -> None:
        if not self._is_written(line.level):
            return
        given = {"worker": self.settings.worker, **line.fields}
        fields = {name: _clean(value) for name, value in given.items() if value is not None}
        render = _as_json if self.settings.json else _as_text
        # OSError: the pipe is broken or the disk full. ValueError: the stream is closed.
        with contextlib.suppress(OSError, ValueError):
            self.stream.write(render(_time(self.now_s()), line.level, line.event, fields) + "\n")
            self.stream.flush()


def _rate_per_s(count: int, elapsed_s: float) -> float:
    return round(count / max(elapsed_s, 0.001), 1)


def _time(now_s: float) -> str:
    moment = datetime.fromtimestamp(now_s, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def _clean(value: object) -> object:
    match value:
        case str():
            line = _CONTROL.sub(" ", value)
            return line if len(line) <= _LONGEST_VALUE else line[: _LONGEST_VALUE - 1] + "…"
        case tuple() | list():
            return [_clean(item) for item in value]
        case _:
            return value


def _as_json(timestamp: str, level: Level, event: str, fields: Fields) -> str:
    return orjson.dumps({"timestamp": timestamp, "level": level, "event": event, **fields}).decode()


def _as_text(timestamp: str, level: Level, event: str, fields: Fields) -> str:
    items = "".join(f" {name}={_quote(value)}" for name, value in fields.items())
    return f"{timestamp} {level.upper():7} {event}{items}"


def _quote(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return _quote(",".join(map(str, value)))
        case _:
            text = str(value)
            if _PLAIN.fullmatch(text):
                return text
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
