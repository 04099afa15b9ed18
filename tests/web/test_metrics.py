"""GET /metrics over real HTTP, read by prometheus-client's own parsers."""

import json
import time

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from restbroker.job.fairness import Fairness
from restbroker.job.order import key_rules
from restbroker.telemetry.events import JobFinished
from restbroker.telemetry.metrics import METRICS
from tests.broker.conftest import Harness
from tests.support.store_calls import classify_lines
from tests.web.conftest import Open

Read = dict[str, dict[tuple[str, ...], float]]


def values(text: str) -> Read:
    """Each sample by its name and the values of its labels, in the order of the list, and `le` last."""
    found: Read = {}
    for family in parse(text):
        metric = METRICS.get(family.name) or METRICS.get(f"{family.name}_total")
        order = {} if metric is None else {label: place for place, label in enumerate(metric.labels)}
        for sample in family.samples:
            labels = sorted(sample.labels.items(), key=lambda item: order.get(item[0], len(order)))
            found.setdefault(sample.name, {})[tuple(value for _, value in labels)] = sample.value
    return found


def done(harness: Harness) -> int:
    return len(harness.of(JobFinished))


async def test_deliveries_are_counted_with_their_durations(harness: Harness, site: Open) -> None:
    async with site() as running:
        harness.push(count=5)
        await harness.until(lambda: done(harness) == 5, "all are done")
        answer = await running.ask("/metrics")
    read = values(answer.text)
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
    assert read["restbroker_jobs_total"] == {("t", "safe", "delivered"): 5}
    assert read["restbroker_job_duration_seconds_count"] == {("t",): 5}
    assert read["restbroker_job_duration_seconds_bucket"]["t", "+Inf"] == 5
    assert read["restbroker_target_open"] == {("t",): 1}
    assert read["restbroker_ready"] == {(): 1}
    assert read["restbroker_redis_call_seconds_count"][()] >= 1
    assert 0 <= read["restbroker_beat_age_seconds"][()] < 15
    assert read["process_resident_memory_bytes"][()] > 1e6


HELD = {
    "redis_up": {(): 1},
    "set_jobs": {("retry",): 1, ("schedule",): 0, ("dead",): 2},
    "queue_jobs": {("rest",): 5},
    "queue_paused": {("rest",): 1},
    "target_paused": {("t", "operator"): 1, ("t", "other"): 1},
    "fair_waiting_jobs": {("rest",): 4},
    "fair_unclassified_jobs": {("rest",): 1},
    "fair_keys": {("rest",): 2},
    "order_keys": {("t", "stopped"): 2, ("t", "due"): 1, ("t", "ready"): 2},
    "order_waiting_jobs": {("t",): 4},
    "periodic_missed_total": {("nightly",): 3, ("strict",): 0},
    "periodic_skipped_total": {("nightly",): 2, ("strict",): 0},
}


async def test_contents_of_redis_are_reported(harness: Harness, site: Open) -> None:
    client, now_s, rest = harness.client, int(time.time()), "queue:rest"
    for number in range(4):
        fields = {"enqueued_at": now_s - 500, "args": ["safe", {"host": f"h{number % 2}"}, "t"]}
        client.command("LPUSH", rest, json.dumps(fields))
    classify_lines(client, "t", "rest", key_rules(None, Fairness(("host",))))
    client.command("LPUSH", rest, f'{{"enqueued_at":{now_s - 100}}}')
    client.commands([("ZADD", "retry", 9e9, "a"), ("ZADD", "dead", 1, "b", 2, "c"), ("SADD", "paused", "rest")])
    client.command("HSET", "restbroker:pause:t", "operator", 0, "<script>", 0)
    client.command("ZADD", "restbroker:held:t", 1e12 + 5, "\x1ea", 1e12 + 6, "\x1eb", 7, "\x1ec")
    ran = ("nightly", f"ab {now_s - 200_000}", "nightly push", f"{now_s - 200_000} j")
    client.command("HSET", "restbroker:periodic", *ran, "nightly missed", 3, "nightly skipped", 2)
    async with site() as running:
        read = values((await running.ask("/metrics")).text)
    assert {name: read[f"restbroker_{name}"] for name in HELD} == HELD
    assert 499 < read["restbroker_queue_latency_seconds"]["rest",] < 600
    assert 499 < read["restbroker_order_oldest_wait_seconds"]["t",] < 600
    assert read["restbroker_periodic_last_timestamp_seconds"] == {("nightly",): now_s - 200_000}
    following = read["restbroker_periodic_next_timestamp_seconds"]
    assert following["nightly",] < now_s - 100_000, "no process dealt with it"
    assert following.keys() == {("nightly",), ("strict",)}


async def test_what_is_wrong_now_is_counted_by_its_codes(harness: Harness, site: Open) -> None:
    harness.client.command("SADD", "paused", "rest")
    async with site() as running:
        running.watch.refresh_now()
        await running.watch.state_for()
        paused = values((await running.ask("/metrics")).text)
        harness.client.command("DEL", "paused")
        running.watch.refresh_now()
        await running.watch.state_for()
        well = values((await running.ask("/metrics")).text)
    assert paused["restbroker_problems"]["QueuePaused",] == 1
    assert "restbroker_problems" not in well


async def test_openmetrics_is_spoken_on_request(harness: Harness, site: Open) -> None:
    async with site() as running:
        harness.push()
        await harness.until(lambda: done(harness) == 1, "it is done")
        answer = await running.ask("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = {family.name for family in openmetrics(answer.text)}  # type: ignore[no-untyped-call]
    assert {"restbroker_jobs", "restbroker_target_open"} <= families


async def test_a_key_of_another_type_costs_only_what_it_is_about(harness: Harness, site: Open) -> None:
    async with site() as running:
        harness.client.commands([("SET", "restbroker:parked", "x"), ("SET", "queue:rest", "x")])
        read = values((await running.ask("/metrics")).text)
        harness.client.command("DEL", "restbroker:parked", "queue:rest")
    assert (read["restbroker_redis_up"], "restbroker_parked_copies" in read) == ({(): 1}, False)
    assert ("restbroker_set_jobs" in read, "restbroker_queue_jobs" in read) == (True, False)
