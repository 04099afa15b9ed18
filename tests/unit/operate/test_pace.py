"""How a thread that computes lets others go on, with a clock of its own."""

import pytest

from restbroker.operate.throttle import Throttle, throttle_items


class Clock:
    """CPU time that a test spends."""

    def __init__(self) -> None:
        self.worked_s = 0.0
        self.rests: list[float] = []

    def pace(self) -> Throttle:
        return Throttle(lambda: self.worked_s, self.rests.append)


def test_pause_follows_a_millisecond_of_work_and_is_as_long() -> None:
    clock = Clock()
    pace = clock.pace()
    for worked_s in (0.0, 0.0005, 0.003, 0.0031, 0.0045):
        clock.worked_s = worked_s
        pace.step()
    assert clock.rests == [pytest.approx(0.003), pytest.approx(0.0015)]


def test_paced_items_come_whole_in_order_with_pauses_between() -> None:
    clock = Clock()
    found = []
    for item in throttle_items(range(100), clock.pace()):
        found.append(item)
        clock.worked_s += 0.001
    assert found == list(range(100))
    assert len(clock.rests) == 6
