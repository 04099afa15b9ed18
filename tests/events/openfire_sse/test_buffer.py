"""While Redis is away streams are read on, as much as fits into memory; what does not fit waits, and is reported."""

import pytest
import trio

from tests.events.openfire_sse.conftest import Read
from tests.support.openfire_chat.server import Openfire
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async


@pytest.mark.slow  # longer than a lease, by the clock
@pytest.mark.parametrize(("buffer_bytes", "is_held"), [(32 * 1024 * 1024, False), (1024 * 1024, True)])
async def test_while_redis_is_away_what_fits_is_read_the_rest_waits(
    reading: Read, openfire: Openfire, redis_server: RedisServer, buffer_bytes: int, is_held: bool
) -> None:
    openfire.send_timeout_s = 600.0
    sent = trio.Event()
    # More than a connection holds.
    numbers = [f"{number:03}" for number in range(75)]

    def send() -> None:
        sender = openfire.state.login("bob").jid
        for number in numbers:
            with openfire.state.lock:
                given = {"to": "ann@example.org", "from": sender, "id": number, "body": number + "x" * 100_000}
                openfire.state.replay("ann", "message", **given)

    async def sending() -> None:
        await trio.to_thread.run_sync(send)
        sent.set()

    async with reading("ann", url=redis_server.url, lease_s=1.0, buffer_bytes=buffer_bytes) as reader:
        # Until then it is open, and perhaps not read: the server would wait for its reader with all of its state.
        await reader.receives("ann")
        stream = openfire.state.readers["ann"]
        redis_server.suspend()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sending)
            try:
                if is_held:
                    assert "restbroker reads no stream" in (await reader.warning("EventsHeld")).message
                else:
                    with trio.fail_after(60):
                        await sent.wait()
                await reader.warning("EventsWait")
                # Longer than the lease: nobody could have taken it.
                await trio.sleep(2.5)
            finally:
                redis_server.resume()
        await until_async(lambda: len(reader.texts()) == len(numbers), "all are jobs", 120)
        assert openfire.state.readers["ann"] is stream
        assert [text[:3] for text in reader.texts()] == numbers
        # Where Redis takes them slower than they come, it is full again afterwards.
        assert bool(reader.warnings("EventsHeld")) == is_held
