"""An idle pool waits for all its queues, and asks for no more than there is."""

from collections.abc import AsyncIterator, Collection
from functools import partial
from itertools import pairwise

import pytest
import trio

from restbroker.broker import acker
from restbroker.broker import queue_waiter as module
from restbroker.broker.queue_waiter import QueueWaiter
from restbroker.store import jobs, waiter
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.store.waiter import Waiter
from restbroker.telemetry.events import JobFinished
from restbroker.transport.message import Request, Response
from tests.broker.conftest import Harness, ok
from tests.support.redis_server import RedisServer
from tests.support.wait import NEVER_S, until_async

QUEUES = ("a", "b", "c")
NO_FETCH_STANDS = jobs.Limits(in_flight=1000)


@pytest.fixture(autouse=True)
def _long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends a wait here is what should, and not its time."""
    monkeypatch.setattr(module, "_WAIT_S", 3600.0)
    monkeypatch.setattr(module, "_REFUSED_WAIT_S", 3600.0)
    monkeypatch.setattr(waiter, "BLOCK_S", 3600.0)
    monkeypatch.setattr(acker, "_REFUSED_WAIT_S", 0.01)


@pytest.fixture
async def waiting(redis_server: RedisServer) -> AsyncIterator[QueueWaiter]:
    settings = StoreSettings(redis_server.url)
    waiters = {queue: Waiter(lambda: open_client(settings)) for queue in QUEUES}
    yield QueueWaiter(waiters)
    for one in waiters.values():
        one.close()


async def test_a_job_costs_an_idle_broker_no_fetch_but_the_one_that_stands(harness: Harness) -> None:
    fetches = 0

    class Counting(Connection):
        async def fetch(self, request: jobs.FetchRequest) -> jobs.FetchAnswer:
            nonlocal fetches
            fetches += 1
            return await super().fetch(request)

    harness.connect = lambda settings: Counting(open_client(settings))
    async with harness.broker():
        # After the first one a fetch stands anew, and is answered for a job only.
        for done in (1, 2):
            fetches = 0
            harness.push("safe", first=done)
            await harness.until(lambda done=done: len(harness.of(JobFinished)) == done, "it is settled")  # type: ignore[misc]
            await trio.sleep(0.2)
        assert fetches == 0


async def test_a_job_is_sent_before_the_next_is_waited_for(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    wait = QueueWaiter.wait

    async def noted(waiting: QueueWaiter, unreadable: Collection[str]) -> None:
        order.append("waits")
        await wait(waiting, unreadable)

    async def answer(request: Request) -> Response:
        order.append("sends")
        return await ok(request)

    class Noting(Connection):
        async def fetch(self, request: jobs.FetchRequest) -> jobs.FetchAnswer:
            got = await super().fetch(request)
            order.extend("takes" for _ in getattr(got, "jobs", ()))
            return got

    monkeypatch.setattr(QueueWaiter, "wait", noted)
    harness.connect = lambda settings: Noting(open_client(settings))
    harness.target.answer = answer
    harness.limits = NO_FETCH_STANDS
    async with harness.broker():
        # Often enough for it to be no luck: Trio takes those who can run in any order.
        for done in range(1, 13):
            harness.push("safe", first=done)
            await harness.until(lambda done=done: len(harness.of(JobFinished)) == done, "it is settled")  # type: ignore[misc]
    assert order.count("sends") == 12
    assert {after for before, after in pairwise(order) if before == "takes"} == {"sends"}


async def test_a_job_in_any_queue_ends_the_wait_and_the_other_questions_stay(
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


async def test_a_queue_that_cannot_be_waited_for_does_not_hide_the_others(
    waiting: QueueWaiter, redis_server: RedisServer
) -> None:
    redis_server.command("SET queue:a x")
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiting.wait, ())
            await trio.sleep(0.1)
            redis_server.command("LPUSH queue:b 1")
