"""Charts: the axis, the paths with their gaps, the marks, and what is read out of them."""

from collections.abc import Sequence

import pytest

from restbroker.web.charts import Chart, Scale, Series, chart

FIVE_PAST = 1_700_000_700
"""22:25 UTC."""
THREE_HOURS = Scale(FIVE_PAST, 181)


def drawn(values: Sequence[float | None]) -> Chart:
    return chart("Failed", "a minute", [Series("tries", "bad", values)], Scale(FIVE_PAST, len(values)))


def test_the_axis_names_full_and_half_hours_inside_it() -> None:
    ticks = THREE_HOURS.ticks
    assert [tick.text for tick in ticks] == ["23:00", "23:30", "00:00", "00:30", "01:00"]
    assert [tick.is_hour for tick in ticks] == [True, False, True, False, True]
    assert [tick.at for tick in ticks] == [19.4, 36.1, 52.8, 69.4, 86.1]
    assert THREE_HOURS.text == "22:25 to 01:25 UTC"


@pytest.mark.parametrize(
    ("count", "texts"),
    [(31, ["22:30", "22:35", "22:40", "22:45", "22:50"]), (61, ["22:30", "22:40", "22:50", "23:00", "23:10", "23:20"])],
)
def test_a_short_scale_has_ticks_that_are_closer(count: int, texts: list[str]) -> None:
    assert [tick.text for tick in Scale(FIVE_PAST, count).ticks] == texts


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_scale_of_hardly_a_minute_has_no_ticks(count: int) -> None:
    assert list(Scale(FIVE_PAST, count).ticks) == []


def test_an_unknown_value_leaves_a_gap_and_a_lone_one_a_dash() -> None:
    (line,) = drawn([0, 10, None, 5, None]).lines
    assert line.line == "M0 100L1 0M3 50h-1"
    assert line.area == "M0 100L0 100L1 0L1 100ZM3 100L3 50L3 100Z"
    assert line.values == "0,10,,5,"
    assert line.latest == 5


def test_points_between_equal_ones_are_left_out() -> None:
    (line,) = drawn([10, 10, 10, 10, 0, 0, 0]).lines
    assert line.line == "M0 0L3 0L4 100L6 100"


def test_a_chart_says_its_values_now_and_the_highest() -> None:
    assert drawn([0, 1234.5, 2.5]).summary == "22:25 to 22:27 UTC. tries: 2.5 a minute now, at most 1,234 at 22:26."
    assert drawn([None, None]).summary.endswith("There is no data yet.")
    assert drawn([]).lines[0].latest is None


def test_mark_lies_on_the_scale_and_is_visible() -> None:
    past, short, on = (
        THREE_HOURS.mark("bad", "", FIVE_PAST + first_s, None if end_s is None else FIVE_PAST + end_s)
        for first_s, end_s in ((-600, 5400), (5400, 5400), (10_800, None))
    )
    assert (past.at, past.width) == (0.0, 50.0)
    assert (short.at, short.width) == (50.0, 0.6)
    assert (on.at, on.width) == (99.4, 0.6)
