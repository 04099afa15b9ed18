"""Threads under Trio: waits take nothing, end when cancelled, and leave nobody behind."""

import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType

import pytest
import redis
import trio

from restbroker.config.secret import Secret
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store import connection, queues
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.connection import Connection, Waiter
from restbroker.store.sentinel import open_sentinels
from tests.store.lanes import Server
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.sentinel import MASTER, PASSWORD, Group, start_group
from tests.support.wait import NEVER_S, until_async
from tests.transport.authority import authority


@pytest.fixture
def _long_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends a wait is what should, and not the time of its question."""
    monkeypatch.setattr(connection, "BLOCK_S", 600.0)


@asynccontextmanager
async def waiter_on(settings: StoreSettings) -> AsyncIterator[Waiter]:
    waiter = Waiter(lambda: open_client(settings))
    try:
        yield waiter
    finally:
        waiter.close()


def blocked(server: Server) -> Callable[[], bool]:
    return lambda: server.raw.info("clients")["blocked_clients"] == 1


async def asks(waiter: Waiter) -> None:
    """Returns when a wait that is over has connected, and asked."""
    patience_s = 0.05
    with trio.fail_after(NEVER_S):
        while waiter._client is None or not waiter._client.is_asked:
            assert not await waiter.wait("a", patience_s)
            # One that is over before it has connected begins anew.
            patience_s *= 2


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
    calls = Connection(open_client(server.settings))
    seen: list[int] = []

    def work(client: Client, value: bytes, *, times: int) -> bytes:
        seen.append(threading.get_ident())
        assert client.command("ECHO", value) == value
        return value * times

    assert await calls.call(work, b"x", times=2) == b"xx"
    assert seen != [threading.get_ident()]
    server.raw.set("ns:queue:a", "x")
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        await calls.call(queues.push, "a", [b"1"])
    await calls.aclose()


async def test_a_cancelled_call_ends_and_its_result_is_kept(server: Server) -> None:
    calls = Connection(open_client(server.settings))
    started = threading.Event()

    def slow(client: Client) -> str:
        client.command("PING")
        started.set()
        client.command("BLPOP", "ns:nothing", "0.2")
        return "done"

    results: list[str] = []
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                results.append(await calls.call(slow))

            nursery.start_soon(run)
            await until_async(started.is_set, "the call began")
            scope.cancel()
    assert results == ["done"]
    await calls.aclose()


@pytest.mark.usefixtures("_long_questions")
async def test_a_wait_on_an_empty_queue_ends_with_nothing(server: Server) -> None:
    async with waiter_on(server.settings) as waiter:
        with trio.fail_after(20):
            assert not await waiter.wait("a", 0.05)
            assert not await waiter.wait("a", 0)


@pytest.mark.usefixtures("_long_questions")
async def test_a_wait_is_ended_by_a_job_and_leaves_it_where_it_is(server: Server) -> None:
    server.raw.sadd("ns:queues", "a")
    async with waiter_on(server.settings) as waiter, trio.open_nursery() as nursery:
        answers: list[bool] = []

        async def wait() -> None:
            answers.append(await waiter.wait("a", 600.0))

        nursery.start_soon(wait)
        await until_async(blocked(server), "the waiter blocks")
        server.raw.lpush("ns:queue:a", "1", "2", "3")
        await until_async(lambda: answers, "the wait ended")
        assert answers == [True]
        assert await waiter.wait("a", 20.0)
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"3", b"2", b"1"]


@pytest.mark.usefixtures("_long_questions")
async def test_a_job_wakes_every_waiter(server: Server) -> None:
    async with waiter_on(server.settings) as one, waiter_on(server.settings) as two, trio.open_nursery() as nursery:
        answers: list[bool] = []

        async def wait(waiter: Waiter) -> None:
            answers.append(await waiter.wait("a", 600.0))

        nursery.start_soon(wait, one)
        nursery.start_soon(wait, two)
        await until_async(lambda: server.raw.info("clients")["blocked_clients"] == 2, "both block")
        server.raw.lpush("ns:queue:a", "1")
        await until_async(lambda: len(answers) == 2, "both waits ended")
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"1"]


@pytest.fixture
def over_tls(make_redis: Callable[..., RedisServer], tmp_path: Path) -> tuple[StoreSettings, RedisServer]:
    made, port = authority(tmp_path), free_port()
    certificate, key = made.pair("server")
    own = make_redis(tls_port=str(port), tls_auth_clients="no", tls_cert_file=str(certificate), tls_key_file=str(key))
    return StoreSettings(f"rediss://127.0.0.1:{port}/0", ca_file=made.ca), own


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    group = start_group(tmp_path)
    yield group
    group.close()


@pytest.mark.usefixtures("_long_questions")
async def test_a_cancelled_wait_ends_at_once_and_its_question_serves_the_next(server: Server) -> None:
    async with waiter_on(server.settings) as waiter:
        for _ in range(20):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(waiter.wait, "a", 600.0)
                    await until_async(blocked(server), "the waiter blocks")
                    cancelled_at = trio.current_time()
                    scope.cancel()
            assert scope.cancelled_caught
            assert trio.current_time() - cancelled_at < 10
        assert blocked(server)()
        server.raw.lpush("ns:queue:a", "1")
        assert await waiter.wait("a", 20.0)
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"1"]


async def test_a_wait_needs_no_thread(server: Server) -> None:
    async with waiter_on(server.settings) as waiter, trio.open_nursery() as nursery:
        nursery.start_soon(waiter.wait, "a", 0.3)
        await until_async(blocked(server), "the waiter blocks")
        assert busy_threads() == 0


@pytest.mark.usefixtures("_long_questions")
async def test_an_answer_to_a_wait_that_is_over_is_told_once_and_no_more(server: Server) -> None:
    async with waiter_on(server.settings) as waiter:
        await asks(waiter)
        await until_async(blocked(server), "the question is there")
        server.raw.lpush("ns:queue:a", "1")
        assert server.raw.rpop("ns:queue:a") == b"1"
        assert await waiter.wait("a", 20.0)
        assert not await waiter.wait("a", 0.05)


@pytest.mark.usefixtures("_long_questions")
async def test_a_closed_waiter_leaves_nothing_behind_in_redis(server: Server) -> None:
    async with waiter_on(server.settings) as waiter:
        await asks(waiter)
        await until_async(blocked(server), "the question is there")
    await until_async(lambda: server.raw.info("clients")["blocked_clients"] == 0, "Redis lets the question go")


@pytest.mark.usefixtures("_long_questions")
@pytest.mark.parametrize("steps", range(8))
async def test_a_wait_cancelled_at_any_early_moment_ends_soon(server: Server, steps: int) -> None:
    async with waiter_on(server.settings) as waiter:
        started_at = trio.current_time()
        with trio.move_on_after(steps / 2000):
            await waiter.wait("a", 600.0)
        assert trio.current_time() - started_at < 10
        server.raw.lpush("ns:queue:a", "1")
        assert await waiter.wait("a", 20.0)
    await until_async(lambda: busy_threads() == 0, "who was connecting is done")


async def test_a_wait_can_be_cancelled_while_redis_is_frozen(make_redis: Callable[..., RedisServer]) -> None:
    own = make_redis()
    async with waiter_on(StoreSettings(own.url)) as waiter, waiter_on(StoreSettings(own.url)) as unconnected:
        await asks(waiter)
        own.suspend()
        cancelled_at = trio.current_time()
        for one in (waiter, unconnected):
            assert not await one.wait("a", 0.05)
        assert trio.current_time() - cancelled_at < 2, "Redis is given 3 s"
        own.resume()
        assert not await waiter.wait("a", 0.05)


async def test_an_answer_that_is_overdue_ends_the_connection(
    make_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BLOCK_S", 0.2)
    own = make_redis()
    async with waiter_on(StoreSettings(own.url)) as waiter:
        await asks(waiter)
        own.suspend()
        with pytest.raises(StoreUnavailable, match="did not answer in time"):
            await waiter.wait("a", 60.0)
        own.resume()
        assert not await waiter.wait("a", 0.3), "its question is asked again, over a new connection"
        own.command("LPUSH queue:a 1")
        assert await waiter.wait("a", 20.0)


async def test_a_wait_whose_connection_is_killed_fails_and_the_next_has_another(server: Server) -> None:
    async with waiter_on(server.settings) as waiter:
        await asks(waiter)
        server.raw.client_kill_filter(_type="normal", skipme=True)
        with pytest.raises(StoreUnavailable):
            await waiter.wait("a", 1.0)
        assert not await waiter.wait("a", 0.05)


async def test_a_large_job_wakes_too_over_tls_as_well(over_tls: tuple[StoreSettings, RedisServer]) -> None:
    settings, own = over_tls
    raw = redis.Redis(port=own.port)
    async with waiter_on(settings) as tls, waiter_on(StoreSettings(own.url)) as plain:
        for waiter in (tls, plain):
            await asks(waiter)
        raw.lpush("queue:a", b"x" * 3_000_000)
        for waiter in (tls, plain):
            assert await waiter.wait("a", 20.0)
        raw.delete("queue:a")
        for waiter in (tls, plain):
            assert not await waiter.wait("a", 0.05)
    raw.close()


@pytest.mark.parametrize("trusted", [None, "ca", "stranger"])
def test_a_redis_whose_certificate_is_not_trusted_or_names_another_host_is_told_no_password(
    make_redis: Callable[..., RedisServer], tmp_path: Path, trusted: str | None
) -> None:
    made, port = authority(tmp_path), free_port()
    certificate, key = made.pair("stranger")
    own = make_redis(tls_port=str(port), tls_auth_clients="no", tls_cert_file=str(certificate), tls_key_file=str(key))
    ca = None if trusted is None else tmp_path / f"{trusted}.pem"
    client = open_client(StoreSettings(f"rediss://127.0.0.1:{port}/0", password=Secret("hunter2"), ca_file=ca))
    with pytest.raises(StoreUnavailable, match="certificate verify failed") as caught:
        client.command("PING")
    assert "hunter2" not in str(caught.value)
    assert "cmdstat_auth" not in own.command("INFO commandstats")


async def test_a_wait_goes_to_the_new_master(group: Group) -> None:
    secret = Secret(PASSWORD)
    settings = StoreSettings("redis://unused", sentinels=group.addresses, master=MASTER, sentinel_password=secret)
    sentinels = open_sentinels(settings)
    assert sentinels is not None
    waiter = Waiter(lambda: open_client(settings, sentinels=sentinels))
    await asks(waiter)
    first = sentinels.named
    group.failover()

    def moved() -> bool:
        sentinels.look()
        return sentinels.named != first

    await until_async(moved, "the sentinels name another master", timeout_s=20)
    group.replica.command("LPUSH queue:a 1")
    assert await waiter.wait("a", 20.0)
    waiter.close()


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
