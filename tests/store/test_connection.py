"""Threads under Trio: waits take nothing, end when cancelled, and leave nobody behind."""

import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType

import pytest
import trio

from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store import queues
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.connection import Connection, Waiter
from tests.store.lanes import Server
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async


@asynccontextmanager
async def waiter_on(settings: StoreSettings) -> AsyncIterator[Waiter]:
    control = Connection(open_client(settings, timeout_s=1.0))
    waiter = Waiter(open_client(settings), control)
    try:
        yield waiter
    finally:
        await waiter.aclose()
        await control.aclose()


def blocked(server: Server) -> Callable[[], bool]:
    return lambda: server.raw.info("clients")["blocked_clients"] == 1


def busy_threads() -> int:
    """Trio keeps idle threads for 10 s; a busy one is in redis-py."""
    return sum(_in_store(frame) for frame in sys._current_frames().values())


def _in_store(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "_exchange":
            return True
        frame = frame.f_back
    return False


async def test_a_call_runs_in_a_thread_and_its_error_passes_through(server: Server) -> None:
    connection = Connection(open_client(server.settings))
    seen: list[int] = []

    def work(client: Client, value: bytes, *, times: int) -> bytes:
        seen.append(threading.get_ident())
        assert client.command("ECHO", value) == value
        return value * times

    assert await connection.call(work, b"x", times=2) == b"xx"
    assert seen != [threading.get_ident()]
    server.raw.set("ns:queue:a", "x")
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        await connection.call(queues.push, "a", [b"1"])
    await connection.aclose()


async def test_a_cancelled_call_ends_and_its_result_is_kept(server: Server) -> None:
    connection = Connection(open_client(server.settings))
    started = threading.Event()

    def slow(client: Client) -> str:
        client.identify()
        started.set()
        client.command("BLPOP", "ns:nothing", "0.2")
        return "done"

    results: list[str] = []
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                results.append(await connection.call(slow))

            nursery.start_soon(run)
            await until_async(started.is_set, "the call began")
            scope.cancel()
    assert results == ["done"]
    await connection.aclose()


async def test_a_wait_on_an_empty_queue_ends_with_nothing(server: Server) -> None:
    async with waiter_on(server.settings) as waiter:
        with trio.fail_after(1):
            assert not await waiter.wait("a", 0.05)
            assert not await waiter.wait("a", 0)


async def test_a_wait_is_ended_by_a_job_and_leaves_it_where_it_is(server: Server) -> None:
    server.raw.sadd("ns:queues", "a")
    async with waiter_on(server.settings) as waiter, trio.open_nursery() as nursery:
        answers: list[bool] = []

        async def wait() -> None:
            answers.append(await waiter.wait("a", 2.0))

        nursery.start_soon(wait)
        await until_async(blocked(server), "the waiter blocks")
        server.raw.lpush("ns:queue:a", "1", "2", "3")
        await until_async(lambda: answers, "the wait ended", timeout_s=0.5)
        assert answers == [True]
        assert await waiter.wait("a", 2.0)
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"3", b"2", b"1"]


async def test_a_job_wakes_every_waiter(server: Server) -> None:
    async with waiter_on(server.settings) as one, waiter_on(server.settings) as two, trio.open_nursery() as nursery:
        answers: list[bool] = []

        async def wait(waiter: Waiter) -> None:
            answers.append(await waiter.wait("a", 2.0))

        nursery.start_soon(wait, one)
        nursery.start_soon(wait, two)
        await until_async(lambda: server.raw.info("clients")["blocked_clients"] == 2, "both block")
        server.raw.lpush("ns:queue:a", "1")
        await until_async(lambda: len(answers) == 2, "both waits ended", timeout_s=0.5)
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"1"]


async def test_a_cancelled_wait_ends_within_100_ms_and_takes_no_job(server: Server) -> None:
    async with waiter_on(server.settings) as waiter:
        for _ in range(20):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(waiter.wait, "a", 2.0)
                    await until_async(blocked(server), "the waiter blocks")
                    cancelled_at = trio.current_time()
                    scope.cancel()
            assert scope.cancelled_caught
            assert trio.current_time() - cancelled_at < 0.1
        server.raw.lpush("ns:queue:a", "1")
        assert await waiter.wait("a", 1.0)
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"1"]
    assert busy_threads() == 0


@pytest.mark.parametrize("steps", range(8))
async def test_a_wait_cancelled_at_any_early_moment_ends_soon(server: Server, steps: int) -> None:
    async with waiter_on(server.settings) as waiter:
        started_at = trio.current_time()
        with trio.move_on_after(steps / 2000):
            await waiter.wait("a", 2.0)
        assert trio.current_time() - started_at < 0.15
    assert busy_threads() == 0


async def test_a_wait_cancelled_while_redis_is_frozen_ends_within_the_bound(
    make_redis: Callable[..., RedisServer],
) -> None:
    own = make_redis()
    async with waiter_on(StoreSettings(own.url)) as waiter:
        assert not await waiter.wait("a", 0.05)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(waiter.wait, "a", 2.0)
                await until_async(lambda: "blocked_clients:1" in own.command("INFO clients"), "the waiter blocks")
                own.suspend()
                cancelled_at = trio.current_time()
                scope.cancel()
        took_s = trio.current_time() - cancelled_at
        assert 0.1 < took_s < 1.5
        assert busy_threads() == 0
        own.resume()
        assert not await waiter.wait("a", 0.05)


async def test_a_wait_on_a_redis_that_goes_away_fails_as_itself(make_redis: Callable[..., RedisServer]) -> None:
    own = make_redis()
    async with waiter_on(StoreSettings(own.url)) as waiter:
        own.stop()
        with pytest.raises(StoreUnavailable):
            await waiter.wait("a", 1.0)
        own.start()
        assert not await waiter.wait("a", 0.05)


async def test_a_wait_on_what_is_no_list_is_refused(server: Server) -> None:
    server.raw.set("ns:queue:a", "x")
    async with waiter_on(server.settings) as waiter:
        with pytest.raises(StoreRefused, match="WRONGTYPE"):
            await waiter.wait("a", 1.0)
