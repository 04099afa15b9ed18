"""When the reading of a stream that was left ends."""

import math
from typing import Any, cast

import trio
import trio.testing

from restbroker.servers.openfire.stream.open_stream import OpenStream


async def test_a_stream_that_was_left_is_not_ended_while_one_of_its_events_waits(
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
