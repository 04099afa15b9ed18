"""Jobs are handed over in order, never one that Redis does not know may have started; as many as 25 ms need."""

import pytest
import trio
import trio.testing

from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.ready_buffer import SPAN_S, BatchSize, ReadyBuffer, are_many, stretch


def items(first: int, last: int) -> list[JobInProgress]:
    return [JobInProgress(f"{number}:1", number, "q", b"{}") for number in range(first, last + 1)]


async def test_a_job_above_the_high_water_mark_waits_until_it_is_allowed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ready = ReadyBuffer(1, BatchSize())
    ready.send_nowait(items(1, 2))
    ready.allow(1)
    await ready.receive()
    with trio.move_on_after(1) as waiting:
        await ready.receive()
    assert waiting.cancelled_caught
    ready.allow(2)
    assert (await ready.receive()).number == 2


async def test_a_closed_hand_over_starts_nothing_more() -> None:
    ready = ReadyBuffer(1, BatchSize())
    ready.send_nowait(items(1, 3))
    ready.allow(3)
    ready.close()
    assert len(ready) == 0
    with pytest.raises(trio.ClosedResourceError):
        await ready.receive()
    with pytest.raises(trio.ClosedResourceError):
        ready.send_nowait(items(4, 4))


async def test_more_jobs_are_wanted_when_half_of_the_reserve_is_left(autojump_clock: trio.testing.MockClock) -> None:
    for reserve, left, waits in ((4, 3, True), (4, 2, False), (10, 6, True), (10, 5, False)):
        ready = ReadyBuffer(1, BatchSize())
        ready.send_nowait(items(1, left))
        with trio.move_on_after(1) as waiting:
            await ready.wait_for_demand(reserve)
        assert waiting.cancelled_caught == waits


async def test_taking_the_reserve_down_wakes_the_poller(autojump_clock: trio.testing.MockClock) -> None:
    ready = ReadyBuffer(1, BatchSize())
    ready.send_nowait(items(1, 5))
    ready.allow(5)
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ready.wait_for_demand, 4)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(3):
                await ready.receive()
    assert len(ready) == 2


async def test_no_more_workers_are_woken_than_there_are_jobs_that_may_be_started(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    ready = ReadyBuffer(1, BatchSize())
    for _ in range(5):
        nursery.start_soon(ready.receive)
    await trio.testing.wait_all_tasks_blocked()
    ready.allow(2)
    ready.send_nowait(items(1, 4))
    assert ready.idle_workers == 3
    await trio.testing.wait_all_tasks_blocked()
    assert (len(nursery.child_tasks), len(ready)) == (3, 2)


async def test_a_worker_that_is_cancelled_takes_no_job_even_if_one_is_there() -> None:
    ready = ReadyBuffer(1, BatchSize())
    ready.send_nowait(items(1, 1))
    ready.allow(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await ready.receive()
    assert scope.cancelled_caught
    assert ready.is_ready


def test_it_is_free_while_all_that_waits_may_be_started() -> None:
    ready = ReadyBuffer(1, BatchSize())
    assert ready.is_free
    ready.send_nowait(items(1, 3))
    for allowed, free in ((0, False), (2, False), (3, True)):
        ready.allow(allowed)
        assert ready.is_free is free


def test_what_was_settled_in_the_last_25_to_50_ms_is_kept_ready_but_4_at_least_and_400_at_most() -> None:
    for settled, reserve in ((0, 4), (31, 31), (1000, 400)):
        pace = BatchSize()
        pace.note_settled(settled, 100.015)
        assert [pace.reserve(at_s) for at_s in (100.016, 100.030, 100.08)] == [reserve, reserve, 4]


def test_beside_many_pools_what_was_settled_in_a_longer_time_is_kept_ready() -> None:
    assert [are_many(pools) for pools in (1, 10, 11)] == [False, False, True]
    assert [stretch(pools) for pools in (1, 10, 40, 100, 1000)] == [1, 1, 4, 10, 10]
    pace = BatchSize(stretch(40) * SPAN_S)
    for at_s in (100.01, 100.04, 100.07):
        pace.note_settled(10, at_s)
    assert [pace.reserve(at_s) for at_s in (100.08, 100.15, 100.4)] == [30, 30, 4]


def test_what_may_start_before_redis_is_told_follows_the_largest_of_the_last_four_groups() -> None:
    pace = BatchSize()
    assert pace.lead == 0
    for count in (50, 30, 40, 1):
        pace.note_settled(count, 100.0)
    assert pace.lead == 100
    for _ in range(3):
        pace.note_settled(1, 100.0)
    assert pace.lead == 2
