# ruff: noqa: SLF001 - a connection's socket, and whether Redis still owes it an answer
"""Taking and settling on Trio's own loop: it is what a thread would do, for whatever becomes of the answers."""

import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job.settlement import Ack, Dead
from restbroker.store import jobs
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.codes import Applied, Gone
from restbroker.store.connection import Connection
from restbroker.store.in_progress import read_jobs
from restbroker.store.jobs import FetchRequest, FetchResult, UnknownTickets
from restbroker.store.settling import FinishRequest
from tests.store.pools import FACTS, NAMESPACE, QUEUES, Server, on_both
from tests.store.proxy import LossyProxy
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async

WANTED = FetchRequest("h:1:abc:t", "t", QUEUES, base=0, count=5, hwm=2)


async def pool_on(settings: StoreSettings, timeout_s: float = 3.0) -> Connection:
    """A connection that is open, of an identity that is registered."""
    calls = Connection(open_client(settings, timeout_s))
    assert await calls.call(jobs.register, WANTED.identity, FACTS, QUEUES)
    return calls


@pytest.fixture
async def calls(server: Server) -> AsyncIterator[Connection]:
    opened = await pool_on(server.settings)
    # Redis has the script from here on.
    assert await opened.fetch(WANTED) == FetchResult((), frozenset(), frozenset())
    yield opened
    await opened.aclose()


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was given to threads."""
    begun: list[object] = []
    run_sync = trio.to_thread.run_sync

    async def noted(work: Callable[[], Any], **how: Any) -> Any:
        begun.append(work)
        return await run_sync(work, **how)

    monkeypatch.setattr(trio.to_thread, "run_sync", noted)
    return begun


def settled_by(*tickets: str) -> FinishRequest:
    """What settles these as done."""
    return FinishRequest(WANTED.identity, WANTED.target, QUEUES, 5, [(ticket, Ack()) for ticket in tickets])


def raws(got: jobs.FetchAnswer) -> list[bytes]:
    assert isinstance(got, FetchResult)
    return [job.raw for job in got.jobs]


async def test_a_fetch_connects_without_a_thread(server: Server, calls: Connection, threads: list[object]) -> None:
    await calls.call(Client.close)
    threads.clear()
    server.raw.lpush("ns:queue:a", "1")
    assert raws(await calls.fetch(WANTED)) == [b"1"]
    assert threads == []


async def test_too_long_settlement_is_sent_in_parts(server: Server, calls: Connection, threads: list[object]) -> None:
    server.raw.lpush("ns:queue:a", "1")
    await calls.fetch(WANTED)
    await calls.finish(settled_by("9:1"), 0.0)
    threads.clear()
    dead = attrs.evolve(settled_by(), items=[("1:1", Dead(1.0, b"x" * 10_000_000))])
    assert (await calls.finish(dead, 0.0))[0] == [Applied()]
    assert threads == []
    assert server.raw.zrange("ns:dead", 0, -1) == [b"x" * 10_000_000]


@on_both
async def test_settling_and_taking_in_one_call_needs_no_thread(
    server: Server, calls: Connection, threads: list[object]
) -> None:
    server.raw.lpush("ns:queue:a", *(str(number) for number in range(1, 9)))
    (first, second, *_) = raws(await calls.fetch(WANTED))
    await calls.finish(settled_by("1:1"), 0.0)  # Redis has the script of `finish` from here on
    threads.clear()
    codes, got = await calls.finish_and_fetch(settled_by("2:1"), 0.0, attrs.evolve(WANTED, base=5))
    assert codes == [Applied()]
    assert not isinstance(got, StoreRefused)
    assert (first, second, raws(got)) == (b"1", b"2", [b"6", b"7", b"8"])
    assert (await calls.finish(settled_by("3:1", "9:1"), 0.0))[0] == [Applied(), Gone()]
    assert threads == []
    assert (await calls.call(read_jobs, WANTED.identity)).jobs.keys() == {"4:1", "5:1", "6:1", "7:1", "8:1"}


@on_both
@pytest.mark.parametrize("forgotten", ["both", "finish", "fetch"])
async def test_only_commands_unknown_to_redis_are_run_again_of_a_batch(
    server: Server, calls: Connection, threads: list[object], forgotten: str
) -> None:
    server.raw.lpush("ns:queue:a", "1", "2", "3", "4", "5", "6")
    assert len(raws(await calls.fetch(WANTED))) == 5
    server.raw.script_flush()
    if forgotten == "fetch":
        await calls.finish(settled_by("9:1"), 0.0)
    elif forgotten == "finish":
        await calls.fetch(attrs.evolve(WANTED, base=5, count=0))
    threads.clear()
    codes, got = await calls.finish_and_fetch(settled_by("1:1"), 0.0, attrs.evolve(WANTED, base=5))
    assert not isinstance(got, StoreRefused)
    assert (codes, raws(got), threads) == ([Applied()], [b"6"], [])
    assert server.raw.get("ns:stat:processed") == b"1"


@pytest.mark.parametrize("key", ["pause:t", "sent:h:1:abc:t"])
async def test_refused_command_of_a_batch_leaves_the_others(server: Server, calls: Connection, key: str) -> None:
    server.raw.lpush("ns:queue:a", "1", "2", "3", "4", "5", "6")
    await calls.fetch(WANTED)
    server.raw.set(f"ns:restbroker:{key}", "a text")
    codes, got = await calls.finish_and_fetch(settled_by("1:1"), 0.0, attrs.evolve(WANTED, base=5))
    in_progress = (await calls.call(read_jobs, WANTED.identity)).jobs.keys()
    if key == "pause:t":
        assert isinstance(got, StoreRefused)
        assert key in (got.hint or "")
        assert (codes, "1:1" in in_progress) == ([Applied()], False)
    else:
        assert not isinstance(got, StoreRefused)
        assert isinstance(codes, StoreRefused)
        assert (raws(got), "1:1" in in_progress) == ([b"6"], True)


async def test_other_answers_outlive_a_cancelled_load_of_a_script(
    make_redis: Callable[..., RedisServer],
) -> None:
    own = make_redis()
    calls = await pool_on(StoreSettings(own.url, namespace=NAMESPACE))
    own.command("LPUSH ns:queue:a 1 2")
    await calls.fetch(attrs.evolve(WANTED, count=1))
    own.command("SCRIPT FLUSH")
    await calls.finish(settled_by("9:1"), 0.0)  # Redis has this one again, and not that of the fetch
    own.suspend()
    answers: list[tuple[Any, Any]] = []
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def ask() -> None:
            with scope:
                answers.append(await calls.finish_and_fetch(settled_by("1:1"), 0.0, attrs.evolve(WANTED, base=1)))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        own.resume()
    ((codes, got),) = answers
    assert (codes, raws(got)) == ([Applied()], [b"2"])
    await calls.aclose()


async def test_half_answered_pair_gives_no_answer_to_a_later_call(server: Server) -> None:
    with LossyProxy(server.process.port) as proxy:
        calls = await pool_on(StoreSettings(f"redis://127.0.0.1:{proxy.port}/0", namespace=NAMESPACE))
        none = FetchResult((), frozenset(), frozenset())
        assert await calls.finish_and_fetch(settled_by("9:1"), 0.0, WANTED) == ([Gone()], none)
        proxy.lose_next, proxy.keep_bytes = True, len(b"*1\r\n:0\r\n")
        with pytest.raises(StoreUnavailable):
            await calls.finish_and_fetch(settled_by("9:1"), 0.0, WANTED)
        assert not calls._client.is_waiting
        # The first one connects.
        for tickets in (["7:1"], ["7:1", "8:1"]):
            proxy.sent.clear()
            assert await calls.finish_and_fetch(settled_by(*tickets), 0.0, WANTED) == ([Gone()] * len(tickets), none)
        assert len(proxy.sent) == 1, "one round trip"
        await calls.aclose()


async def test_answer_in_pieces_may_take_longer_than_one_of_them() -> None:
    """Each piece has the connection's time-out; together they take more than that."""
    pieces = [b"*1\r\n:", b"0\r\n", b"*8\r\n$2\r\nOK\r\n*0\r\n", b"*0\r\n*0\r\n:0\r\n", b"$-1\r\n$-1\r\n:0\r\n"]
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            near, _ = listener.accept()
            with near:
                while b"EVALSHA" not in (got := near.recv(65536)):
                    near.sendall(b"+OK\r\n" * got.count(b"*"))
                for piece in pieces:
                    time.sleep(0.2)
                    near.sendall(piece)
                near.recv(65536)

        thread = threading.Thread(target=serve)
        thread.start()
        client = open_client(StoreSettings(f"redis://127.0.0.1:{listener.getsockname()[1]}/0"), 0.5)
        calls = Connection(client)
        await calls.call(Client.connect)
        got = await calls.finish_and_fetch(settled_by("9:1"), 0.0, WANTED)
        assert got == ([Gone()], FetchResult((), frozenset(), frozenset()))
        await calls.aclose()
        thread.join(5)


async def test_a_redis_that_is_a_replica_now_is_left(make_redis: Callable[..., RedisServer]) -> None:
    own = make_redis()
    calls = await pool_on(StoreSettings(own.url, namespace=NAMESPACE))
    await calls.fetch(WANTED)
    own.command("LPUSH ns:queue:a 1")
    own.command("REPLICAOF 127.0.0.1 1")
    with pytest.raises(StoreUnavailable, match="replica"):
        await calls.fetch(WANTED)
    assert not calls._client.is_open
    own.command("REPLICAOF NO ONE")
    assert raws(await calls.fetch(WANTED)) == [b"1"]
    await calls.aclose()


async def test_frozen_redis_is_bounded_and_its_late_work_is_found(
    make_redis: Callable[..., RedisServer],
) -> None:
    own = make_redis()
    calls = await pool_on(StoreSettings(own.url, namespace=NAMESPACE), timeout_s=0.8)
    await calls.fetch(WANTED)
    own.command("LPUSH ns:queue:a 1")
    own.suspend()
    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        await calls.fetch(WANTED)
    own.resume()
    assert await calls.fetch(WANTED) == UnknownTickets(1)
    await calls.aclose()


async def test_fetch_cancelled_in_flight_gets_its_answer_first(
    make_redis: Callable[..., RedisServer],
) -> None:
    own = make_redis()
    calls = await pool_on(StoreSettings(own.url, namespace=NAMESPACE))
    await calls.fetch(WANTED)
    own.command("LPUSH ns:queue:a 1")
    own.suspend()
    got: list[jobs.FetchAnswer] = []
    answers: list[object] = []
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def fetch() -> None:
            with scope:
                got.append(await calls.fetch(WANTED))
                await trio.lowlevel.checkpoint()

        async def ask() -> None:
            answers.append(await calls.call(Client.command, "PING"))

        nursery.start_soon(fetch)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask)
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert (got, answers) == ([], [])
        own.resume()
    assert scope.cancelled_caught
    assert raws(got[0]) == [b"1"]
    assert answers == [b"PONG"]
    await calls.aclose()


async def test_a_fetch_cancelled_before_its_turn_takes_nothing(server: Server, calls: Connection) -> None:
    server.raw.lpush("ns:queue:a", "1")
    begun, release = threading.Event(), threading.Event()

    def hold(_client: Client) -> None:
        begun.set()
        release.wait(5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(calls.call, hold)
        await until_async(begun.is_set, "another call runs")
        with trio.move_on_after(0.05) as scope:
            await calls.fetch(WANTED)
        release.set()
    assert scope.cancelled_caught
    assert server.raw.llen("ns:queue:a") == 1


async def test_fetch_failing_halfway_leaves_no_answer_for_the_next(
    server: Server, calls: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.raw.lpush("ns:queue:a", "1")

    async def interrupted(_descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(trio.lowlevel, "wait_readable", interrupted)
        await calls.fetch(WANTED)
    assert await calls.call(Client.command, "PING") == b"PONG"
    assert await calls.fetch(WANTED) == UnknownTickets(1)
