"""Connections are opened a few at a time."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from restbroker.transport.ramp import LIMIT, PATIENCE_S, Ramp


async def test_only_so_many_connect_at_once(autojump_clock: MockClock) -> None:
    ramp = Ramp()
    began: list[int] = []

    async def connect(who: int) -> None:
        await ramp.begin(who)
        began.append(who)

    async with trio.open_nursery() as nursery:
        for who in range(LIMIT + 2):
            nursery.start_soon(connect, who)
        await wait_all_tasks_blocked()
        assert len(began) == LIMIT
        ramp.end(began[0])
        await wait_all_tasks_blocked()
        assert len(began) == LIMIT + 1
        began_s = trio.current_time()
    assert len(began) == LIMIT + 2
    assert trio.current_time() - began_s <= PATIENCE_S


async def test_a_server_that_does_not_answer_is_connected_to_slowly(autojump_clock: MockClock) -> None:
    ramp = Ramp()
    began_s = trio.current_time()
    for who in range(3 * LIMIT):
        await ramp.begin(who)
    assert abs(trio.current_time() - began_s - 2 * PATIENCE_S) < 0.001


async def test_a_cancelled_wait_takes_no_turn(autojump_clock: MockClock) -> None:
    ramp = Ramp()
    for who in range(LIMIT):
        await ramp.begin(who)
    with trio.move_on_after(PATIENCE_S / 2) as scope:
        await ramp.begin("late")
    assert scope.cancelled_caught
    ramp.end(0)
    began_s = trio.current_time()
    await ramp.begin("next")
    assert trio.current_time() == began_s


async def test_an_end_without_a_beginning_does_nothing() -> None:
    ramp = Ramp()
    ramp.end("nobody")
    with trio.fail_after(1):
        await ramp.begin("somebody")
