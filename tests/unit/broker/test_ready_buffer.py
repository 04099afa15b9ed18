"""The hand-over gives single jobs in order, never one that Redis does not know may have started."""

import trio
import trio.testing

from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.ready_buffer import ReadyBuffer


def items(first: int, last: int) -> list[JobInProgress]:
    return [JobInProgress(f"{number}:1", number, "q", b"{}") for number in range(first, last + 1)]


async def test_a_job_above_the_high_water_mark_waits_until_it_is_allowed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    handover = ReadyBuffer()
    handover.put(items(1, 2))
    handover.allow(1)
    assert await handover.take() is not None
    with trio.move_on_after(1) as waiting:
        await handover.take()
    assert waiting.cancelled_caught
    handover.allow(2)
    second = await handover.take()
    assert second is not None
    assert second.number == 2


async def test_a_closed_hand_over_starts_nothing_more() -> None:
    handover = ReadyBuffer()
    handover.put(items(1, 3))
    handover.allow(3)
    handover.close()
    assert await handover.take() is None
    assert len(handover) == 0


async def test_more_jobs_are_wanted_when_half_of_the_reserve_is_left(autojump_clock: trio.testing.MockClock) -> None:
    for reserve, left, waits in ((4, 3, True), (4, 2, False), (10, 6, True), (10, 5, False)):
        handover = ReadyBuffer()
        handover.put(items(1, left))
        with trio.move_on_after(1) as waiting:
            await handover.hungry(reserve)
        assert waiting.cancelled_caught == waits


async def test_taking_the_reserve_down_wakes_the_fetcher(autojump_clock: trio.testing.MockClock) -> None:
    handover = ReadyBuffer()
    handover.put(items(1, 5))
    handover.allow(5)
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handover.hungry, 4)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(3):
                await handover.take()
    assert len(handover) == 2


async def test_no_more_workers_are_woken_than_there_are_jobs_that_may_be_started(
    autojump_clock: trio.testing.MockClock,
) -> None:
    handover = ReadyBuffer()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(handover.take)
        await trio.testing.wait_all_tasks_blocked()
        handover.allow(2)
        handover.put(items(1, 4))
        assert handover.idle_workers == 3
        await trio.testing.wait_all_tasks_blocked()
        assert (len(nursery.child_tasks), len(handover)) == (3, 2)
        handover.close()


async def test_a_worker_that_is_cancelled_takes_no_job_even_if_one_is_there() -> None:
    handover = ReadyBuffer()
    handover.put(items(1, 1))
    handover.allow(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await handover.take()
    assert scope.cancelled_caught
    assert handover.is_ready


def test_it_is_free_while_all_that_waits_may_be_started() -> None:
    handover = ReadyBuffer()
    assert handover.is_free
    handover.put(items(1, 3))
    for allowed, free in ((0, False), (2, False), (3, True)):
        handover.allow(allowed)
        assert handover.is_free is free
