"""Jobs are handed over in order, never one that Redis does not know may have started; as many as 25 ms need."""

import trio
import trio.testing

from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.ready_buffer import SPAN_S, BatchSize, ReadyBuffer, stretch


def items(first: int, last: int) -> list[JobInProgress]:
    return [JobInProgress(f"{number}:1", number, "q", b"{}") for number in range(first, last + 1)]


def served(places: int = 1) -> tuple[ReadyBuffer, list[int]]:
    """A buffer whose jobs are taken, and the numbers of those."""
    ready, taken = ReadyBuffer(places, BatchSize()), list[int]()

    def take(job: JobInProgress) -> None:
        taken.append(job.number)

    ready.serve(take)
    return ready, taken


def test_job_above_the_high_water_mark_waits_until_allowed() -> None:
    ready, taken = served()
    ready.send_nowait(items(1, 2))
    assert taken == []
    ready.allow(1)
    ready.release()
    assert taken == [1]
    ready.allow(2)
    assert taken == [1, 2]


def test_no_job_starts_above_the_mark_of_a_redis_that_went_back() -> None:
    ready, taken = served(3)
    ready.confirm(5, 5)
    ready.allow(2)
    ready.send_nowait(items(2, 4))
    assert (taken, ready.demand.is_blocked) == ([2], True)
    ready.confirm(4, 4)
    assert taken == [2, 3, 4]


def test_a_closed_hand_over_starts_nothing_more() -> None:
    ready, taken = served()
    ready.send_nowait(items(1, 3))
    ready.allow(3)
    ready.close()
    ready.release()
    ready.send_nowait(items(4, 4))
    ready.confirm(4, 4)
    assert (taken, len(ready)) == ([1], 0)


def test_job_ending_as_it_is_taken_leaves_its_place_to_the_next() -> None:
    """It does so without recursion."""
    ready, taken = ReadyBuffer(1, BatchSize()), list[int]()

    def take(job: JobInProgress) -> None:
        taken.append(job.number)
        ready.release()

    ready.serve(take)
    ready.allow(5000)
    ready.send_nowait(items(1, 5000))
    assert taken == [*range(1, 5001)]
    assert ready.demand.places - ready.demand.busy == 1


async def test_more_jobs_are_wanted_when_half_of_the_reserve_is_left(autojump_clock: trio.testing.MockClock) -> None:
    for reserve, left, waits in ((4, 3, True), (4, 2, False), (10, 6, True), (10, 5, False)):
        ready = ReadyBuffer(1, BatchSize())
        ready.send_nowait(items(1, left))
        with trio.move_on_after(1) as waiting:
            await ready.wait_for_demand(reserve)
        assert waiting.cancelled_caught == waits


async def test_taking_the_reserve_down_wakes_the_intake(autojump_clock: trio.testing.MockClock) -> None:
    ready, taken = served(3)
    ready.demand.places = 0
    ready.send_nowait(items(1, 5))
    ready.allow(5)
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ready.wait_for_demand, 4)
            await trio.testing.wait_all_tasks_blocked()
            ready.demand.places = 3
            ready.allow(5)
    assert (taken, len(ready)) == ([1, 2, 3], 2)


async def test_free_place_wakes_the_intake_beside_unknown_jobs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Else a job that waits for its time in front of all others, with a place to itself, would hold all up."""
    ready, taken = served()
    ready.allow(1)
    ready.send_nowait(items(1, 3))
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ready.wait_for_demand, 0)
            await trio.testing.wait_all_tasks_blocked()
            ready.release()
    assert taken == [1]


def test_starts_never_exceed_the_allowed_number_or_the_places() -> None:
    ready, taken = served(3)
    ready.allow(2)
    ready.send_nowait(items(1, 6))
    assert (taken, ready.demand.places - ready.demand.busy) == ([1, 2], 1)
    ready.allow(6)
    assert (taken, ready.demand.places - ready.demand.busy, len(ready)) == ([1, 2, 3], 0, 3)


def test_buffer_is_free_while_all_waiting_jobs_may_start() -> None:
    ready = ReadyBuffer(1, BatchSize())
    assert ready.demand.is_free
    ready.send_nowait(items(1, 3))
    for allowed, free in ((0, False), (2, False), (3, True)):
        ready.allow(allowed)
        assert ready.demand.is_free is free


def test_recently_settled_number_is_kept_ready() -> None:
    """It is that of the last 25 to 50 ms, but 4 at least and 400 at most."""
    for settled, reserve in ((0, 4), (31, 31), (1000, 400)):
        pace = BatchSize()
        pace.record_settled(settled, 100.015)
        assert [pace.reserve(at_s) for at_s in (100.016, 100.030, 100.08)] == [reserve, reserve, 4]


def test_many_pools_keep_ready_what_a_longer_time_settled() -> None:
    assert [stretch(pools) > 1 for pools in (1, 10, 11)] == [False, False, True]
    assert [stretch(pools) for pools in (1, 10, 40, 100, 1000)] == [1, 1, 4, 10, 10]
    pace = BatchSize(stretch(40) * SPAN_S)
    for at_s in (100.01, 100.04, 100.07):
        pace.record_settled(10, at_s)
    assert [pace.reserve(at_s) for at_s in (100.08, 100.15, 100.4)] == [30, 30, 4]


def test_unconfirmed_starts_follow_the_largest_of_four_groups() -> None:
    pace = BatchSize()
    assert pace.lead == 0
    for count in (50, 30, 40, 1):
        pace.record_settled(count, 100.0)
    assert pace.lead == 100
    for _ in range(3):
        pace.record_settled(1, 100.0)
    assert pace.lead == 2
