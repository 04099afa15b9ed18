# ruff: noqa: SLF001 - what is kept stays bounded, and no door tells how much it is
import pytest

from restbroker.telemetry.events import JobFinished, JobsDelivered
from restbroker.telemetry.figures import Figures
from restbroker.telemetry.latency import added

NOTHING_LATELY = {"rate_per_s": 0, "p50_ms": None, "p95_ms": None, "p99_ms": None}


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def finished(target: str = "ejabberd", outcome: str = "delivered", duration_s: float = 0.01) -> JobFinished:
    return JobFinished(target, "q", "c", "j", outcome, "ack", 1, duration_s)


def test_each_target_has_its_own_figures() -> None:
    clock = Clock()
    figures = Figures(clock)
    for _ in range(30):
        figures(finished())
    figures(finished(outcome="deferred"))
    figures(finished("prosody", "rejected", 2.0))
    clock.now_s = 1001.0
    assert figures.snapshot("ejabberd") == {
        "delivered": 30,
        "failed": 1,
        "outcomes": {"delivered": 30, "deferred": 1},
        "rate_per_s": 3.1,
        "p50_ms": pytest.approx(10, rel=0.05),
        "p95_ms": pytest.approx(10, rel=0.05),
        "p99_ms": pytest.approx(10, rel=0.05),
    }
    other = figures.snapshot("prosody")
    assert (other["delivered"], other["failed"]) == (0, 1)


def test_the_rate_is_that_of_the_last_ten_whole_seconds() -> None:
    clock = Clock()
    figures = Figures(clock)
    for second in range(30):
        clock.now_s = 1000.0 + second
        for _ in range(second):
            figures(finished())
    clock.now_s = 1030.5
    assert figures.snapshot("ejabberd")["rate_per_s"] == sum(range(20, 30)) / 10
    clock.now_s = 1050.0
    assert figures.snapshot("ejabberd")["rate_per_s"] == 0
    assert len(figures._targets["ejabberd"].per_second) <= 11


def test_jobs_told_of_together_count_as_if_each_had_been_told() -> None:
    clock = Clock()
    one, each = Figures(clock), Figures(clock)
    took_s = {"safe": [0.01, 0.02, 0.5], "status": [0.03]}
    one(JobsDelivered("ejabberd", took_s, list))
    for durations_s in took_s.values():
        for duration_s in durations_s:
            each(finished(duration_s=duration_s))
    clock.now_s = 1001.0
    assert one.snapshot("ejabberd") == each.snapshot("ejabberd")
    assert one.snapshot("ejabberd")["delivered"] == 4


def test_durations_are_kept_since_the_start_while_latencies_are_of_the_last_minute() -> None:
    clock = Clock()
    figures = Figures(clock)
    for _ in range(20):
        figures(finished(duration_s=0.5))
        clock.now_s += 10
    ever = added(figures.durations()["ejabberd"])
    assert (ever.count, ever.total_s, ever.between([0.2, 0.5, 1])) == (20, 10.0, (0, 20, 0, 0))
    clock.now_s += 1000
    assert figures.snapshot("ejabberd")["p50_ms"] is None
    assert added(figures.durations()["ejabberd"]).count == 20
