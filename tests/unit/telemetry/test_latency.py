# ruff: noqa: SLF001 - what is kept stays bounded, and no door tells how much it is
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.telemetry.latency import Histogram, RecentLatency, added


def test_without_durations_there_are_no_percentiles() -> None:
    assert Histogram().summary_ms() == {"p50_ms": None, "p95_ms": None, "p99_ms": None}
    assert RecentLatency().recent(0.0).percentile_s(0.5) is None


ROUND_S = [float(f"{digit}e{power}") for power in range(-4, 3) for digit in (1, 2, 5)]


@given(st.lists(st.one_of(st.floats(0, 2400), st.sampled_from(ROUND_S)), max_size=200))
def test_coarser_buckets_with_round_limits_are_exact(durations: list[float]) -> None:
    histogram = Histogram()
    histogram.add(durations)
    counts = histogram.between(ROUND_S)
    assert [sum(counts[: place + 1]) for place in range(len(ROUND_S))] == [
        sum(duration <= limit for duration in durations) for limit in ROUND_S
    ]
    assert sum(counts) == histogram.count == len(durations)


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
    assert (histogram.count, low) == (4, 1e-5)
    assert high is not None
    assert 2400 < high < 3000


def test_what_is_older_than_a_minute_is_forgotten() -> None:
    recent = RecentLatency()
    recent.add(0.0, [8.0])
    for moment in range(10, 100, 10):
        recent.add(moment, [1.0])
    assert recent.recent(50.0).percentile_s(0.99) == pytest.approx(1.0, rel=0.05)
    assert recent.recent(160.0).percentile_s(0.99) is None
    assert len(recent._slices) == 6


def test_slow_and_fast_of_the_last_minute_are_seen_together() -> None:
    recent = RecentLatency()
    recent.add(9.0, [8.0])
    recent.add(10.0, [1.0])
    histogram = recent.recent(20.0)
    assert histogram.percentile_s(0.5) == pytest.approx(1.0, rel=0.05)
    assert histogram.percentile_s(1.0) == pytest.approx(8.0, rel=0.05)


@given(st.lists(st.tuples(st.floats(0, 15), st.floats(0, 10)), max_size=60), st.integers(0, 60))
def test_what_was_taken_stays_as_it_was_while_more_is_counted(steps: list[tuple[float, float]], place: int) -> None:
    recent, now_s, first = RecentLatency(), 0.0, Histogram()
    taken, wanted = recent.parts(), first.copied()
    for number, (after_s, duration_s) in enumerate(steps):
        if number == place:
            taken, wanted = recent.parts(), first.copied()
        now_s += after_s
        recent.add(now_s, [duration_s])
        first.add([duration_s])
    whole, last = added(taken), added(recent.parts())
    assert (whole.count, whole.buckets) == (wanted.count, wanted.buckets)
    assert whole.total_s == pytest.approx(wanted.total_s)
    assert (last.count, last.buckets) == (first.count, first.buckets)
