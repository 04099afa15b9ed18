"""A lane keeps as many jobs ready as it settled in its last 25 ms, 4 to 200."""

from restbroker.broker.intake.pace import Pace


def test_an_idle_lane_keeps_the_least() -> None:
    assert Pace().reserve(100.0) == 4


def test_what_was_settled_in_the_last_25_ms_is_kept_ready() -> None:
    pace = Pace()
    pace.settled(1, 100.0)
    pace.settled(30, 100.015)
    assert pace.reserve(100.016) == 31
    assert pace.reserve(100.030) == 31


def test_a_burst_is_forgotten_50_ms_later() -> None:
    pace = Pace()
    pace.settled(50, 100.0)
    assert pace.reserve(100.0) == 50
    assert pace.reserve(100.06) == 4


def test_no_lane_keeps_more_than_the_most() -> None:
    pace = Pace()
    pace.settled(1000, 100.0)
    assert pace.reserve(100.0) == 200


def test_what_may_start_before_redis_is_told_follows_the_largest_of_the_last_four_groups() -> None:
    pace = Pace()
    assert pace.lead == 0
    for count in (50, 30, 40, 1):
        pace.settled(count, 100.0)
    assert pace.lead == 100
    for _ in range(3):
        pace.settled(1, 100.0)
    assert pace.lead == 2
