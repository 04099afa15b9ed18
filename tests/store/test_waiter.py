"""How long a wait takes, and when an answer is overdue: by a clock that stands until nothing else is to be done."""

import gc
import socket
from collections.abc import Callable, Iterator

import pytest
import trio
import trio.testing

from restbroker.errors import StoreUnavailable
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.waiter import Waiter
from tests.store.pools import Server
from tests.support.redis_server import RedisServer


@pytest.fixture
def waiter(server: Server) -> Iterator[Waiter]:
    waiter = Waiter(lambda: open_client(server.settings))
    yield waiter
    waiter.close()


async def connected(server: Server, waiter: Waiter, clock: trio.testing.MockClock) -> None:
    """From here on the clock jumps to the next deadline: Redis has no time to answer that nothing came."""
    server.raw.lpush("ns:queue:a", "1")
    assert await waiter.wait("a", 1.0)
    server.raw.delete("ns:queue:a")
    clock.autojump_threshold = 0


async def test_a_wait_takes_as_long_as_it_may_and_a_moment_at_least(
    server: Server, waiter: Waiter, mock_clock: trio.testing.MockClock
) -> None:
    await connected(server, waiter, mock_clock)
    for wait_s, takes_s in ((-1.0, 0.01), (0.0, 0.01), (0.3, 0.3), (1.2, 1.2)):
        began_s = trio.current_time()
        assert not await waiter.wait("a", wait_s)
        assert trio.current_time() - began_s == pytest.approx(takes_s)


async def test_redis_has_a_second_more_to_answer_than_the_wait(
    server: Server, waiter: Waiter, mock_clock: trio.testing.MockClock
) -> None:
    await connected(server, waiter, mock_clock)
    began_s = trio.current_time()
    assert not await waiter.wait("a", 2.9)
    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        await waiter.wait("a", 60.0)
    assert 3.0 < trio.current_time() - began_s < 3.6


async def test_wait_reconnects_after_each_outage(make_redis: Callable[..., RedisServer]) -> None:
    own = make_redis()
    waiter = Waiter(lambda: open_client(StoreSettings(own.url)))
    assert not await waiter.wait("a", 0.05)
    own.stop()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await waiter.wait("a", 20.0)
    own.start()
    own.command("LPUSH queue:a 1")
    assert await waiter.wait("a", 20.0)
    waiter.close()


async def test_wait_cancelled_while_connecting_leaves_none_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(10)
        waiter = Waiter(lambda: open_client(StoreSettings(f"redis://127.0.0.1:{silent.getsockname()[1]}")))
        theirs: list[socket.socket] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter.wait, "a", 20.0)
            theirs.append((await trio.to_thread.run_sync(silent.accept))[0])
            nursery.cancel_scope.cancel()
        # A wait that connects in vain would close it as well, and a collection of garbage might.
        gc.disable()
        try:
            with theirs[0] as here:
                here.settimeout(10)
                here.sendall(b"+OK\r\n" * 3)
                while here.recv(4096):
                    pass
        finally:
            gc.enable()
    waiter.close()
