"""What is kept of the looks, and how it is drawn and written."""

from hypothesis import given
from hypothesis import strategies as st

from restbroker.cli.watch.formats import chart
from restbroker.cli.watch.trend import TrendHistory
from tests.support.figures import figures, queue


def test_one_look_has_no_rate_and_a_redis_that_was_emptied_neither() -> None:
    past = TrendHistory()
    assert past.trend().per_s == {}
    past.add(0.0, figures(processed=100, failed=1))
    assert past.trend().per_s == {}
    past.add(1.0, figures(processed=110, failed=1))
    assert past.trend().per_s == {"processed": 10.0, "failed": 0.0}
    past.add(2.0, figures(processed=0, failed=1))
    assert past.trend().per_s == {"failed": 0.0}
    assert past.trend().throughput == (10.0, 0.0)


def test_the_charts_span_all_of_the_time_in_bounded_memory() -> None:
    rows: list[int] = [2, 241, 500, 10_000]
    for looks in rows:
        past = TrendHistory()
        for number in range(looks):
            size = 999 if number == 1 else 5
            past.add(number * 2.0, figures(processed=number * 8, queues=[queue("rest", size), queue("other", None)]))
        course = past.trend()
        assert course.lasted_s == (looks - 1) * 2.0
        assert len(course.throughput) == len(course.backlog) <= 240
        assert set(course.throughput) == {4.0}
        assert (course.backlog[0], course.backlog_now) == (999, 5 if looks > 2 else 999)
        assert looks < 240 or len(course.throughput) >= 120


@given(st.lists(st.floats(0, 1e9), max_size=300), st.integers(-1, 100))
def test_a_chart_is_as_wide_as_there_is_room_and_shows_the_highest_in_full(values: list[float], width: int) -> None:
    drawn = chart(values, width)
    assert len(drawn) == max(0, min(width, len(values)))
    assert ("█" in drawn) == (bool(drawn) and max(values) > 0)


def test_what_is_more_than_nothing_is_seen_in_a_chart() -> None:
    assert chart([0, 1, 1000], 3) == "▁▂█"
    assert chart([5, 0, 0, 9, 0, 0], 2) == "▅█"
