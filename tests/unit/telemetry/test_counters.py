# ruff: noqa: SLF001 - what is kept stays bounded, and no public name shows how much it is
"""What happened is counted, for /metrics under labels that nobody from outside chooses, and for each target of late."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.telemetry.counters import MOST_CODES, MOST_COMMANDS, Counters
from restbroker.telemetry.events import (
    BrokerQuiet,
    EventHandled,
    IdentityFenced,
    JobFinished,
    JobsDelivered,
    JobsRecovered,
    OperatorWarning,
    StoreLost,
    TargetDown,
)
from restbroker.telemetry.latency import Histogram
from restbroker.telemetry.metrics import Samples

KNOWN = {"register", "status"}


def finished(
    command: str = "status", outcome: str = "deferred", fate: str = "retry", code: str = "Timeout"
) -> JobFinished:
    return JobFinished("e", "q", command, "j", outcome, fate, 1, 0.01, code=code)


def counting() -> Counters:
    return Counters(lambda _target: KNOWN)


def test_jobs_are_counted_by_target_command_and_outcome() -> None:
    counters = counting()
    counters(JobsDelivered("e", {"status": [0.1, 0.2], "status/v1": [0.1], "mine": [0.3]}, list))
    counters(finished("register"))
    assert counters.samples()["restbroker_jobs_total"] == {
        ("e", "status", "delivered"): 3,
        ("e", "other", "delivered"): 1,
        ("e", "register", "deferred"): 1,
    }


def test_undone_job_is_counted_by_code_and_fate() -> None:
    counters = counting()
    for event in (finished(), finished(fate="dead", code="BadToken"), finished(outcome="delivered", fate="ack")):
        counters(event)
    counters(finished(fate="dead", code="no code\nat all"))
    assert counters.samples()["restbroker_failures_total"] == {
        ("e", "Timeout", "retry"): 1,
        ("e", "BadToken", "dead"): 1,
        ("e", "other", "dead"): 1,
    }


def test_events_of_servers_are_counted_by_source_and_outcome() -> None:
    counters = counting()
    counters(finished())
    for source, outcome in (("p", "accepted"), ("p", "accepted"), ("p", "malformed"), ("q", "accepted")):
        counters(EventHandled(source, outcome))
    assert counters.event_samples() == {
        "restbroker_events_total": {("p", "accepted"): 2, ("p", "malformed"): 1, ("q", "accepted"): 1}
    }


def test_how_long_a_server_waited_is_counted_for_what_was_taken() -> None:
    counters = counting()
    for event in (
        EventHandled("p", "accepted", 0.003),
        EventHandled("p", "own", 0.2),
        EventHandled("p", "unavailable"),
    ):
        counters(event)
    found = counters.samples()["restbroker_event_seconds"]
    assert list(found) == [("p",)]
    histogram = found["p",]
    assert isinstance(histogram, Histogram)
    assert sum(histogram.counts) == 2
    assert histogram.total_s == pytest.approx(0.203)


def test_events_of_the_process_are_counted() -> None:
    counters = counting()
    totals = ("redis_outages", "fenced", "jobs_recovered")
    assert [counters.samples().get(f"restbroker_{name}_total") for name in totals] == [{(): 0}] * 3
    for event in (
        TargetDown("e", "TargetUnreachable", "m"),
        TargetDown("e", "no code\nat all", "m"),
        StoreLost("m"),
        IdentityFenced("i"),
        JobsRecovered("i", 7, 1),
        OperatorWarning("DeadSetFull", "m", target="e"),
        OperatorWarning("OrderStopped", "m", target="e"),
        BrokerQuiet("SIGTSTP"),
    ):
        counters(event)
    samples = counters.samples()
    assert samples["restbroker_gate_closings_total"] == {("e", "TargetUnreachable"): 1, ("e", "other"): 1}
    assert samples["restbroker_warnings_total"] == {("DeadSetFull",): 1, ("OrderStopped",): 1}
    assert samples["restbroker_order_stopped_total"] == {("e",): 1}
    assert samples["restbroker_redis_outages_total"] == {(): 1}
    assert samples["restbroker_fenced_total"] == {(): 1}
    assert samples["restbroker_jobs_recovered_total"] == {(): 7}
    assert samples["restbroker_crashed_jobs_waiting"] == {(): 0}


def test_jobs_that_wait_after_crashes_are_counted_while_they_do() -> None:
    now_s = [100.0]
    counters = Counters(now_s=lambda: now_s[0])
    counters(JobsRecovered("i", 7, 3, waits_s=(20.0, 40.0)))
    counters(JobsRecovered("j", 1, 1, waits_s=(10.0,)))
    found = []
    for at_s in (100.0, 115.0, 130.0, 141.0):
        now_s[0] = at_s
        found.append(counters.samples()["restbroker_crashed_jobs_waiting"][()])
    assert found == [3, 2, 1, 0]


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=50))
def test_no_name_from_outside_becomes_a_label(names: list[tuple[str, str]]) -> None:
    counters = counting()
    for command, code in names:
        counters(finished(command, code=code))
    samples = counters.samples()
    assert {command for _, command, _ in samples.get("restbroker_jobs_total", {})} <= {*KNOWN, "other"}
    assert all(code.isascii() and code.isalnum() for _, code, _ in samples.get("restbroker_failures_total", {}))


def test_labels_are_bounded() -> None:
    counters = Counters(lambda _target: {f"c{number}" for number in range(1000)})
    for number in range(1000):
        counters(finished(f"c{number}", code=f"Code{number}"))
    samples = counters.samples()
    assert len(samples["restbroker_jobs_total"]) == MOST_COMMANDS + 1
    assert len(samples["restbroker_failures_total"]) == MOST_CODES + 1
    assert samples["restbroker_jobs_total"]["e", "other", "deferred"] == 1000 - MOST_COMMANDS


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def done(target: str = "ejabberd", outcome: str = "delivered", duration_s: float = 0.01) -> JobFinished:
    return JobFinished(target, "q", "c", "j", outcome, "ack", 1, duration_s)


def test_each_target_has_its_own_counters() -> None:
    clock = Clock()
    counters = Counters(now_s=clock)
    for _ in range(30):
        counters(done())
    counters(done(outcome="deferred"))
    counters(done(outcome="expired", duration_s=0.0))
    counters(done("prosody", "rejected", 2.0))
    clock.now_s = 1001.0
    assert counters.snapshot("ejabberd") == {
        "delivered": 30,
        "failed": 1,
        "outcomes": {"delivered": 30, "deferred": 1, "expired": 1},
        "rate_per_s": 3.1,
        "p50_ms": pytest.approx(10, rel=0.05),
        "p95_ms": pytest.approx(10, rel=0.05),
        "p99_ms": pytest.approx(10, rel=0.05),
    }
    other = counters.snapshot("prosody")
    assert (other["delivered"], other["failed"]) == (0, 1)


def test_the_rate_is_that_of_the_last_ten_whole_seconds() -> None:
    clock = Clock()
    counters = Counters(now_s=clock)
    for second in range(30):
        clock.now_s = 1000.0 + second
        for _ in range(second):
            counters(done())
    clock.now_s = 1030.5
    assert counters.snapshot("ejabberd")["rate_per_s"] == sum(range(20, 30)) / 10
    clock.now_s = 1050.0
    assert counters.snapshot("ejabberd")["rate_per_s"] == 0
    assert len(counters._speeds["ejabberd"]._seconds) <= 11


def test_jobs_reported_together_count_like_single_ones() -> None:
    clock = Clock()
    one, each = Counters(now_s=clock), Counters(now_s=clock)
    took_s = {"safe": [0.01, 0.02, 0.5], "status": [0.03]}
    one(JobsDelivered("ejabberd", took_s, list))
    for durations_s in took_s.values():
        for duration_s in durations_s:
            each(done(duration_s=duration_s))
    clock.now_s = 1001.0
    assert one.snapshot("ejabberd") == each.snapshot("ejabberd")
    assert one.snapshot("ejabberd")["delivered"] == 4


def test_durations_last_from_the_start_latencies_for_a_minute() -> None:
    clock = Clock()
    counters = Counters(now_s=clock)

    def durations() -> tuple[int, float]:
        histogram = counters.samples()["restbroker_job_duration_seconds"]["ejabberd",]
        assert isinstance(histogram, Histogram)
        return sum(histogram.counts), histogram.total_s

    for _ in range(20):
        counters(done(duration_s=0.5))
        clock.now_s += 10
    assert durations() == (20, 10.0)
    clock.now_s += 1000
    assert counters.snapshot("ejabberd")["p50_ms"] is None
    assert durations() == (20, 10.0)


def test_values_are_those_of_the_moment_of_the_request() -> None:
    counters, copies = counting(), list[Samples]()
    for _ in range(3):
        copies.append(counters.samples())
        counters(JobFinished("e", "q", "status", "j", "delivered", "ack", 1, 0.01))
        counters.add_redis_call(0.001)
    found = []
    for samples in copies:
        durations = samples.get("restbroker_job_duration_seconds", {}).get(("e",), Histogram())
        calls = samples["restbroker_redis_call_seconds"][()]
        assert isinstance(durations, Histogram)
        assert isinstance(calls, Histogram)
        jobs = samples.get("restbroker_jobs_total", {}).get(("e", "status", "delivered"), 0)
        found.append((jobs, sum(durations.counts), sum(calls.counts)))
    assert found == [(0, 0, 0), (1, 1, 1), (2, 2, 2)]
