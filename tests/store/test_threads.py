"""Threads: how many a connection, a waiter and the watch for a new master have, and what waits for them."""

import socket
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store import connection
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.connection import Connection, MasterWatch
from restbroker.store.redis import Lookup, Steps
from restbroker.store.sentinel import Address, Sentinels
from restbroker.store.settings import Endpoint
from tests.store.pools import Server
from tests.store.test_connection import busy_threads
from tests.store.test_standing import registered, standing_on
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async


@attrs.define(eq=False)
class Watched(Sentinels):
    """Each look ends with the next of `errors`, the others well."""

    errors: list[Exception] = attrs.field(factory=list)
    looks: int = 0

    def check_master(self) -> Steps[None]:
        self.looks += 1
        yield Lookup(lambda: None)
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def sentinels() -> Watched:
    return Watched("jobs", [], Endpoint(), Endpoint())


async def test_threads_of_others_hold_up_no_call(server: Server) -> None:
    others = trio.to_thread.current_default_thread_limiter()
    others.total_tokens = 1
    others.acquire_on_behalf_of_nowait(others)
    calls = Connection(open_client(server.settings))
    with trio.fail_after(20):
        assert await calls.call(Client.command, "PING") == b"PONG"
        await calls.aclose()


async def test_cancelled_call_still_closes_its_connection(server: Server) -> None:
    client = open_client(server.settings)
    calls = Connection(client)
    await calls.call(Client.connect)
    with trio.CancelScope() as scope:
        scope.cancel()
        await calls.aclose()
    assert not client.is_open


async def test_a_call_that_connects_is_cancelled_at_once() -> None:
    """A Redis that accepts and is silent, as one that is suspended: a stop does not wait for its time-out."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        calls = Connection(open_client(StoreSettings(f"redis://127.0.0.1:{silent.getsockname()[1]}/0"), timeout_s=60.0))
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(calls.call, Client.command, "PING")
                accepted, _ = await trio.to_thread.run_sync(silent.accept)
                with accepted:
                    nursery.cancel_scope.cancel()
            await calls.aclose()


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_unconnected_waiter_leaves_no_thread_and_no_socket(
    make_redis: Callable[..., RedisServer],
) -> None:
    own = make_redis()
    settings = StoreSettings(own.url)
    registered(settings)
    async with standing_on(settings) as one:
        own.suspend()
        before = descriptors()
        for _ in range(3):
            with trio.move_on_after(0.05) as scope:
                await one.begin()
            assert scope.cancelled_caught
        assert (busy_threads(), descriptors()) == (0, before)
        own.resume()
        own.command("LPUSH queue:a job")
        await one.stand("me")
        assert await one.jobs() == [("1:1", b"job")]


async def test_watch_goes_on_while_no_sentinel_knows_a_master(
    sentinels: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOOK_EVERY_S", 0.01)
    sentinels.errors = [StoreUnavailable("Nobody answers."), StoreRefused("It may not ask.")]
    async with trio.open_nursery() as nursery:
        await nursery.start(MasterWatch(sentinels).run)
        await until_async(lambda: sentinels.looks >= 4, "it looks again and again")
        nursery.cancel_scope.cancel()
    assert not sentinels.errors


async def test_the_watch_ends_at_once_while_no_sentinel_answers(make_redis: Callable[..., RedisServer]) -> None:
    own = make_redis()
    own.suspend()
    endpoint = Endpoint(timeout_s=60.0, connect_timeout_s=60.0)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(
                MasterWatch(Sentinels("jobs", [Address("127.0.0.1", own.port)], endpoint, endpoint)).run
            )
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    own.resume()
