"""A lane keeps as many jobs ready as it settled in its last 10 ms, 4 to 100."""

from restbroker.broker.pace import Pace


def test_an_idle_lane_keeps_the_least() -> None:
    assert Pace().reserve(100.0) == 4


def test_what_was_settled_in_the_last_10_ms_is_kept_ready() -> None:
    pace = Pace()
    pace.settled(1, 100.0)
    pace.settled(30, 100.005)
    assert pace.reserve(100.006) == 31
    assert pace.reserve(100.012) == 31


def test_a_burst_is_forgotten_20_ms_later() -> None:
    pace = Pace()
    pace.settled(50, 100.0)
    assert pace.reserve(100.0) == 50
    assert pace.reserve(100.05) == 4


def test_no_lane_keeps_more_than_the_most() -> None:
    pace = Pace()
    pace.settled(1000, 100.0)
    assert pace.reserve(100.0) == 100
