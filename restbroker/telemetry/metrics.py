"""The metrics of /metrics, each once, with its meaning; their values; and how to merge those of several processes.

`telemetry.counters` and `app` make values, a group's supervisor merges those of its workers, `web.metrics` writes them,
`telemetry.reference` makes a page of the list. Always holds: a value without a metric of this list is never shown; what
a worker of another version sends is read leniently; no counter runs backwards when a worker ends.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs

from restbroker.telemetry.latency import Histogram

Labels: TypeAlias = tuple[str, ...]
Value: TypeAlias = float | Histogram
Samples: TypeAlias = Mapping[str, Mapping[Labels, Value]]
"""Values by the metric's name and the values of its labels."""

JOB_LIMITS_S: Final = (*(float(f"{digit}e{power}") for power in range(-3, 2) for digit in (1, 2, 5)), 100.0)
SHORT_LIMITS_S: Final = tuple(float(f"{digit}e{power}") for power in range(-4, 1) for digit in (1, 2, 5))


@attrs.frozen
class Metric:
    """One metric. `merge`: how several workers' values become one; `limits_s`: the limits of a histogram's buckets."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: Labels = ()
    merge: Literal["sum", "max", "min"] = "sum"
    limits_s: tuple[float, ...] = ()


PROCESS: Final = (
    Metric(
        "restbroker_jobs_total",
        "counter",
        "Tries that ended. `outcome`, the target's answer: `delivered`, `rejected`, `deferred`, "
        "`uncertain`; `duplicate` (a signed job or its `idempotency_key` came before) or `expired`.",
        ("target", "command", "outcome"),
    ),
    Metric(
        "restbroker_fast_path_jobs_total",
        "counter",
        "Delivered jobs that took the fast path (docs/performance.md).",
        ("target",),
    ),
    Metric(
        "restbroker_failures_total",
        "counter",
        "Jobs not done, by code (docs/producers.md) and fate: `retry`, `dead` (to these sets), `schedule` "
        "(deferred, no try), `back` (requeued, no try), `drop` (gone, as the job asked).",
        ("target", "code", "fate"),
    ),
    Metric(
        "restbroker_job_duration_seconds",
        "histogram",
        "How long deliveries took, whatever the outcome.",
        ("target",),
        limits_s=JOB_LIMITS_S,
    ),
    Metric(
        "restbroker_gate_closings_total",
        "counter",
        "How often the target went down, by code.",
        ("target", "code"),
    ),
    Metric(
        "restbroker_target_open",
        "gauge",
        "1 while the target is up, 0 while it is down (in a group: for any worker).",
        labels=("target",),
        merge="min",
    ),
    Metric(
        "restbroker_target_closed_reason",
        "gauge",
        "1 while the target is down with this code; absent while it is up.",
        labels=("target", "code"),
        merge="max",
    ),
    Metric("restbroker_target_limit", "gauge", "The target's current concurrency limit.", ("target",)),
    Metric("restbroker_target_concurrency", "gauge", "The target's greatest limit (Concurrency).", ("target",)),
    Metric(
        "restbroker_target_held_back",
        "gauge",
        "1 while the last fetch took no job although there was room, by cause: `paused`, `rate`, `in_flight`, "
        "`dead`, `order` (`OrderMixed`), `old_order` (`OrderChanged`) or `refused` (by Redis).",
        labels=("target", "by"),
        merge="max",
    ),
    Metric("restbroker_jobs_in_hand", "gauge", "Jobs fetched and not settled.", ("target",)),
    Metric("restbroker_jobs_at_work", "gauge", "Jobs sent but not yet answered.", ("target",)),
    Metric("restbroker_ready", "gauge", "1 while the process takes jobs, as on /readyz.", labels=(), merge="min"),
    Metric(
        "restbroker_beat_age_seconds",
        "gauge",
        "Seconds since Redis last confirmed the process.",
        labels=(),
        merge="max",
    ),
    Metric(
        "restbroker_redis_call_seconds",
        "histogram",
        "How long Redis took to fetch or settle a group of jobs.",
        limits_s=SHORT_LIMITS_S,
    ),
    Metric("restbroker_redis_outages_total", "counter", "How often Redis became unavailable."),
    Metric("restbroker_fenced_total", "counter", "How often the process lost its identity."),
    Metric("restbroker_jobs_recovered_total", "counter", "Jobs of dead processes that were requeued."),
    Metric(
        "restbroker_fair_classify_seconds",
        "histogram",
        "How long Redis took to move some jobs of a queue with `FairBy` into lines.",
        limits_s=SHORT_LIMITS_S,
    ),
    Metric(
        "restbroker_fair_without_key_total",
        "counter",
        "Jobs moved into the line of those without a key (`FairBy`).",
        ("target",),
    ),
    Metric(
        "restbroker_fair_healed_total",
        "counter",
        "What was deleted of lines (`FairBy`) by hand and is right again.",
        ("target",),
    ),
    Metric("restbroker_order_healed_total", "counter", "The same, of `OrderBy`.", ("target",)),
    Metric("restbroker_order_stopped_total", "counter", "Keys that a death stopped (`OnDead`).", ("target",)),
    Metric("restbroker_warnings_total", "counter", "Warnings in the log, by code (docs/operations.md).", ("code",)),
    Metric(
        "restbroker_events_total",
        "counter",
        "Events from servers (docs/events.md). `outcome`: `accepted`, `redelivered`, `duplicate`, `own`, "
        "`ignored`, `refused`, `malformed`, `too_large`, `unauthorized`, `busy`, `unavailable`, `failed`, `lost` or "
        "`direct`, as in the log's `event`.",
        ("source", "outcome"),
    ),
    Metric(
        "restbroker_event_seconds",
        "histogram",
        "How long a server waited for the answer to an `accepted`, `duplicate`, `own` or `ignored` event.",
        ("source",),
        limits_s=SHORT_LIMITS_S,
    ),
    Metric(
        "restbroker_event_loop_lag_seconds",
        "histogram",
        "How late a task that sleeps for one second woke up.",
        limits_s=SHORT_LIMITS_S,
    ),
    Metric(
        "restbroker_roster_requests_total",
        "counter",
        "Answered requests for rosters: 200, 503 while Redis is away, 401 without login.",
        ("status",),
    ),
    Metric(
        "restbroker_roster_request_seconds",
        "histogram",
        "How long requests for rosters took.",
        limits_s=SHORT_LIMITS_S,
    ),
    Metric(
        "restbroker_roster_reads_total",
        "counter",
        "Reads of Redis for rosters; one serves all that came together.",
    ),
    Metric("restbroker_roster_stale_total", "counter", "Rosters answered with a copy while Redis was away."),
    Metric("restbroker_roster_copies", "gauge", "Copies of rosters in memory."),
    Metric("restbroker_roster_copies_bytes", "gauge", "Their approximate size."),
    Metric("restbroker_workers", "gauge", "Live processes that deliver: 1, or the workers of `--processes`."),
    Metric("restbroker_workers_wanted", "gauge", "How many there should be (Processes)."),
    Metric("restbroker_worker_starts_total", "counter", "Workers of `--processes` started so far."),
    Metric(
        "restbroker_worker_cpu_seconds_total",
        "counter",
        "A worker's processor time; `process_cpu_seconds_total` is the supervisor's.",
        ("worker",),
    ),
    Metric(
        "restbroker_worker_memory_bytes",
        "gauge",
        "A worker's memory; `process_resident_memory_bytes` is the supervisor's.",
        ("worker",),
    ),
    Metric("restbroker_build_info", "gauge", "1; `version` is restbroker's.", labels=("version",), merge="max"),
)
"""What a process knows without Redis."""


REDIS: Final = (
    Metric("restbroker_redis_up", "gauge", "1 if Redis answered this scrape; else the following are absent."),
    Metric(
        "restbroker_redis_problem",
        "gauge",
        "1 while Redis refuses writes (`Full`, `DiskFailed`, `Replica`, `FewReplicas`) or may soon (`NearlyFull`).",
        ("code",),
    ),
    Metric("restbroker_queue_jobs", "gauge", "Jobs waiting in a queue that this process serves.", ("queue",)),
    Metric("restbroker_fair_waiting_jobs", "gauge", "Those of them in lines (`FairBy`, `OrderBy`).", ("queue",)),
    Metric("restbroker_fair_unclassified_jobs", "gauge", "Those in the list, where there is `FairBy`.", ("queue",)),
    Metric("restbroker_fair_keys", "gauge", "Keys whose jobs wait in lines.", ("queue",)),
    Metric(
        "restbroker_order_keys",
        "gauge",
        "Keys that are held (`OrderBy`), of the first 10,000: `stopped`, `due`, `in_progress` or `ready`.",
        ("target", "state"),
    ),
    Metric("restbroker_order_waiting_jobs", "gauge", "Jobs in lines (`OrderBy`).", ("target",)),
    Metric(
        "restbroker_order_oldest_wait_seconds",
        "gauge",
        "The longest wait of a job in lines, of the 50 keys held longest in each queue.",
        ("target",),
    ),
    Metric("restbroker_queue_latency_seconds", "gauge", "How long the oldest job has been waiting.", ("queue",)),
    Metric("restbroker_queue_paused", "gauge", "1 while the queue is paused.", ("queue",)),
    Metric("restbroker_set_jobs", "gauge", "Jobs in the set `retry`, `schedule` or `dead`.", ("set",)),
    Metric("restbroker_parked_copies", "gauge", "Copies of dead jobs, including trimmed ones."),
    Metric(
        "restbroker_target_paused",
        "gauge",
        "1 while the target is paused: `operator`, `denied`, `retry_after`, or `other`.",
        ("target", "reason"),
    ),
    Metric("restbroker_periodic_last_timestamp_seconds", "gauge", "When its last job was pushed.", ("name",)),
    Metric(
        "restbroker_periodic_next_timestamp_seconds",
        "gauge",
        "When a periodic command is due next; past if no process runs.",
        ("name",),
    ),
    Metric("restbroker_periodic_missed_total", "counter", "Times at which no process pushed its job.", ("name",)),
    Metric("restbroker_periodic_skipped_total", "counter", "Times skipped: paused, or `Overlap`.", ("name",)),
    Metric("restbroker_processed_total", "counter", "Tries that ended, including Ruby's."),
    Metric("restbroker_failed_total", "counter", "Tries that failed, including Ruby's."),
)
"""What is read from Redis at each scrape, about all processes on it."""


METRICS: Final[Mapping[str, Metric]] = {metric.name: metric for metric in (*PROCESS, *REDIS)}


@attrs.define(eq=False)
class MergedMetrics:
    """The values of a group's workers as those of one process. `expected`: how many workers there should be.

    The last values that a worker sent stay in the counters when it is gone. Later ones are lost for /metrics: none when
    it ends normally, those of two seconds when it is killed.
    """

    expected: int
    _workers: dict[int, Samples] = attrs.field(factory=dict)
    """What each worker sent last, by its process id."""
    _gone: Samples = attrs.field(factory=dict)
    _starts: int = 0

    def add_worker(self, pid: int) -> None:
        """Count a worker that was started."""
        self._starts += 1
        self._workers[pid] = {}

    def update(self, pid: int, samples: Samples) -> None:
        """Replace the last values of a worker by these."""
        self._workers[pid] = samples

    def remove_worker(self, pid: int) -> None:
        """Keep the counters of a worker that ended, except those that have a label `worker`, which begin again."""
        samples = self._workers.pop(pid)
        kept = {name for name in samples if METRICS[name].kind != "gauge" and "worker" not in METRICS[name].labels}
        self._gone = merge([self._gone, {name: samples[name] for name in kept}])

    def samples(self) -> Samples:
        """Return the values of the group."""
        return {
            **merge([self._gone, *self._workers.values()]),
            "restbroker_workers": {(): len(self._workers)},
            "restbroker_workers_wanted": {(): self.expected},
            "restbroker_worker_starts_total": {(): self._starts},
        }


def merge(parts: Iterable[Samples]) -> Samples:
    """Return the values of several processes as those of one."""
    merged: dict[str, dict[Labels, Value]] = {}
    for part in parts:
        for name, values in part.items():
            mine = merged.setdefault(name, {})
            for labels, value in values.items():
                mine[labels] = _merge_values(METRICS[name], mine[labels], value) if labels in mine else value
    return merged


def _merge_values(metric: Metric, one: Value, other: Value) -> Value:
    if isinstance(one, Histogram):
        whole = one.copy()
        if isinstance(other, Histogram):
            whole.include(other)
        return whole
    if isinstance(other, Histogram):
        return one
    return {"sum": one + other, "max": max(one, other), "min": min(one, other)}[metric.merge]


def to_json(samples: Samples) -> dict[str, list[list[Any]]]:
    """Return the values as a worker sends them: {metric: [[labels, value], …]}."""
    return {name: [[labels, _plain(value)] for labels, value in values.items()] for name, values in samples.items()}


def _plain(value: Value) -> float | list[Any]:
    return [value.counts, value.total_s] if isinstance(value, Histogram) else value


def from_json(document: Mapping[str, Sequence[Any]]) -> Samples:
    """Return the values that `to_json` made, without metrics that are not known here.

    Raise `ValueError`, `TypeError` or the like if the document has another form.
    """
    samples: dict[str, dict[Labels, Value]] = {}
    for metric in (METRICS[name] for name in document if name in METRICS):
        for labels, plain in document[metric.name]:
            value = _read(metric, plain)
            if value is not None and len(labels) == len(metric.labels):
                samples.setdefault(metric.name, {})[tuple(map(str, labels))] = value
    return samples


def _read(metric: Metric, plain: Any) -> Value | None:  # noqa: ANN401 - of another version, perhaps
    match metric.kind, plain:
        case "histogram", [counts, total_s] if len(counts) == len(metric.limits_s) + 1:
            return Histogram(metric.limits_s, [*map(int, counts)], float(total_s))
        case "histogram", _:
            return None
        case _, list():
            return None
        case _:
            return float(plain)
