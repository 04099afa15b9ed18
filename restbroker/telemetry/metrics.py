"""The metrics of /metrics, each once, with its meaning; their values; and how to merge those of several processes.

`telemetry.counters` and `app` make values, a group's supervisor merges those of its workers, `web.metrics` writes them,
`dev.tools.telemetry_page` makes a page of the list. Always holds: a value without a metric of this list is never shown;
what a worker of another version sends is read leniently; no counter runs backwards when a worker ends.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from restbroker.light import define, field, frozen
from restbroker.telemetry.latency import Histogram

Labels: TypeAlias = tuple[str, ...]
Value: TypeAlias = float | Histogram
Samples: TypeAlias = Mapping[str, Mapping[Labels, Value]]
"""Values by the metric's name and the values of its labels."""

JOB_LIMITS_S: Final = (*(float(f"{digit}e{power}") for power in range(-3, 2) for digit in (1, 2, 5)), 100.0)
SHORT_LIMITS_S: Final = tuple(float(f"{digit}e{power}") for power in range(-4, 1) for digit in (1, 2, 5))


@frozen
class Metric:
    """One metric, as `metrics.toml` has it.

    `merge`: how several workers' values become one; `limits_s`: the limits of a histogram's buckets.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: Labels = field(default=(), converter=tuple)
    merge: Literal["sum", "max", "min"] = "sum"
    limits_s: tuple[float, ...] = ()


_LIMITS_S: Final[Mapping[str, tuple[float, ...]]] = {"": (), "job": JOB_LIMITS_S, "short": SHORT_LIMITS_S}
_DATA: Final = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def _metrics(part: Mapping[str, dict[str, Any]]) -> tuple[Metric, ...]:
    return tuple(Metric(name, limits_s=_LIMITS_S[row.pop("limits", "")], **row) for name, row in part.items())


PROCESS: Final = _metrics(_DATA["process"])
"""What a process knows without Redis."""
REDIS: Final = _metrics(_DATA["redis"])
"""What is read from Redis at each scrape, about all processes on it."""
METRICS: Final[Mapping[str, Metric]] = {metric.name: metric for metric in (*PROCESS, *REDIS)}


@define(eq=False)
class MergedMetrics:
    """The values of a group's workers as those of one process. `expected`: how many workers there should be.

    The last values that a worker sent stay in the counters when it is gone. Later ones are lost for /metrics: none when
    it ends normally, those of two seconds when it is killed.
    """

    expected: int
    _workers: dict[int, Samples] = field(factory=dict)
    """What each worker sent last, by its process id."""
    _gone: Samples = field(factory=dict)
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
