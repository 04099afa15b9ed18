"""When a row of what is wrong is told, on a clock of its own: `operate.tell.decide`."""

from collections.abc import Callable, Collection
from typing import Final

import pytest

from restbroker.operate.tell import LOOK_S, Entry, decide

ROW: Final = "QueueWaits rest"
DOWN: Final = "TargetDown chat"
STORM: Final = [f"QueueUnserved q{number}" for number in range(30)]
DAY_S: Final = 86_400


def told_in(rows_at: Callable[[int], Collection[str]]) -> list[tuple[int, str]]:
    """What is told in four hours, and in which second; the carrier is the target `chat`."""
    known: dict[str, Entry] = {}
    found: list[tuple[int, str]] = []
    for second in range(0, 4 * 3600, int(LOOK_S)):
        due, known = decide(known, rows_at(second), DAY_S + second, "chat")
        found += [(second, f"{name}{note}".partition(" was")[0].partition(":")[0]) for name, (_, note) in due.items()]
    return found


@pytest.mark.promise("Events", "what is wrong is told after a minute, and each row once an hour at most")
@pytest.mark.parametrize(
    ("from_to", "told"),
    [
        ([(0, 50)], []),
        ([(0, 70)], [(60, ROW), (3670, f"{ROW} is over")]),
        ([(0, 9 * 3600)], [(60, ROW)]),
        ([(0, 600), (1200, 1800)], [(60, ROW), (5400, f"{ROW} is over")]),
        ([(0, 600), (3700, 5000)], [(60, ROW), (3760, ROW), (8600, f"{ROW} is over")]),
        ([(start, start + 70) for start in range(0, 3600, 140)], [(60, ROW), (7170, f"{ROW} is over")]),
        ([(start, start + 50) for start in range(0, 3600, 100)], []),
        ([(0, 70), (3700, 5000)], [(60, ROW), (3670, f"{ROW} is over"), (3760, ROW), (8600, f"{ROW} is over")]),
    ],
    ids=["short", "minute", "stays", "again-soon", "again-late", "flaps", "flickers", "again-after-over"],
)
def test_a_row_is_told_by_when_it_was_there(from_to: list[tuple[int, int]], told: list[tuple[int, str]]) -> None:
    assert told_in(lambda second: [ROW] if any(a <= second < b for a, b in from_to) else []) == told


def test_ten_are_told_in_an_hour_the_gravest_first() -> None:
    told = told_in(lambda second: STORM if second < 2 * 3600 else [])
    assert [name for _, name in told[:20]] == STORM[:20]
    assert [second for second, _ in told] == [60] * 10 + [3660] * 10 + [10800] * 10


def test_what_carries_the_news_is_told_of_once_it_is_back() -> None:
    """Until then nothing is told; what is there then is told after it, and what went meanwhile is not."""

    def rows(second: int) -> list[str]:
        return [DOWN, ROW, *([STORM[0]] if second < 1000 else [])] if second < 3000 else [ROW]

    assert told_in(rows) == [(3000, ROW), (3000, DOWN), (6600, f"{DOWN} is over")]


def test_a_carrier_that_flaps_is_told_of_twice() -> None:
    flaps = told_in(lambda second: [DOWN] if second < 3600 and second % 140 < 70 else [])
    assert flaps == [(70, DOWN), (7170, f"{DOWN} is over")]


def test_a_crash_between_push_and_note_gives_the_message_the_same_id() -> None:
    _, known = decide({}, [ROW], DAY_S)
    (first, _), (again, after) = decide(known, [ROW], DAY_S + 60), decide(known, [ROW], DAY_S + 90)
    assert first == again
    over, _ = decide(decide(after, [], DAY_S + 100)[1], [], DAY_S + 3700)
    assert over[ROW][0] != first[ROW][0]
