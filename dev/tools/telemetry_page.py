"""Writes docs/telemetry.md, the page about metrics, from their definitions. `make docs` does.

Always holds: a test compares the page with this.
"""

from pathlib import Path

from restbroker.telemetry.metrics import PROCESS, REDIS, Metric

_METRICS = """\
# Metrics

restbroker serves its counts as metrics, from which Prometheus draws charts and raises alerts. Datadog and
OpenTelemetry's collector [read the same page](#opentelemetry-datadog-statsd). This page is made from the code
(`make docs`).

## /metrics

With `"Stats": true` you get `GET /metrics` on `StatsPort` (8080) of `StatsBind` (127.0.0.1), next to
[/stats](stats-format.md#stats), as Prometheus' text or OpenMetrics. Import
[grafana-dashboard.json](../examples/grafana-dashboard.json) as a dashboard.

```yaml
scrape_configs:
  - job_name: restbroker
    static_configs:
      - targets: ["127.0.0.1:8080"]
    # If the pages have a login or there is a MetricsToken:
    authorization:
      credentials_file: /etc/prometheus/restbroker-metrics-token
```

Take the alert rules in [prometheus-alerts.yml](../examples/prometheus-alerts.yml), or watch these yourself:

| watch | with | alert if |
|---|---|---|
| a target that is down | `restbroker_target_open` | 0 |
| jobs that die | `restbroker_failures_total{fate="dead"}` | it grows |
| how long the next job of a queue has waited | `restbroker_queue_latency_seconds` | above 300, and the queue is not paused |
| what restbroker itself finds wrong | `restbroker_problems{code!~".*Paused"}` | above 0 |
| a process that takes no jobs | `restbroker_ready` | 0 |
| no process runs | `restbroker_problems{code="NotRunning"}` of a `restbroker web`; else `restbroker_build_info` | above 0; absent |
| the length of queues, retries and the dead set | `restbroker_queue_jobs`, `restbroker_set_jobs{set}` | they only grow |

- **While Redis is away** it answers within three seconds with what the process itself knows.
- **With `--processes`** the supervisor serves the sums of its workers, up to two seconds old. Counters keep the counts
  of ended workers; a killed one loses its last two seconds.
- **Labels**: a command that is not in the target's catalogue, and what is beyond 200 commands or codes, is `other`.
- **Several processes on one Redis**: scrape each. For values from Redis use the maximum, not the sum
  (`max by (queue) (restbroker_queue_jobs)`).
- **If you scrape only a `restbroker web`**, you have [what is in Redis](#what-is-in-redis-for-all-processes-on-it), which is
  enough for the first group of the rules. The second one asks what each broker knows of itself.

## OpenTelemetry, Datadog, statsd

| you want | restbroker | do |
|---|---|---|
| one trace from your program to your server | passes on your job's `traceparent` as a header of its request | push the job with [this field](jobs-format.md#fields-of-the-job) |
| restbroker's own spans | **exports none**, by no protocol | look at `restbroker explain JID`: with [`History`](find.md#see-what-was-done) it knows when a job was pushed, fetched, sent and answered |
| the trace's id in the log | does not write it | search by the job's `jid` |
| metrics in Datadog | serves `/metrics` | the block below |
| metrics by OTLP | does not send them | the collector's `prometheus` receiver, with the `scrape_configs` above (not tested) |
| metrics by statsd | does not send them | `/metrics` |

A `traceparent` has the form that the W3C defines. restbroker leaves out any other.

Datadog's Agent reads `/metrics` with its OpenMetrics check. Counters are named there without `_total`:

```yaml title="conf.d/openmetrics.d/conf.yaml"
init_config:
instances:
  - openmetrics_endpoint: http://127.0.0.1:8080/metrics
    namespace: xmpp
    metrics:
      - restbroker_jobs
      - restbroker_failures
      - restbroker_set_jobs
      - restbroker_queue_latency_seconds
      - restbroker_target_open
      - restbroker_problems
    headers:
      Authorization: Bearer THE-METRICS-TOKEN
```

These become `xmpp.restbroker_jobs.count` and so on (tried with `datadog-checks-base` 38.7, without an Agent). Other
programs that read Prometheus' text, such as Telegraf and VictoriaMetrics, need the address and the token (not tried).

## Every metric

Names that end in `_total` are counters. The others are gauges unless they are called histograms.

### What the process knows

Counted or measured by the scraped process; `restbroker web` has only `restbroker_build_info`.

"""  # noqa: E501  a row of a table is one line
_OF_REDIS = """
### What is in Redis, for all processes on it

Read from Redis at each scrape.

"""


def markdown() -> str:
    """Return docs/telemetry.md as Markdown."""
    return "".join([_METRICS, *map(_metric, PROCESS), _OF_REDIS, *map(_metric, REDIS)])


def write(root: Path = Path()) -> None:
    """Write `docs/telemetry.md` below `root`, overwriting it. Raise `OSError` if it cannot be written."""
    (root / "docs" / "telemetry.md").write_text(markdown(), encoding="utf-8")


def _metric(metric: Metric) -> str:
    labels = f"{{{','.join(metric.labels)}}}" if metric.labels else ""
    histogram = "Histogram. " if metric.kind == "histogram" else ""
    return f"- `{metric.name}{labels}`: {histogram}{metric.meaning}\n"
