"""What is to happen at a time happens then, in the order in which it was set, unless it was cancelled."""

import trio
from trio.testing import MockClock

from restbroker.broker.gates import Timers


async def test_each_timer_fires_at_its_time_and_equal_ones_in_order(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    timers, came = Timers(), list[tuple[int, float]]()
    began_s = trio.current_time()

    def note(number: int) -> None:
        came.append((number, trio.current_time() - began_s))

    nursery.start_soon(timers.run)
    for number, wait_s in ((1, 3.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.5)):
        timer = timers.at(began_s + wait_s, lambda number=number: note(number))  # type: ignore[misc]
    timers.cancel(timer)
    timers.cancel(timer)
    await trio.sleep(1.5)
    timers.at(began_s + 1.75, lambda: note(6))
    await trio.sleep(2)
    assert came == [(2, 1.0), (6, 1.75), (3, 2.0), (4, 2.0), (1, 3.0)]


async def test_many_that_are_cancelled_take_no_memory(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    timers, came = Timers(), list[int]()
    nursery.start_soon(timers.run)
    timers.at(trio.current_time() + 3600, lambda: came.append(1))
    for _ in range(1000):
        timers.cancel(timers.at(trio.current_time() + 7200, lambda: came.append(2)))
        assert len(timers) <= 103
    await trio.sleep(7300)
    assert came == [1]
    assert len(timers) == 0
