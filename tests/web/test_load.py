# ruff: noqa: SLF001 - whether and how long the server waits for one who does not read
"""Streams of changes, and pages under load, over real sockets: two hundred, readers that do not read, and stops.

Nothing is timed but the CPU. Where something has to be quick, what it could wait for is made to last long.
"""

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import chain, repeat

import attrs
import pytest
import trio

from restbroker.operate import find
from restbroker.operate.context import ConfigContext
from restbroker.serving import runner
from restbroker.serving.connections import STALLED_S
from restbroker.store.client import StoreSettings, open_client
from restbroker.telemetry.events import JobFinished, StoreLost
from restbroker.web.live import MOST_STREAMS
from restbroker.web.render import Renderer
from restbroker.web.watch import State
from tests.broker.conftest import Harness
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async
from tests.web.conftest import Open, Site

LONG_S = 60
"""For what never happens; a busy machine may take many times as long as an idle one."""
PAGE = "queues"


@attrs.define(eq=False)
class Reader:
    """One stream. `parts`: what its page shows; `heard`: how often each part came."""

    stream: trio.SocketStream
    parts: dict[str, str] = attrs.field(factory=dict)
    heard: Counter[str] = attrs.field(factory=Counter)
    unread: bytes = b""
    status: bytes = b""

    async def begin(self, page: str) -> None:
        """Asks for the stream, and reads the head of the answer."""
        await self.stream.send_all(f"GET /live?page={page} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        while b"\r\n\r\n" not in self.unread:
            assert await self.read()
        head, _, self.unread = self.unread.partition(b"\r\n\r\n")
        self.status = head.split(b" ", 2)[1]

    async def until(self, wanted: Callable[[Mapping[str, str]], bool]) -> None:
        """Reads messages until the page is as wanted."""
        while not wanted(self.parts):
            message, separator, after = self.unread.partition(b"\n\n")
            if not separator:
                assert await self.read(), "the stream has ended"
                continue
            self.unread = after
            news = json.loads(message.partition(b"data: ")[2] or b"{}")
            self.parts |= news
            self.heard.update(news.keys())

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        while await self.read():
            pass
        return self.unread

    async def read(self) -> bytes:
        more = bytes(await self.stream.receive_some())
        self.unread += more
        return more


async def connect(running: Site, buffer_bytes: int | None = None) -> trio.SocketStream:
    host, _, port = running.stats.addresses[0].removeprefix("http://").partition(":")
    connection = trio.socket.socket()
    if buffer_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    await connection.connect((host, int(port)))
    return trio.SocketStream(connection)


async def many(running: Site, stack: AsyncExitStack, count: int) -> list[Reader]:
    """So many open streams, each of which has its page."""
    readers = [Reader(await stack.enter_async_context(await connect(running))) for _ in range(count)]
    async with trio.open_nursery() as nursery:
        for reader in readers:
            nursery.start_soon(begun, reader)
    return readers


async def begun(reader: Reader) -> None:
    with trio.fail_after(LONG_S):
        await reader.begin(PAGE)
        assert reader.status == b"200"
        # With its target: the queue alone may be seen a moment before who serves it.
        await reader.until(lambda parts: "rest</a> <small>t</small>" in parts.get(PAGE, ""))


async def all_until(readers: list[Reader], wanted: Callable[[Mapping[str, str]], bool]) -> None:
    with trio.fail_after(LONG_S):
        async with trio.open_nursery() as nursery:
            for reader in readers:
                nursery.start_soon(reader.until, wanted)


async def stalled(running: Site, stack: AsyncExitStack) -> trio.SocketStream:
    """A reader that asks for more than the kernel keeps for him, and reads nothing."""
    stream = await stack.enter_async_context(await connect(running, 2048))
    with trio.fail_after(LONG_S):
        await stream.send_all(b"GET /static/style.css HTTP/1.1\r\nHost: localhost\r\n\r\n" * 400)
    await until_async(lambda: running.stats._connections._waiting, "the server waits for him", LONG_S)
    return stream


COUNTS = [20, pytest.param(MOST_STREAMS, marks=pytest.mark.nightly)]


@pytest.mark.parametrize("count", COUNTS)
async def test_two_hundred_streams_hear_of_each_change_once_and_it_is_rendered_once(
    monkeypatch: pytest.MonkeyPatch, harness: Harness, site: Open, count: int
) -> None:
    rendered: Counter[int] = Counter()
    threads: set[int] = set()
    parts = Renderer.parts

    def counting(renderer: Renderer, name: str, state: State) -> dict[str, str]:
        rendered[state.number] += 1
        threads.add(threading.get_ident())
        return parts(renderer, name, state)

    monkeypatch.setattr(Renderer, "parts", counting)
    async with AsyncExitStack() as stack, site() as running:
        readers = await many(running, stack, count)
        assert running.watch.followers == count
        for reader in readers:
            reader.heard.clear()
        pushed = ("LPUSH", "queue:other", *["{}"] * 17)
        harness.client.transaction([("SADD", "queues", "other"), pushed])
        await all_until(readers, lambda parts: ">17<" in parts[PAGE])
        heard = {reader.heard[PAGE] for reader in readers}
        with trio.fail_after(LONG_S):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(running.get, f"/{PAGE}")
    assert heard == {1}
    assert set(rendered.values()) == {1}
    assert threading.get_ident() not in threads


async def test_of_more_than_two_hundred_at_one_moment_the_rest_are_sent_away(
    monkeypatch: pytest.MonkeyPatch, site: Open
) -> None:
    monkeypatch.setattr("restbroker.web.live.MOST_STREAMS", 5)
    refused: list[Reader] = []
    let_in: list[Reader] = []
    # Those were told that there was room, and so were others.
    ended: list[Reader] = []

    async def come(running: Site, stream: trio.SocketStream) -> None:
        reader = Reader(stream)
        await reader.begin(PAGE)
        if reader.status == b"503":
            refused.append(reader)
            return
        if not reader.unread:
            await reader.read()
        (let_in if b"data: " in reader.unread else ended).append(reader)

    async with AsyncExitStack() as stack, site() as running:
        streams = [await stack.enter_async_context(await connect(running)) for _ in range(20)]
        with trio.fail_after(LONG_S):
            async with trio.open_nursery() as nursery:
                for stream in streams:
                    nursery.start_soon(come, running, stream)
        answer = await running.get(f"/live?page={PAGE}", Accept="*/*")
        followers = running.watch.followers
    assert (len(let_in), followers, len(refused) + len(ended)) == (5, 5, 15)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert answer.json()["error"]["code"] == "Busy"


async def test_who_does_not_read_is_dropped_and_keeps_nobody_from_hearing(
    monkeypatch: pytest.MonkeyPatch, harness: Harness, site: Open
) -> None:
    async with AsyncExitStack() as stack, site() as running:
        connections = running.stats._connections
        monkeypatch.setattr(connections, "_patience_s", 0.5)
        readers = await many(running, stack, 5)
        await stalled(running, stack)
        harness.client.command("SADD", "queues", "other")
        await all_until(readers, lambda parts: "other" in parts[PAGE])
        await harness.until(lambda: connections.drop_count == 1, "who does not read is dropped", LONG_S)
        harness.push()
        await harness.until(lambda: harness.of(JobFinished), "jobs are delivered")
        assert running.watch.followers == 5


@pytest.mark.promise("Security: who can reach the ports", "to stop deliveries with requests")
@pytest.mark.parametrize("count", COUNTS)
async def test_a_stop_waits_neither_for_two_hundred_streams_nor_for_who_does_not_read(
    monkeypatch: pytest.MonkeyPatch, site: Open, count: int
) -> None:
    # Who has to be waited for would be so for that long.
    forever_s = 2 * LONG_S
    monkeypatch.setattr(runner, "GRACE_S", forever_s)
    async with AsyncExitStack() as stack:
        async with site() as running:
            running.stats._connections._patience_s = forever_s
            readers = await many(running, stack, count)
            gone = await stalled(running, stack)
            await gone.aclose()
            await until_async(lambda: not running.stats._connections._waiting, "his answer ends", LONG_S)
            await stalled(running, stack)
            began_s, worked_s = trio.current_time(), time.process_time()
        took_s, cpu_s = trio.current_time() - began_s, time.process_time() - worked_s
        with trio.fail_after(LONG_S):
            ends = [await reader.rest() for reader in readers]
    assert took_s < LONG_S
    assert cpu_s < 1, "a loop that waits for them hot would take as long as they do"
    # Each of them is a whole answer: its last chunk is there.
    assert all(end.endswith(b"0\r\n\r\n") for end in ends)
    assert running.watch.followers == 0


@pytest.mark.promise("Security: who can reach the ports", "to stop deliveries with requests")
@pytest.mark.parametrize("count", [3, pytest.param(MOST_STREAMS, marks=pytest.mark.nightly)])
async def test_a_stop_waits_for_no_stream_whose_reader_stopped_reading(
    monkeypatch: pytest.MonkeyPatch, harness: Harness, site: Open, count: int
) -> None:
    monkeypatch.setattr(runner, "GRACE_S", 2 * LONG_S)
    open_listeners = trio.open_tcp_listeners

    async def with_small_buffers(port: int, *, host: str) -> list[trio.SocketListener]:
        listeners = await open_listeners(port, host=host)
        for listener in listeners:  # what is accepted inherits it
            listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return listeners

    monkeypatch.setattr(trio, "open_tcp_listeners", with_small_buffers)
    harness.client.command("SADD", "queues", *(f"a-queue-of-a-long-name-{number}" for number in range(300)))
    async with AsyncExitStack() as stack:
        async with site() as running:
            connections = running.stats._connections
            connections._patience_s = 2 * LONG_S
            for _ in range(count):
                stream = await stack.enter_async_context(await connect(running, 2048))
                await stream.send_all(f"GET /live?page={PAGE} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await until_async(lambda: len(connections._waiting) == count, "each stream waits for its reader", LONG_S)
            assert running.watch.followers == count
            began_s = trio.current_time()
        took_s = trio.current_time() - began_s
    assert took_s < STALLED_S
    assert running.watch.followers == 0
    assert connections.drop_count == count


@pytest.mark.promise("Security: who can reach the ports", "to stop deliveries with requests")
async def test_a_hundred_heads_that_come_byte_by_byte_are_closed_and_hold_no_other_request_up(site: Open) -> None:
    closed: list[trio.SocketStream] = []
    answers: list[int] = []

    async def drip(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            for byte in chain(b"GET / HTTP/1.1\r\nX-Slow: ", repeat(ord("x"))):
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.05)
        closed.append(stream)

    with trio.fail_after(LONG_S):
        async with AsyncExitStack() as stack, site() as running, trio.open_nursery() as nursery:
            running.stats.keep_alive_s = 1.0
            for _ in range(100):
                nursery.start_soon(drip, await stack.enter_async_context(await connect(running)))
            while len(closed) < 100:
                answers.append((await running.get_stats()).status_code)
    assert set(answers) == {200}


@pytest.mark.slow  # an outage that a page must notice
async def test_while_redis_is_away_an_open_page_says_so_and_goes_on_by_itself(
    make_redis: Callable[..., RedisServer], site: Open, harness: Harness
) -> None:
    harness.redis = make_redis()
    harness.client = open_client(StoreSettings(harness.redis.url))
    async with AsyncExitStack() as stack, site() as running:
        health = running.health.addresses[0]
        readers = await many(running, stack, 20)
        assert (await running.get_ready()).status_code == 200
        harness.redis.kill()
        await all_until(readers, lambda parts: "cannot be reached" in parts["banner"])
        await harness.until(lambda: harness.of(StoreLost), "the broker knows", LONG_S)
        alive, ready = await running.client.get(f"{health}/healthz"), await running.get_ready()
        metrics = await running.get_metrics()
        harness.redis.start()
        await all_until(readers, lambda parts: not parts["banner"].strip())
        with trio.fail_after(LONG_S):
            while (await running.get_ready()).status_code != 200:  # noqa: ASYNC110 - nothing tells of it
                await trio.sleep(0.05)
        assert (await running.get("/")).status_code == 200
        assert running.watch.followers == 20
    assert (alive.status_code, ready.status_code, metrics.status_code) == (200, 503, 200)
    assert "restbroker_redis_up 0.0" in metrics.text


async def test_a_search_beside_a_broker_may_rest_behind_every_job(
    monkeypatch: pytest.MonkeyPatch, harness: Harness, site: Open
) -> None:
    steps: Counter[str] = Counter()

    class Counting:
        def step(self) -> None:
            steps["searched"] += 1

    monkeypatch.setattr(find, "Throttle", Counting)
    for number in range(500):
        harness.client.command("ZADD", "dead", number, f'{{"class":"Add","jid":"j{number}","args":["safe",{{}},"t"]}}')
    async with site() as running:
        answer = await running.get("/dead?where=jid+%3D+nobody")
    assert answer.status_code == 200
    assert steps["searched"] == 500
    find.page(harness.client, "dead", (), ConfigContext({}))
    assert steps["searched"] == 500, "the shell's commands are alone in their process"


@asynccontextmanager
async def following(running: Site, page: str) -> AsyncIterator[Reader]:
    async with await connect(running) as stream:
        reader = Reader(stream)
        await reader.begin(page)
        assert reader.status == b"200"
        yield reader


async def test_a_page_hears_of_a_change_without_asking_and_only_of_what_changed(harness: Harness, site: Open) -> None:
    with trio.fail_after(LONG_S):
        async with site() as running, following(running, "queues") as follower:
            await follower.until(lambda parts: "rest" in parts.get("queues", ""))
            assert set(follower.parts) == {"banner", "alarms", "queues"}
            follower.parts.clear()
            harness.client.command("SADD", "queues", "other")
            harness.client.command("LPUSH", "queue:other", *["{}"] * 17)
            await follower.until(lambda parts: ">17<" in parts.get("queues", ""))
    assert "banner" not in follower.parts


async def test_only_pages_that_change_can_be_followed(site: Open) -> None:
    async with site() as running:
        for address in ("/live", "/live?page=", "/live?page=login", "/live?page=../stats"):
            assert (await running.get(address)).status_code == 404
        assert (await running.client.head(f"{running.stats.addresses[0]}/live?page=overview")).status_code == 404
