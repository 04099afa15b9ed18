"""Threads: how many a connection, a waiter and the watch for a new master have, and who waits for them."""

import threading
from collections.abc import Callable

import attrs
import pytest
import trio
import trio.testing

from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store import connection
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.connection import Connection, MasterWatch, Waiter
from restbroker.store.sentinel import Sentinels
from tests.store.lanes import Server
from tests.store.test_connection import busy_threads
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async


@attrs.define(eq=False)
class Watched(Sentinels):
    """Each look ends with the next of `errors`, the others well; all wait for `let`."""

    errors: list[Exception] = attrs.field(factory=list)
    looks: int = 0
    let: threading.Event = attrs.field(factory=threading.Event)

    def look(self) -> None:
        self.looks += 1
        assert self.let.wait(60)
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def sentinels() -> Watched:
    return Watched("jobs", [], {}, {})


async def test_threads_of_others_hold_up_no_call_no_wait_and_no_look(server: Server, sentinels: Watched) -> None:
    others = trio.to_thread.current_default_thread_limiter()
    others.total_tokens = 1
    others.acquire_on_behalf_of_nowait(others)
    calls, waiter = Connection(open_client(server.settings)), Waiter(lambda: open_client(server.settings))
    server.raw.lpush("ns:queue:a", "1")
    sentinels.let.set()
    with trio.fail_after(20):
        assert await calls.call(Client.command, "PING") == b"PONG"
        assert await waiter.wait("a", 20.0)
        async with trio.open_nursery() as nursery:
            await nursery.start(MasterWatch(sentinels).run)
            await until_async(lambda: sentinels.looks, "it looks")
            nursery.cancel_scope.cancel()
        await calls.aclose()
    waiter.close()


async def test_who_is_cancelled_closes_its_connection_all_the_same(server: Server) -> None:
    client = open_client(server.settings)
    calls = Connection(client)
    await calls.call(Client.connect)
    with trio.CancelScope() as scope:
        scope.cancel()
        await calls.aclose()
    assert not client.is_open


async def test_a_waiter_that_cannot_connect_has_one_thread_however_often_it_is_asked(
    make_redis: Callable[..., RedisServer],
) -> None:
    own = make_redis()
    waiter = Waiter(lambda: open_client(StoreSettings(own.url), timeout_s=20.0))
    own.suspend()
    for _ in range(3):
        assert not await waiter.wait("a", 0.05)
    await until_async(busy_threads, "it is connecting")
    assert busy_threads() == 1
    own.resume()
    await until_async(lambda: not busy_threads(), "that one is done")
    own.command("LPUSH queue:a 1")
    assert await waiter.wait("a", 20.0)
    waiter.close()


async def test_the_watch_goes_on_when_nobody_leads_to_a_master(
    sentinels: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LOOK_EVERY_S", 0.01)
    sentinels.errors = [StoreUnavailable("Nobody answers."), StoreRefused("It may not ask.")]
    sentinels.let.set()
    async with trio.open_nursery() as nursery:
        await nursery.start(MasterWatch(sentinels).run)
        await until_async(lambda: sentinels.looks >= 4, "it looks again and again")
        nursery.cancel_scope.cancel()
    assert not sentinels.errors


async def test_the_watch_ends_while_a_look_goes_on(sentinels: Watched) -> None:
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(MasterWatch(sentinels).run)
            await until_async(lambda: sentinels.looks, "it looks")
            nursery.cancel_scope.cancel()
    sentinels.let.set()
