"""A user's stream: what waits for Redis, which time may be missing, and when its reading ends."""

import math
from typing import Any, cast

import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from restbroker.servers.openfire.stream.open_stream import Gap, OpenStream, StreamState
from restbroker.servers.reading import AT_ONCE, EventBuffer
from restbroker.store.logins import LoggedIn, LoggedOff
from tests.events.conftest import EVENT


async def test_bytes_are_bounded_not_events_and_a_large_one_fits_alone() -> None:
    buffer = EventBuffer(most_bytes=5000)
    for _ in range(5000):
        await buffer.put(EVENT, 1)
    with trio.move_on_after(0.01) as full:
        await buffer.put(EVENT, 1)
    assert full.cancelled_caught
    taken = [len(buffer.take_now()) for _ in range(5000 // AT_ONCE)]
    assert taken == [AT_ONCE] * len(taken)
    assert (len(buffer), buffer.take_now()) == (0, [])
    await buffer.put(EVENT, 10_000)
    with trio.move_on_after(0.01) as full:
        await buffer.put(EVENT, 1)
    assert full.cancelled_caught


async def test_large_events_come_a_few_at_a_time_and_keep_their_room() -> None:
    large = 600_000
    buffer = EventBuffer(most_bytes=3 * large)
    for _ in range(3):
        await buffer.put(EVENT, large)
    assert len(await buffer.take()) == 2
    async with trio.open_nursery() as nursery:
        nursery.start_soon(buffer.put, EVENT, large)
        await wait_all_tasks_blocked()
        assert len(buffer) == 1
        assert len(await buffer.take()) == 1
    assert len(buffer) == 1


async def test_full_buffer_is_reported_once_until_emptied(nursery: trio.Nursery) -> None:
    sizes: list[int] = []
    buffer = EventBuffer(most_bytes=10, on_full=sizes.append)
    for _ in range(4):
        nursery.start_soon(buffer.put, EVENT, 9)
    await wait_all_tasks_blocked()
    assert sizes == [9]
    for _ in range(4):
        assert len(await buffer.take()) == 1
        await wait_all_tasks_blocked()
    assert sizes == [9]
    nursery.start_soon(buffer.take)
    await wait_all_tasks_blocked()
    for _ in range(3):
        nursery.start_soon(buffer.put, EVENT, 9)
    await wait_all_tasks_blocked()
    assert sizes == [9, 9]


async def test_abandoned_stream_lives_while_one_of_its_events_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    reading = OpenStream(cast("Any", None), 0.0)
    with reading.scope:
        reading.suspend()
        reading.leave()
        # Redis is away, for longer than anything else takes.
        await trio.sleep(600)
        reading.resume()
        reading.suspend()
        await trio.sleep(600)
        reading.resume()
        await trio.sleep_forever()
    assert reading.scope.cancelled_caught
    assert trio.current_time() >= 1200


async def test_a_stream_that_was_not_left_is_read_without_end(autojump_clock: trio.testing.MockClock) -> None:
    reading = OpenStream(cast("Any", None), 0.0)
    reading.suspend()
    reading.resume()
    assert reading.scope.deadline == math.inf


def opened(state: StreamState, login: LoggedIn, at_s: float) -> None:
    state.login = login
    state.record_open(at_s)


def test_logoff_of_the_read_login_leaves_no_gap_unlike_another() -> None:
    state = StreamState()
    assert state.record_logoff(5.0, LoggedOff(number=3)) is None, "nobody was read before"
    opened(state, LoggedIn("a", 7), 10.0)
    assert state.take_gap() == Gap(5.0, 10.0, "the user logged in before it was open")
    state.record_break(20.0)
    assert state.record_logoff(21.0, LoggedOff(number=7)) is None
    gap = state.record_logoff(22.0, LoggedOff(number=8))
    assert gap is not None
    assert (gap.since_s, gap.until_s) == (21.0, 22.0)
    assert state.record_logoff(23.0, LoggedOff(number=8)) is None, "reported once"
    opened(state, LoggedIn("c", 9), 30.0)
    assert state.take_gap() == Gap(23.0, 30.0, "the stream ended")


def test_new_login_under_an_open_stream_is_a_gap_from_its_start() -> None:
    state = StreamState()
    opened(state, LoggedIn("a", 7), 10.0)
    gap = state.record_logoff(21.0, LoggedOff(number=8))
    assert gap is not None
    assert (gap.since_s, gap.until_s) == (10.0, 21.0)
