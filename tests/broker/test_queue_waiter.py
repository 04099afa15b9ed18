"""An idle pool waits for all its queues, and asks for no more than there is."""

from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio

from restbroker.broker import acker
from restbroker.broker import queue_waiter as module
from restbroker.broker.queue_waiter import QueueWaiter
from restbroker.store import waiter
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.waiter import Waiter
from tests.support.redis_server import RedisServer
from tests.support.wait import NEVER_S, until_async

QUEUES = ("a", "b", "c")


@pytest.fixture(autouse=True)
def _long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends a wait here is what should, and not its time."""
    monkeypatch.setattr(module, "_WAIT_S", 3600.0)
    monkeypatch.setattr(module, "REFUSED_WAIT_S", 3600.0)
    monkeypatch.setattr(waiter, "BLOCK_S", 3600.0)
    monkeypatch.setattr(acker, "_REFUSED_WAIT_S", 0.01)


@pytest.fixture
async def waiting(redis_server: RedisServer) -> AsyncIterator[QueueWaiter]:
    settings = StoreSettings(redis_server.url)
    waiters = {queue: Waiter(lambda: open_client(settings)) for queue in QUEUES}
    yield QueueWaiter(waiters)
    for one in waiters.values():
        one.close()


async def test_job_in_any_queue_ends_the_wait_and_other_waits_stay(
    waiting: QueueWaiter, redis_server: RedisServer
) -> None:
    def blocked(count: int) -> bool:
        return f"blocked_clients:{count}\r" in redis_server.command("INFO clients")

    for queue in (*QUEUES, *QUEUES):
        with trio.fail_after(NEVER_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(waiting.wait, ())
                await until_async(partial(blocked, 3), "each queue is waited for")
                redis_server.command(f"LPUSH queue:{queue} 1")
        redis_server.command(f"DEL queue:{queue}")
        assert blocked(2)


async def test_a_queue_that_is_left_out_ends_no_wait(waiting: QueueWaiter, redis_server: RedisServer) -> None:
    redis_server.command("LPUSH queue:a 1")
    for left_out in (("a",), ("a", "b"), QUEUES):
        with trio.move_on_after(0.1) as scope:
            await waiting.wait(left_out)
        assert scope.cancelled_caught


async def test_queue_that_cannot_be_awaited_does_not_hide_the_others(
    waiting: QueueWaiter, redis_server: RedisServer
) -> None:
    redis_server.command("SET queue:a x")
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiting.wait, ())
            await trio.sleep(0.1)
            redis_server.command("LPUSH queue:b 1")
