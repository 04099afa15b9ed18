"""The list of metrics keeps Prometheus' rules, and several processes' values become those of one."""

import json

from hypothesis import given
from hypothesis import strategies as st

from restbroker.telemetry import metrics
from restbroker.telemetry.latency import Histogram
from restbroker.telemetry.metrics import METRICS, MergedMetrics, Samples

BUCKETS = len(METRICS["restbroker_redis_call_seconds"].limits_s) + 1


def calls(*counts: int) -> Histogram:
    limits_s = METRICS["restbroker_redis_call_seconds"].limits_s
    return Histogram(limits_s, [*counts, *[0] * (BUCKETS - len(counts))], sum(counts) / 10)


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
    assert metrics.merge([one, other]) == {
        "restbroker_jobs_total": {("e", "c", "delivered"): 5, ("f", "c", "delivered"): 1},
        "restbroker_target_open": {("e",): 0},
        "restbroker_beat_age_seconds": {(): 4.0},
        "restbroker_redis_call_seconds": {(): calls(1, 3)},
        "restbroker_worker_cpu_seconds_total": {("1",): 3.0, ("2",): 5.0},
    }


def test_reported_values_arrive() -> None:
    samples: Samples = {"restbroker_ready": {(): 1.0}, "restbroker_redis_call_seconds": {(): calls(1)}}
    assert metrics.from_json(json.loads(json.dumps(metrics.to_json(samples)))) == samples


def test_known_values_of_another_versions_worker_are_read() -> None:
    given: dict[str, list[list[object]]] = {
        "restbroker_new_total": [[[], 1]],
        "restbroker_jobs_total": [[["e"], 1], [["e", "c", "delivered"], 4]],
        "restbroker_redis_call_seconds": [[[], [[1, 2], 3.0]], [[], 4]],
    }
    assert metrics.from_json(given) == {"restbroker_jobs_total": {("e", "c", "delivered"): 4}}


JOBS = ("e", "c", "delivered")


def worker_samples(jobs: float, in_progress: float = 0) -> Samples:
    return {"restbroker_jobs_total": {JOBS: jobs}, "restbroker_jobs_in_hand": {("e",): in_progress}}


def jobs(merged: MergedMetrics) -> object:
    return merged.samples().get("restbroker_jobs_total", {}).get(JOBS, 0)


def test_counters_of_a_lost_worker_stay_and_gauges_do_not() -> None:
    merged = MergedMetrics(2)
    merged.add_worker(11)
    merged.add_worker(12)
    merged.update(11, worker_samples(5, in_progress=2))
    merged.update(12, worker_samples(7, in_progress=3))
    merged.remove_worker(11)
    merged.add_worker(13)
    merged.update(13, worker_samples(1, in_progress=1))
    samples = merged.samples()
    assert jobs(merged) == 13
    assert samples["restbroker_jobs_in_hand"] == {("e",): 4}
    assert samples["restbroker_workers"] == {(): 2}
    assert samples["restbroker_workers_wanted"] == {(): 2}
    assert samples["restbroker_worker_starts_total"] == {(): 3}


def test_processor_time_of_a_lost_worker_is_no_longer_shown() -> None:
    merged = MergedMetrics(1)
    merged.add_worker(11)
    merged.update(11, {"restbroker_worker_cpu_seconds_total": {("1",): 9.0}})
    merged.remove_worker(11)
    merged.add_worker(12)
    merged.update(12, {"restbroker_worker_cpu_seconds_total": {("1",): 1.0}})
    assert merged.samples()["restbroker_worker_cpu_seconds_total"] == {("1",): 1.0}


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9), st.booleans()), max_size=60))
def test_no_counter_runs_backwards(steps: list[tuple[int, int, bool]]) -> None:
    merged, counted, before = MergedMetrics(3), dict.fromkeys((1, 2, 3), 0), 0.0
    for pid in counted:
        merged.add_worker(pid)
    for pid, more, dies in steps:
        counted[pid] += more
        merged.update(pid, worker_samples(counted[pid]))
        if dies:
            merged.remove_worker(pid)
            merged.add_worker(pid)
            counted[pid] = 0
        now = jobs(merged)
        assert isinstance(now, float | int)
        assert now >= before
        before = now
    assert before == sum(more for _, more, _ in steps)
