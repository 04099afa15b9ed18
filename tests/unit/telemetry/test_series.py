"""The list of metrics keeps Prometheus' rules, and several processes' values become those of one."""

import json

from restbroker.telemetry import series
from restbroker.telemetry.latency import Histogram
from restbroker.telemetry.series import METRICS, PROCESS, Distribution, Samples
from tests.support.rows import rows

BUCKETS = len(METRICS["restbroker_redis_call_seconds"].limits_s) + 1


def calls(*counts: int) -> Distribution:
    return Distribution((*counts, *(0,) * (BUCKETS - len(counts))), sum(counts) / 10)


@rows("limit_s", sorted({limit for metric in PROCESS for limit in metric.limits_s}))
def test_each_limit_of_a_bucket_is_one_of_those_that_are_counted_exactly(limit_s: float) -> None:
    histogram = Histogram()
    histogram.add([limit_s, limit_s * 1.0001])
    assert histogram.between([limit_s]) == (1, 1)


def test_several_processes_make_one() -> None:
    one: Samples = {
        "restbroker_jobs_total": {("e", "c", "delivered"): 2},
        "restbroker_target_open": {("e",): 1},
        "restbroker_beat_age_seconds": {(): 1.0},
        "restbroker_redis_call_seconds": {(): calls(1, 2)},
        "restbroker_worker_cpu_seconds_total": {("1",): 3.0},
    }
    other: Samples = {
        "restbroker_jobs_total": {("e", "c", "delivered"): 3, ("f", "c", "delivered"): 1},
        "restbroker_target_open": {("e",): 0},
        "restbroker_beat_age_seconds": {(): 4.0},
        "restbroker_redis_call_seconds": {(): calls(0, 1)},
        "restbroker_worker_cpu_seconds_total": {("2",): 5.0},
    }
    assert series.together([one, other]) == {
        "restbroker_jobs_total": {("e", "c", "delivered"): 5, ("f", "c", "delivered"): 1},
        "restbroker_target_open": {("e",): 0},
        "restbroker_beat_age_seconds": {(): 4.0},
        "restbroker_redis_call_seconds": {
            (): Distribution(calls(1, 3).counts, calls(1, 2).total_s + calls(0, 1).total_s)
        },
        "restbroker_worker_cpu_seconds_total": {("1",): 3.0, ("2",): 5.0},
    }


def test_what_is_told_arrives() -> None:
    told: Samples = {"restbroker_ready": {(): 1.0}, "restbroker_redis_call_seconds": {(): calls(1)}}
    assert series.read(json.loads(json.dumps(series.plain(told)))) == told


def test_of_a_worker_of_another_version_what_is_known_is_read() -> None:
    given: dict[str, list[list[object]]] = {
        "restbroker_new_total": [[[], 1]],
        "restbroker_jobs_total": [[["e"], 1], [["e", "c", "delivered"], 4]],
        "restbroker_redis_call_seconds": [[[], [[1, 2], 3.0]], [[], 4]],
    }
    assert series.read(given) == {"restbroker_jobs_total": {("e", "c", "delivered"): 4}}
