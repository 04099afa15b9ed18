"""What /metrics says: each metric once, with its meaning, and the values of one moment.

`app` and `telemetry.counts` make values, `broker.group` adds up those of workers, `web.metrics` writes them,
`telemetry.reference` makes a page of the list. Always holds: a value without a metric of this list is never shown; what
a worker of another version says is read leniently.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs

Kind = Literal["counter", "gauge", "histogram"]
Together = Literal["sum", "max", "min"]
Labels: TypeAlias = tuple[str, ...]

JOB_LIMITS_S: Final = (*(float(f"{digit}e{power}") for power in range(-3, 2) for digit in (1, 2, 5)), 100.0)
SHORT_LIMITS_S: Final = tuple(float(f"{digit}e{power}") for power in range(-4, 1) for digit in (1, 2, 5))
"""Each is 1, 2 or 5 times a power of ten, as `telemetry.latency` needs it."""


@attrs.frozen
class Distribution:
    """A histogram: how many lie up to each limit and above the one before, the last above all limits."""

    counts: tuple[int, ...]
    total_s: float


Value: TypeAlias = float | Distribution
Samples: TypeAlias = Mapping[str, Mapping[Labels, Value]]
"""Values by the metric's name and the values of its labels."""
Making: TypeAlias = Callable[[], Samples]
"""Makes the values of a moment that is past, of copies: in any thread, since that takes its time."""


@attrs.frozen
class Metric:
    """One metric. `together`: what several workers' values make; `limits_s`: of a histogram's buckets.

    `of`: what it is about; what is told of Redis is the same from all processes on it.
    """

    name: str
    kind: Kind
    meaning: str
    labels: Labels = ()
    together: Together = "sum"
    limits_s: tuple[float, ...] = ()
    of: Literal["process", "Redis"] = "process"


PROCESS: Final = (
    Metric(
        "restbroker_jobs_total",
        "counter",
        "Tries that ended, by what the target said. `command` is a name of the target's catalogue, else `other`; "
        "`outcome` is `delivered`, `rejected`, `deferred`, `uncertain`, or `duplicate`: a signed job was done before.",
        ("target", "command", "outcome"),
    ),
    Metric(
        "restbroker_failures_total",
        "counter",
        "Jobs that were not done with this try, by the reason's code (docs/producers.md) and by what became of them: "
        "`retry` (into the retry set), `dead` (parked), `schedule` (put off, no try), `back` (into the queue, no try), "
        "`drop` (gone, as the job itself asked).",
        ("target", "code", "fate"),
    ),
    Metric(
        "restbroker_job_duration_seconds",
        "histogram",
        "How long a job was in delivery, whatever came of it.",
        ("target",),
        limits_s=JOB_LIMITS_S,
    ),
    Metric(
        "restbroker_gate_closings_total",
        "counter",
        "How often the target got no more jobs, by the reason's code.",
        ("target", "code"),
    ),
    Metric(
        "restbroker_target_open",
        "gauge",
        "1 while the target gets jobs, 0 while its gate is closed (of a group: of any worker).",
        ("target",),
        "min",
    ),
    Metric(
        "restbroker_target_closed_reason",
        "gauge",
        "1 while the gate is closed for the reason with this code; not there while it is open.",
        ("target", "code"),
        "max",
    ),
    Metric("restbroker_target_limit", "gauge", "How many jobs the target is given at once now.", ("target",)),
    Metric(
        "restbroker_target_concurrency", "gauge", "How many it is given at once at most (Concurrency).", ("target",)
    ),
    Metric(
        "restbroker_target_held_back",
        "gauge",
        "1 while the last fetch took nothing although there was room, by what held it back: `paused`, `rate`, "
        "`in_flight`, `dead`, or `refused` (by Redis).",
        ("target", "by"),
        "max",
    ),
    Metric("restbroker_jobs_in_hand", "gauge", "Jobs that the process has taken and not settled.", ("target",)),
    Metric("restbroker_jobs_at_work", "gauge", "Of these, sent and not answered yet.", ("target",)),
    Metric("restbroker_ready", "gauge", "1 while jobs are taken or waited for, as on /readyz.", (), "min"),
    Metric("restbroker_beat_age_seconds", "gauge", "Since Redis confirmed the process last.", (), "max"),
    Metric(
        "restbroker_redis_call_seconds",
        "histogram",
        "How long Redis took to answer a call of the delivery: each gives or settles a group of jobs.",
        limits_s=SHORT_LIMITS_S,
    ),
    Metric("restbroker_redis_outages_total", "counter", "How often Redis could not be used any more."),
    Metric("restbroker_fenced_total", "counter", "How often the process lost its identity."),
    Metric("restbroker_jobs_recovered_total", "counter", "Jobs of dead processes that went back to their queues."),
    Metric(
        "restbroker_warnings_total", "counter", "Warnings in the log, by their code (docs/operations.md).", ("code",)
    ),
    Metric(
        "restbroker_events_total",
        "counter",
        "Events that servers told of, by their source (docs/events.md). `outcome` is `accepted` (Redis has its job), "
        "`redelivered` (the same, where RabbitMQ had given it to somebody before), "
        "`duplicate`, `own`, `ignored`, `refused`, `malformed`, `too_large`, `unauthorized`, `busy`, `unavailable` or "
        "`failed`.",
        ("source", "outcome"),
    ),
    Metric(
        "restbroker_event_seconds",
        "histogram",
        "How long a server waited for the answer to an event that was `accepted`, `duplicate`, `own` or `ignored`.",
        ("source",),
        limits_s=SHORT_LIMITS_S,
    ),
    Metric(
        "restbroker_event_loop_lag_seconds",
        "histogram",
        "How much too late a task woke that sleeps for a second.",
        limits_s=SHORT_LIMITS_S,
    ),
    Metric(
        "restbroker_roster_requests_total",
        "counter",
        "Requests for rosters that were answered, by status: 200, 503 while Redis does not tell, 401 without login.",
        ("status",),
    ),
    Metric(
        "restbroker_roster_request_seconds",
        "histogram",
        "How long such a request took in the roster service, whatever came of it.",
        limits_s=SHORT_LIMITS_S,
    ),
    Metric("restbroker_roster_reads_total", "counter", "Calls of Redis for them: one reads all that came together."),
    Metric("restbroker_workers", "gauge", "Processes that deliver and live: 1, or of `--processes` the workers."),
    Metric("restbroker_workers_wanted", "gauge", "How many there should be (Processes)."),
    Metric("restbroker_worker_starts_total", "counter", "Workers of `--processes` that were started."),
    Metric(
        "restbroker_worker_cpu_seconds_total",
        "counter",
        "Processor time of a worker of `--processes`; `process_cpu_seconds_total` is its supervisor's.",
        ("worker",),
    ),
    Metric(
        "restbroker_worker_memory_bytes",
        "gauge",
        "Memory of a worker of `--processes`; `process_resident_memory_bytes` is its supervisor's.",
        ("worker",),
    ),
    Metric("restbroker_build_info", "gauge", "1; `version` is restbroker's.", ("version",), "max"),
)
"""What a process knows without asking anybody."""


def _of_redis(name: str, kind: Kind, meaning: str, *labels: str) -> Metric:
    return Metric(name, kind, meaning, labels, of="Redis")


REDIS: Final = (
    _of_redis("restbroker_redis_up", "gauge", "1 when Redis answered this scrape; else what follows is not there."),
    _of_redis("restbroker_queue_jobs", "gauge", "Jobs waiting in a queue that this process serves.", "queue"),
    _of_redis("restbroker_queue_latency_seconds", "gauge", "How long the next of them has been waiting.", "queue"),
    _of_redis("restbroker_queue_paused", "gauge", "1 while the queue is paused.", "queue"),
    _of_redis("restbroker_set_jobs", "gauge", "Jobs in the set `retry`, `schedule` or `dead`.", "set"),
    _of_redis("restbroker_parked_copies", "gauge", "Copies of parked jobs, also of those that were trimmed."),
    _of_redis(
        "restbroker_target_paused",
        "gauge",
        "1 while the taking of jobs is paused, by the reason: `operator`, `denied`, `retry_after`, or `other`.",
        *("target", "reason"),
    ),
    _of_redis("restbroker_processed_total", "counter", "Tries that ended, of all processes on this Redis, Ruby's too."),
    _of_redis("restbroker_failed_total", "counter", "Of these, the failed ones."),
)
"""What is read from Redis at each scrape, of all processes on it."""

METRICS: Final[Mapping[str, Metric]] = {metric.name: metric for metric in (*PROCESS, *REDIS)}


def nothing() -> Making:
    """For who has no values."""
    return dict


def together(parts: Iterable[Samples]) -> dict[str, dict[Labels, Value]]:
    """Several processes' values as those of one."""
    found: dict[str, dict[Labels, Value]] = {}
    for part in parts:
        for name, values in part.items():
            mine = found.setdefault(name, {})
            for labels, value in values.items():
                mine[labels] = value if labels not in mine else _both(METRICS[name].together, mine[labels], value)
    return found


def counters(samples: Samples) -> Samples:
    """Those that must not run backwards when their process is gone. One with the number of a worker starts anew."""
    return {
        name: values
        for name, values in samples.items()
        if METRICS[name].kind != "gauge" and "worker" not in METRICS[name].labels
    }


def _both(how: Together, one: Value, other: Value) -> Value:
    if isinstance(one, Distribution) or isinstance(other, Distribution):
        if not (isinstance(one, Distribution) and isinstance(other, Distribution)):
            return one
        counts = tuple(mine + more for mine, more in zip(one.counts, other.counts, strict=True))
        return Distribution(counts, one.total_s + other.total_s)
    match how:
        case "sum":
            return one + other
        case "max":
            return max(one, other)
        case "min":
            return min(one, other)


def plain(samples: Samples) -> dict[str, list[list[Any]]]:
    """Ready for JSON."""
    return {
        name: [
            [list(labels), [list(value.counts), value.total_s] if isinstance(value, Distribution) else value]
            for labels, value in values.items()
        ]
        for name, values in samples.items()
    }


def read(given: Mapping[str, Sequence[Any]]) -> Samples:
    """What `plain` made. Unknown metrics are left out. Raises `ValueError`, `TypeError` or the like."""
    found: dict[str, dict[Labels, Value]] = {}
    for name, values in given.items():
        metric = METRICS.get(name)
        if metric is None:
            continue
        for words, value in values:
            labels = tuple(str(word) for word in words)
            if len(labels) != len(metric.labels) or isinstance(value, list) != (metric.kind == "histogram"):
                continue
            if not isinstance(value, list):
                found.setdefault(name, {})[labels] = float(value)
            elif len(value[0]) == len(metric.limits_s) + 1:
                found.setdefault(name, {})[labels] = Distribution(tuple(map(int, value[0])), float(value[1]))
    return found
