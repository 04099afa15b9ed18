# ruff: noqa: SLF001 - whether a wait has asked yet, and where threads stand
"""Threads under Trio: waits take nothing, end when cancelled, and leave nobody behind."""

import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from types import FrameType

import attrs
import pytest
import trio
import trio.testing

from restbroker.config.secret import Secret
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.store import heartbeats, jobs, queues
from restbroker.store.client import Client, ScriptCall, StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.store.jobs import FetchRequest, FetchResult
from tests.store.pools import FACTS, QUEUES, Server, redis_over_tls
from tests.support.redis_server import RedisServer
from tests.support.wait import NEVER_S, until_async


def _end_refreshes(calls: Connection, refreshes: str) -> ScriptCall:
    return "roster_end", [calls.keys.roster_dirty, refreshes], ["holder", "john", "0"]


def busy_threads() -> int:
    """Trio keeps idle threads for 10 s; a busy one is in an exchange."""
    return sum(_in_store(frame) for frame in sys._current_frames().values())


def _in_store(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "_exchange":
            return True
        frame = frame.f_back
    return False


async def test_a_call_runs_in_a_thread_and_its_error_passes_through(server: Server) -> None:
    calls = Connection(open_client(server.settings))
    threads: list[int] = []

    def work(client: Client, value: bytes, *, times: int) -> bytes:
        threads.append(threading.get_ident())
        assert client.command("ECHO", value) == value
        return value * times

    assert await calls.call(work, b"x", times=2) == b"xx"
    assert threads != [threading.get_ident()]
    server.raw.set("ns:queue:a", "x")
    with pytest.raises(StoreRefused, match="WRONGTYPE"):
        await calls.call(queues.push, "a", [b"1"])
    await calls.aclose()


async def test_script_runs_without_a_thread_and_its_refusal_is_raised(server: Server) -> None:
    calls = Connection(open_client(server.settings))
    ending = _end_refreshes(calls, calls.keys.roster_refreshes)
    threads = threading.active_count()
    assert await calls.run(ending) == 0
    assert threading.active_count() <= threads
    server.raw.set(calls.keys.roster_refreshes, "no hash")
    with pytest.raises(StoreRefused):
        await calls.run(ending)
    await calls.aclose()


async def test_joined_calls_share_a_connection_and_get_their_answers(
    server: Server,
) -> None:
    """They do so also where Redis lacks a script."""
    first, *others = all_calls = [Connection(open_client(server.settings)) for _ in range(4)]
    for other in others:
        other.join(first)
    found: dict[int, object] = {}
    with closing(open_client(server.settings)) as client:
        for name in ("a", "b"):
            assert jobs.register(client, f"h:{name}", FACTS, QUEUES)
            queues.push(client, name, [name.encode()])
    server.raw.script_flush()
    server.raw.set("ns:odd", "no hash")

    async def note(place: int, call: Callable[[], Awaitable[object]]) -> None:
        try:
            found[place] = await call()
        except StoreRefused as error:
            found[place] = error

    def take(name: str) -> FetchRequest:
        return FetchRequest(identity=f"h:{name}", target="t", queues=(name,), base=0, count=1, hwm=0)

    wrong, right = [_end_refreshes(first, key) for key in ("ns:odd", first.keys.roster_refreshes)]
    rest: list[Callable[[], Awaitable[object]]] = [
        partial(others[0].run, wrong),
        partial(others[1].fetch, take("b")),
        partial(others[2].run, right),
    ]
    with trio.fail_after(NEVER_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(note, 0, partial(first.fetch, take("a")))
            # The rest goes together then, and Redis knows one of its two scripts.
            await trio.testing.wait_all_tasks_blocked()
            for place, call in enumerate(rest, 1):
                nursery.start_soon(note, place, call)
    taken = [found[0], found[2]]
    assert [[job.raw for job in answer.jobs] for answer in taken if isinstance(answer, FetchResult)] == [[b"a"], [b"b"]]
    assert isinstance(found[1], StoreRefused)
    assert found[3] == 0
    assert [scripts._client.is_open for scripts in all_calls] == [True, False, False, False]
    for scripts in all_calls:
        await scripts.aclose()


async def test_failed_or_abandoned_call_holds_up_no_other(
    make_redis: Callable[..., RedisServer],
) -> None:
    own = make_redis()
    # It has to wait for an answer before it is connected.
    calls = Connection(open_client(StoreSettings(own.url.removesuffix("0") + "1")))
    ending, scope, answers = _end_refreshes(calls, calls.keys.roster_refreshes), trio.CancelScope(), list[object]()

    async def call(within: trio.CancelScope) -> None:
        with within:
            answers.append(await calls.run(ending))

    own.suspend()
    with trio.fail_after(NEVER_S):
        async with trio.open_nursery() as nursery:
            for cancelled in (scope, trio.CancelScope()):
                nursery.start_soon(call, cancelled)
                await trio.testing.wait_all_tasks_blocked(0.01)
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked(0.01)
            own.resume()
        assert scope.cancelled_caught
        assert answers == [0]
        own.kill()
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await calls.run(ending)
        own.start()
        assert await calls.run(ending) == 0
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


@pytest.mark.promise("Defects of the Go original", "Redis could have no password and no TLS")
@pytest.mark.promise("Security: who controls DNS, or the network between", "to be Redis")
def test_redis_with_a_bad_certificate_gets_no_password(make_redis: Callable[..., RedisServer], tmp_path: Path) -> None:
    """It is not trusted, or names another host."""
    reached, own = redis_over_tls(make_redis, tmp_path, "stranger")
    for trusted in (None, tmp_path / "ca.pem", tmp_path / "stranger.pem"):
        settings = attrs.evolve(reached, password=Secret("hunter2"), ca_file=trusted)
        with pytest.raises(StoreUnavailable, match="certificate verify failed") as caught:
            open_client(settings).command("PING")
        assert "hunter2" not in str(caught.value)
    assert "cmdstat_auth" not in own.command("INFO commandstats")


async def test_redis_without_client_serves_and_one_without_login_fails(
    make_redis: Callable[..., RedisServer],
) -> None:
    """The connection's name is decoration; some proxies hide the command that gives it."""
    server = make_redis(rename_command='CLIENT ""')
    with closing(open_client(StoreSettings(server.url))) as client:
        assert client.command("PING") == b"PONG"
    locked = make_redis(rename_command='CLIENT ""', requirepass="pw")
    with closing(open_client(StoreSettings(locked.url))) as client, pytest.raises(StoreUnavailable, match="login"):
        client.command("PING")


def test_a_redis_without_script_load_is_named_by_that(make_redis: Callable[..., RedisServer]) -> None:
    """Else its scripts would seem to be removed again and again."""
    server = make_redis(rename_command='SCRIPT ""')
    with closing(open_client(StoreSettings(server.url))) as client, pytest.raises(StoreRefused, match="SCRIPT"):
        heartbeats.fence(client, "nobody", 0)
