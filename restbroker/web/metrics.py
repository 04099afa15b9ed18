"""`GET /metrics`: the figures for Prometheus, in its text format or as OpenMetrics, whichever it asks for.

`app` adds it to the app of /stats, whose guards it has. Always holds: it answers while Redis is away, with what the
process itself knows, after a bounded time; labels are names of the configuration and words of ours; the text is made in
a thread, so that deliveries go on meanwhile.

Values are counted by our own sinks in plain dictionaries, and handed to the library when somebody asks: a group of jobs
that came together costs a few additions, where the library's own counters take a lock and a look-up each.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import cast

import trio
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from quart import Response, request
from quart_trio import QuartTrio

from restbroker.errors import ConnectionEnded, RestbrokerError
from restbroker.operate import measures
from restbroker.store.client import Client
from restbroker.store.connection import Connection
from restbroker.telemetry.series import METRICS, Distribution, Labels, Making, Metric, Samples, Value

TURN_S = 2.0
"""So long a request waits while others ask Redis."""


def add_metrics(
    app: QuartTrio,
    connection: Connection,
    own: Callable[[], Making],
    shared: Callable[[], Callable[[Client], Samples]],
) -> None:
    """Adds the page. `own` copies what the process knows itself; `shared` makes what asks Redis, in the thread of the
    `connection`, which is closed by others.
    """
    one_at_a_time = trio.CapacityLimiter(1)

    async def metrics() -> Response:
        made, asked = own(), await _asked(connection, shared())
        accepted = request.headers.get("Accept", "")
        text, content_type = await trio.to_thread.run_sync(
            lambda: written({**made(), **asked}, accepted), limiter=one_at_a_time
        )
        return Response(text, content_type=content_type)

    app.add_url_rule("/metrics", view_func=metrics, methods=["GET"])


async def _asked(connection: Connection, shared: Callable[[Client], Samples]) -> Samples:
    try:
        with trio.move_on_after(TURN_S):
            try:
                return await connection.call(shared)
            except ConnectionEnded:  # since the last request; Redis itself may be well
                return await connection.call(shared)
    except RestbrokerError:
        return measures.down()
    return measures.down()


def written(samples: Samples, accepted: str = "") -> tuple[bytes, str]:
    """The text, and its content type, for who accepts this (the header `Accept`)."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    registry.register(_Samples(samples))
    encode, content_type = choose_encoder(accepted)
    return encode(registry), content_type


class _Samples(Collector):
    """Hands the values over. A subclass, since the library asks for one."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Family]:
        """The metrics that have a value."""
        for name, metric in METRICS.items():
            if values := self._samples.get(name):
                yield _family(metric, values)


def _family(metric: Metric, values: Mapping[Labels, Value]) -> Family:
    match metric.kind:
        case "counter":
            counter = CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            for labels, value in values.items():
                counter.add_metric(labels, cast("float", value))
            return counter
        case "gauge":
            gauge = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            for labels, value in values.items():
                gauge.add_metric(labels, cast("float", value))
            return gauge
        case "histogram":
            histogram = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            limits = [*map(floatToGoString, metric.limits_s), "+Inf"]
            for labels, value in values.items():
                told = cast("Distribution", value)
                histogram.add_metric(labels, [*zip(limits, accumulate(told.counts), strict=True)], told.total_s)
            return histogram
