"""Writes docs/telemetry.md, the page about metrics and lines of the log, from their definitions. `make reference` does.

Always holds: a test compares the page with this. A line's levels and fields are those of
lines that are made here, of events with every combination of what decides; `telemetry.log_events` says what it means.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, Final, get_args, get_origin, get_type_hints

import attrs

from restbroker.telemetry import lines
from restbroker.telemetry.events import JobFinished, OneEvent, TargetDown
from restbroker.telemetry.latency import Histogram
from restbroker.telemetry.lines import Line
from restbroker.telemetry.log_events import LOG_EVENTS
from restbroker.telemetry.metrics import PROCESS, REDIS, Metric

_METRICS = """\
# Metrics and lines of the log

This page is made from the code (`make reference`).

## /metrics

`"Stats": true` serves `GET /metrics` beside [/stats](stats.md#stats), in Prometheus' text format, or as OpenMetrics if
the client asks for it. `examples/grafana-dashboard.json` is a dashboard to
import, `examples/prometheus-alerts.yml` has alert rules.

```yaml
scrape_configs:
  - job_name: restbroker
    static_configs:
      - targets: ["127.0.0.1:8080"]
    # If the pages have a login or there is a MetricsToken:
    authorization:
      credentials_file: /etc/prometheus/restbroker-metrics-token
```

- **While Redis is away** it answers within three seconds with what the process itself knows, and
  `restbroker_redis_up` 0.
- **With `--processes`** the supervisor serves the sums of its workers, up to two seconds old. Counters keep the counts
  of ended workers; a killed one loses its last two seconds. Gauges are sums too, unless the table says otherwise.
- **Labels**: queues and targets of the configuration, commands of the target's catalogue (200 at most), restbroker's
  own codes (200 at most); anything else is `other`.
- **Several processes on one Redis**: scrape each. For values from Redis use the maximum, not the sum
  (`max by (queue) (restbroker_queue_jobs)`).
- `process_…` and `python_…` are those of the scraped process.

### What the process knows
"""
_OF_REDIS = """
### What is in Redis, for all processes on it
"""
_METRIC_ROWS = """
| metric | type and labels | meaning |
|---|---|---|
"""
_LINES = """
## Log events

See also [how lines are written](operations.md#the-log-and-its-level) and
[what to do about warnings](operations.md#warnings-in-the-log). Fields without a value are left out. `warnings` and
`jobs.failed` count repetitions.

| event and level | fields | when |
|---|---|---|
"""
_VALUES: Final[Mapping[object, tuple[object, ...]]] = {bool: (False, True), int: (0, 1), float: (1.0,), str: ("x",)}
_JOB: Final = JobFinished(
    "t",
    "q",
    "c",
    jid="j",
    outcome="deferred",
    fate="retry",
    attempt=1,
    duration_s=1.0,
    status=500,
    code="C",
    message="m",
    hint="c",
)


def markdown() -> str:
    """Return the generated part of docs/telemetry.md, as Markdown: the tables of metrics and of log lines."""
    tables = [_METRICS, _METRIC_ROWS, *map(_metric, PROCESS), _OF_REDIS, _METRIC_ROWS, *map(_metric, REDIS)]
    return "".join([*tables, _LINES, *_rows()])


def write(root: Path = Path()) -> None:
    """Write `docs/telemetry.md` below `root`, overwriting it. Raise `OSError` if it cannot be written."""
    (root / "docs" / "telemetry.md").write_text(markdown(), encoding="utf-8")


def _metric(metric: Metric) -> str:
    labels = "".join(f" `{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind}{labels} | {metric.meaning} |\n"


def _rows() -> Iterator[str]:
    """Yield the row of each name of a line."""
    for event, made in sorted(sample_lines().items()):
        fields = dict.fromkeys(name for line in made for name, value in line.fields.items() if value is not None)
        levels, meaning = LOG_EVENTS[event]
        yield f"| `{event}` {levels} | `{' '.join(fields)}` | {meaning} |\n"


def sample_lines() -> Mapping[str, list[Line]]:
    """Return name → all lines of this name that there may be."""
    found: dict[str, list[Line]] = {}
    for line in (*_of_several(), *_of_events()):
        found.setdefault(line.event, []).append(line)
    return found


def _of_several() -> Iterator[Line]:
    """Yield the lines that `telemetry.log` makes of several events, or of one that goes on."""
    latency = Histogram()
    latency.add([1.0])
    yield lines.failure_line(_JOB)
    yield lines.repeated_failures_line("t", "C", 1)
    yield lines.repeated_warnings_line("C", 1)
    yield lines.summary_line("t", 1, 0, elapsed_s=10.0, latency=latency)
    yield lines.events_line("s", {"accepted": 1, "duplicate": 1}, 10.0)
    yield from (
        lines.reminder_line(lines.line_of(TargetDown("t", "C", "m", "c", denied=denied)), 60)
        for denied in (False, True)
    )


def _of_events() -> Iterator[Line]:
    kinds: Iterable[type[Any]] = get_args(OneEvent)
    for kind in kinds:
        yield from map(lines.line_of, _each(kind))


def _each(kind: type[Any]) -> Iterator[OneEvent]:
    """Yield an event with every combination of values that may decide how its line looks."""
    hints = get_type_hints(kind)
    names = [field.name for field in attrs.fields(kind)]
    for values in product(*(_values(hints[name]) for name in names)):
        yield kind(**dict(zip(names, values, strict=True)))


def _values(hint: Any) -> tuple[object, ...]:  # noqa: ANN401 - a type, as it was written
    if get_origin(hint) is tuple:
        return (("x",),)
    return _VALUES.get(hint) or _VALUES[next(one for one in get_args(hint) if one is not type(None))]
