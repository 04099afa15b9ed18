"""`GET /metrics`: the metrics for Prometheus, in its text format or as OpenMetrics, as the request prefers.

`app` adds it to the app of /stats, whose guards it has. Always holds: it answers while Redis is away, with what the
process itself knows, after a bounded time; it costs a few round trips, however much is in Redis; labels are names of
the configuration and words of ours; the text is made in a thread, so that deliveries go on meanwhile.

Values are counted in plain dictionaries, and passed to the library when they are requested: a batch of jobs that came
together costs a few additions, where the library's own counters take a lock and a look-up each.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import accumulate
from types import MappingProxyType
from typing import Final, Literal

import trio
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from quart import Response, request
from quart_trio import QuartTrio

from restbroker.errors import RestbrokerError, StoreRefused
from restbroker.job.schedule import CronSchedule
from restbroker.store import order, pauses, queues
from restbroker.store import periodic as periodic_store
from restbroker.store.client import Client, integer
from restbroker.store.connection import Connection
from restbroker.store.key_queues import count_keys
from restbroker.store.server import redis_problems, server, time_s
from restbroker.telemetry.latency import Histogram
from restbroker.telemetry.metrics import METRICS, Labels, Metric, Samples, Value
from restbroker.web.route import add_views, page

TIMEOUT_S: Final = 2.0
"""How many seconds a request waits while others use Redis."""
_SETS: Final = ("retry", "schedule", "dead")
_REASONS: Final = ("operator", "denied", "retry_after")
_REDIS_DOWN: Final[Samples] = {"restbroker_redis_up": {(): 0}}


def add_metrics(
    app: QuartTrio,
    connection: Connection,
    process_samples: Callable[[], Samples],
    read: Callable[[], Callable[[Client], Samples]],
) -> None:
    """Add the page `/metrics` to the app.

    `process_samples` copies what the process itself knows. `read` makes the function that reads Redis (`read_redis`),
    which runs in the thread of the `connection`; the connection is closed elsewhere.
    """
    one_at_a_time = trio.CapacityLimiter(1)

    @page("/metrics", "[figures for Prometheus](telemetry.md#metrics)")
    async def metrics() -> Response:
        samples = {**process_samples(), **await _redis_samples(connection, read())}
        accepted = request.headers.get("Accept", "")
        text, content_type = await trio.to_thread.run_sync(exposition, samples, accepted, limiter=one_at_a_time)
        return Response(text, content_type=content_type)

    add_views(app, metrics)


async def _redis_samples(connection: Connection, read: Callable[[Client], Samples]) -> Samples:
    with suppress(RestbrokerError), trio.move_on_after(TIMEOUT_S):
        return await connection.ask(read)
    return _REDIS_DOWN


def read_redis(
    client: Client,
    served: Sequence[str],
    targets: Mapping[str, Sequence[str]],
    fair: Sequence[str] = (),
    periodic: Mapping[str, CronSchedule] = MappingProxyType({}),
) -> Samples:
    """Return the metrics of these queues and targets in Redis, which are the same in every process on that Redis.

    `targets`: each with the queues whose jobs it does in order. `fair`: those of the queues that have `FairBy`.
    `periodic`: the schedules of the periodic commands. A metric that Redis refuses (a key of another type, missing
    rights) is left out. Raise `StoreUnavailable` if Redis is away.
    """
    parts: list[Callable[[Client], Samples]] = [partial(_queues, served=served, fair=fair, targets=targets)]
    parts += [_sets, _dead, _totals]
    parts += [_redis, partial(_pauses, targets=tuple(targets)), partial(_order, targets=targets)]
    if periodic:
        parts.append(partial(_periodic, schedules=periodic))
    samples: Samples = {}
    for part in parts:
        with suppress(StoreRefused):
            samples = {**samples, **part(client), "restbroker_redis_up": {(): 1}}
    return samples or _REDIS_DOWN


def _queues(
    client: Client, served: Sequence[str], fair: Sequence[str], targets: Mapping[str, Sequence[str]]
) -> Samples:
    keys, now_s = client.keys, time_s(client)
    found = queues.waiting_of(client, {name: keys.queue(name) for name in served})
    sizes = {name: size for name, size in found.items() if size is not None}
    lines = {name: size for name, size in sizes.items() if name in fair or size.in_lines}
    paused = client.commands([("SISMEMBER", keys.paused_queues, name) for name in sizes])
    of_targets = {queue: target for target, of_target in targets.items() for queue in of_target}
    waited = queues.waits_s(client, {name: keys.queue(name) for name in sizes}, now_s, of_targets)
    return {
        "restbroker_queue_jobs": {(name,): size.total for name, size in sizes.items()},
        "restbroker_fair_waiting_jobs": {(name,): line.in_lines for name, line in lines.items()},
        "restbroker_fair_unclassified_jobs": {(name,): line.in_list for name, line in lines.items()},
        "restbroker_fair_keys": {(name,): keys_in_turn for name, keys_in_turn in count_keys(client, [*lines]).items()},
        "restbroker_queue_latency_seconds": {(name,): age_s for name, age_s in waited.items() if age_s is not None},
        "restbroker_queue_paused": {(name,): integer(reply) for name, reply in zip(sizes, paused, strict=True)},
    }


def _order(client: Client, targets: Mapping[str, Sequence[str]]) -> Samples:
    found = order.count(client, targets) if targets else {}
    ordered = {target: counts for target, counts in found.items() if targets[target]}
    waits_s = {(target,): counts.oldest_wait_s for target, counts in ordered.items()}
    return {
        "restbroker_order_keys": {
            (target, state): number for target, counts in found.items() for state, number in counts.states.items()
        },
        "restbroker_order_waiting_jobs": {(target,): counts.waiting for target, counts in ordered.items()},
        "restbroker_order_oldest_wait_seconds": {key: wait_s for key, wait_s in waits_s.items() if wait_s is not None},
    }


def _sets(client: Client) -> Samples:
    sizes = client.commands([("ZCARD", client.keys.sorted_set(name)) for name in _SETS])
    return {"restbroker_set_jobs": {(name,): integer(size) for name, size in zip(_SETS, sizes, strict=True)}}


def _dead(client: Client) -> Samples:
    return {"restbroker_parked_copies": {(): integer(client.command("XLEN", client.keys.dead_copies))}}


def _totals(client: Client) -> Samples:
    names: Sequence[Literal["processed", "failed"]] = ("processed", "failed")
    totals = client.commands([("GET", client.keys.stat(name)) for name in names])
    return {f"restbroker_{name}_total": {(): integer(total)} for name, total in zip(names, totals, strict=True)}


def _redis(client: Client) -> Samples:
    return {"restbroker_redis_problem": {(problem.code,): 1 for problem in redis_problems(server(client))}}


def _pauses(client: Client, targets: Sequence[str]) -> Samples:
    paused = pauses.paused_targets(client, targets)
    reasons = {(target, pause.reason) for target in targets for pause in paused.get(target, ())}
    shown = {(target, reason if reason in _REASONS else "other") for target, reason in reasons}
    return {"restbroker_target_paused": dict.fromkeys(sorted(shown), 1)}


def _periodic(client: Client, schedules: Mapping[str, CronSchedule]) -> Samples:
    now_s, states = periodic_store.read(client)
    found = {name: states.get(name, periodic_store.PeriodicState()) for name in schedules}
    pushed = {(name,): state.pushed_at_s for name, state in found.items()}
    return {
        "restbroker_periodic_last_timestamp_seconds": {name: at_s for name, at_s in pushed.items() if at_s is not None},
        "restbroker_periodic_next_timestamp_seconds": {
            # Of one that no process deals with, it has passed.
            (name,): next(schedule.ticks(found[name].mark_s or now_s))
            for name, schedule in schedules.items()
        },
        "restbroker_periodic_missed_total": {(name,): state.missed for name, state in found.items()},
        "restbroker_periodic_skipped_total": {(name,): state.skipped for name, state in found.items()},
    }


def exposition(samples: Samples, accepted: str = "") -> tuple[bytes, str]:
    """Return the text and its content type for a scraper that sends the header `Accept` with this value."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    registry.register(_SamplesCollector(samples))
    encode, content_type = choose_encoder(accepted)
    return encode(registry), content_type


class _SamplesCollector(Collector):
    """Passes the values to the library, which requires a subclass of `Collector`."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Family]:
        """Yield the metrics that have a value."""
        for name, metric in METRICS.items():
            if values := self._samples.get(name):
                yield _histogram(metric, values) if metric.kind == "histogram" else _family(metric, values)


def _family(metric: Metric, values: Mapping[Labels, Value]) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in values.items():
        if not isinstance(value, Histogram):
            family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, values: Mapping[Labels, Value]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    limits = [*map(floatToGoString, metric.limits_s), "+Inf"]
    for labels, value in values.items():
        if isinstance(value, Histogram):
            family.add_metric(labels, [*zip(limits, accumulate(value.counts), strict=True)], value.total_s)
    return family
