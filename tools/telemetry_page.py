"""Writes docs/telemetry.md, the page about metrics and lines of the log, from their definitions. `make reference` does.

Always holds: a test compares the page with this.
"""

from pathlib import Path

from restbroker.telemetry.log_events import LOG_EVENTS, LogEvent
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


def markdown() -> str:
    """Return the generated part of docs/telemetry.md, as Markdown: the tables of metrics and of log lines."""
    tables = [_METRICS, _METRIC_ROWS, *map(_metric, PROCESS), _OF_REDIS, _METRIC_ROWS, *map(_metric, REDIS)]
    return "".join([*tables, _LINES, *map(_line, LOG_EVENTS.values())])


def write(root: Path = Path()) -> None:
    """Write `docs/telemetry.md` below `root`, overwriting it. Raise `OSError` if it cannot be written."""
    (root / "docs" / "telemetry.md").write_text(markdown(), encoding="utf-8")


def _metric(metric: Metric) -> str:
    labels = "".join(f" `{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind}{labels} | {metric.meaning} |\n"


def _line(line: LogEvent) -> str:
    return f"| `{line.name}` {', '.join(line.levels)} | `{line.fields}` | {line.meaning} |\n"
