"""What waits for Redis keeps its order, and has its bounds: who finds no room waits."""

import trio
from trio.testing import wait_all_tasks_blocked

from restbroker.servers.openfire.stream.event_buffer import AT_ONCE, EventBuffer
from tests.events.conftest import EVENT


async def test_bytes_are_bounded_and_not_the_number_and_a_large_one_finds_room_alone() -> None:
    basket = EventBuffer(most_bytes=5000)
    for _ in range(5000):
        await basket.put(EVENT, 1)
    with trio.move_on_after(0.01) as full:
        await basket.put(EVENT, 1)
    assert full.cancelled_caught
    taken = [len(basket.take_now()) for _ in range(5000 // AT_ONCE)]
    assert taken == [AT_ONCE] * len(taken)
    assert (len(basket), basket.take_now()) == (0, [])
    await basket.put(EVENT, 10_000)
    with trio.move_on_after(0.01) as full:
        await basket.put(EVENT, 1)
    assert full.cancelled_caught


async def test_large_ones_are_taken_a_few_at_a_time_and_take_room_until_more_is_taken() -> None:
    large = 600_000
    basket = EventBuffer(most_bytes=3 * large)
    for _ in range(3):
        await basket.put(EVENT, large)
    assert len(await basket.take()) == 2
    async with trio.open_nursery() as nursery:
        nursery.start_soon(basket.put, EVENT, large)
        await wait_all_tasks_blocked()
        assert len(basket) == 1
        assert len(await basket.take()) == 1
    assert len(basket) == 1


async def test_that_it_is_full_is_told_once_until_all_that_waited_was_taken() -> None:
    told: list[int] = []
    basket = EventBuffer(most_bytes=10, on_full=told.append)
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(basket.put, EVENT, 9)
        await wait_all_tasks_blocked()
        assert told == [9]
        for _ in range(4):
            assert len(await basket.take()) == 1
            await wait_all_tasks_blocked()
        assert told == [9]
        nursery.start_soon(basket.take)
        await wait_all_tasks_blocked()
        for _ in range(3):
            nursery.start_soon(basket.put, EVENT, 9)
        await wait_all_tasks_blocked()
        assert told == [9, 9]
        nursery.cancel_scope.cancel()
