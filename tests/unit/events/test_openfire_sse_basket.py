"""What waits for Redis keeps its order, and has its bounds: who finds no room waits."""

import trio

from restbroker.events.openfire_sse.basket import Basket
from tests.events.conftest import EVENT


async def test_who_finds_it_full_waits_until_somebody_takes() -> None:
    basket = Basket(most=2, most_bytes=100)
    await basket.put(EVENT, 1)
    await basket.put(EVENT, 1)
    with trio.move_on_after(0.01) as full:
        await basket.put(EVENT, 1)
    assert full.cancelled_caught
    assert len(await basket.take(1)) == 1
    await basket.put(EVENT, 1)
    assert len(basket.rest(10)) == 2
    assert basket.rest(10) == []


async def test_bytes_are_bounded_too_and_a_large_one_finds_room_alone() -> None:
    basket = Basket(most=10, most_bytes=100)
    await basket.put(EVENT, 1000)
    with trio.move_on_after(0.01) as full:
        await basket.put(EVENT, 1)
    assert full.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(basket.put, EVENT, 1)
        assert len(await basket.take(10)) == 1
    assert len(await basket.take(10)) == 1
