"""Connections are opened a few at a time."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from restbroker.transport.pace import LIMIT, PATIENCE_S, Pace


async def test_only_so_many_connect_at_once(autojump_clock: MockClock) -> None:
    pace = Pace()
    began: list[int] = []

    async def connect(who: int) -> None:
        await pace.begin(who)
        began.append(who)

    async with trio.open_nursery() as nursery:
        for who in range(LIMIT + 2):
            nursery.start_soon(connect, who)
        await wait_all_tasks_blocked()
        assert len(began) == LIMIT
        pace.end(began[0])
        await wait_all_tasks_blocked()
        assert len(began) == LIMIT + 1
        began_s = trio.current_time()
    assert len(began) == LIMIT + 2
    assert trio.current_time() - began_s <= PATIENCE_S


async def test_a_server_that_does_not_answer_is_connected_to_slowly(autojump_clock: MockClock) -> None:
    pace = Pace()
    began_s = trio.current_time()
    for who in range(3 * LIMIT):
        await pace.begin(who)
    assert abs(trio.current_time() - began_s - 2 * PATIENCE_S) < 0.001


async def test_a_cancelled_wait_takes_no_turn(autojump_clock: MockClock) -> None:
    pace = Pace()
    for who in range(LIMIT):
        await pace.begin(who)
    with trio.move_on_after(PATIENCE_S / 2) as scope:
        await pace.begin("late")
    assert scope.cancelled_caught
    pace.end(0)
    began_s = trio.current_time()
    await pace.begin("next")
    assert trio.current_time() == began_s


async def test_an_end_without_a_beginning_does_nothing() -> None:
    pace = Pace()
    pace.end("nobody")
    with trio.fail_after(1):
        await pace.begin("somebody")
