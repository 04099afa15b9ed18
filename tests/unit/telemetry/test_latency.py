# ruff: noqa: SLF001 - what is kept stays bounded, and no public name shows how much it is
import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.telemetry.latency import Histogram, Speed


def test_without_durations_there_are_no_percentiles() -> None:
    assert Histogram().summary_ms() == {"p50_ms": None, "p95_ms": None, "p99_ms": None}
    assert Speed().of_last_minute(0.0).percentile_s(0.5) is None


ROUND_S = [float(f"{digit}e{power}") for power in range(-4, 3) for digit in (1, 2, 5)]


@given(st.lists(st.one_of(st.floats(0, 2400), st.sampled_from(ROUND_S)), max_size=200))
def test_duration_belongs_to_the_first_limit_it_does_not_exceed(durations: list[float]) -> None:
    histogram = Histogram(tuple(ROUND_S))
    histogram.add(durations)
    assert list(accumulate(histogram.counts)) == [
        sum(duration <= limit for duration in durations) for limit in (*ROUND_S, math.inf)
    ]
    assert histogram.total_s == pytest.approx(math.fsum(durations))


@given(st.lists(st.floats(1.1e-5, 2400), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_percentile_is_within_five_percent_of_the_true_one(durations: list[float], share: float) -> None:
    histogram = Histogram()
    histogram.add(durations)
    found = histogram.percentile_s(share)
    true = next(d for i, d in enumerate(sorted(durations), 1) if i >= share * len(durations))
    assert found == pytest.approx(true, rel=0.05)


def test_durations_out_of_range_are_counted_at_the_ends() -> None:
    histogram = Histogram()
    histogram.add((-1.0, 0.0, 1e-9, 1e9))
    low, high = histogram.percentile_s(0.5), histogram.percentile_s(1.0)
    assert (sum(histogram.counts), low) == (4, 1e-5)
    assert high is not None
    assert 2400 < high < 3000


def test_value_older_than_a_minute_is_forgotten() -> None:
    recent = Speed()
    recent.add(0.0, [8.0])
    for moment in range(10, 100, 10):
        recent.add(moment, [1.0])
    assert recent.of_last_minute(50.0).percentile_s(0.99) == pytest.approx(1.0, rel=0.05)
    assert recent.of_last_minute(160.0).percentile_s(0.99) is None
    assert len(recent._slices) == 6


def test_slow_and_fast_jobs_of_the_last_minute_show_together() -> None:
    recent = Speed()
    recent.add(9.0, [8.0])
    recent.add(10.0, [1.0])
    histogram = recent.of_last_minute(20.0)
    assert histogram.percentile_s(0.5) == pytest.approx(1.0, rel=0.05)
    assert histogram.percentile_s(1.0) == pytest.approx(8.0, rel=0.05)


@given(st.lists(st.floats(0, 10), max_size=30), st.lists(st.floats(0, 10), max_size=30))
def test_copy_stays_unchanged_and_included_counts_as_added(first_s: list[float], second_s: list[float]) -> None:
    one, other, whole = Histogram(), Histogram(), Histogram()
    one.add(first_s)
    other.add(second_s)
    whole.add(first_s + second_s)
    copy = one.copy()
    one.include(other)
    assert one.counts == whole.counts
    assert one.total_s == pytest.approx(whole.total_s)
    assert (sum(copy.counts), sum(other.counts)) == (len(first_s), len(second_s))


@given(st.lists(st.tuples(st.integers(0, 30), st.lists(st.floats(0, 10), max_size=5)), max_size=30), st.integers(0, 90))
def test_last_minute_is_that_of_the_newest_six_slices(steps: list[tuple[int, list[float]]], later_s: int) -> None:
    speed, now_s, tried = Speed(), 1000.0, list[tuple[float, list[float]]]()
    for step_s, durations_s in steps:
        now_s += step_s
        speed.add(now_s, durations_s)
        tried.append((now_s, durations_s))
    now_s += later_s
    recent = Histogram()
    for at_s, durations_s in tried:
        if at_s // 10 > now_s // 10 - 6:
            recent.add(durations_s)
    assert speed.of_last_minute(now_s).counts == recent.counts


def test_what_was_taken_is_not_in_the_next_sums() -> None:
    speed = Speed()
    for duration_s in (0.1, 5.0):
        speed.add(1000.0, [duration_s])
        speed.delivered += 1
        sums = speed.take()
        assert (sums.delivered, sums.failed, sum(sums.latency.counts)) == (1, 0, 1)
        assert sums.latency.percentile_s(0.5) == pytest.approx(duration_s, rel=0.05)
    assert sum(speed.take().latency.counts) == 0
    assert sum(speed.durations.counts) == 2
