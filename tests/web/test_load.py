# ruff: noqa: SLF001 - whether and how long the server waits for one who does not read
"""Fragments, and pages under load, over real sockets: many at once, readers that do not read, and stops.

Nothing is timed but the CPU. Where something has to be quick, what it could wait for is made to last long.
"""

import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from itertools import chain, repeat

import httpx
import pytest
import trio

from restbroker.serving import runner
from restbroker.store.client import StoreSettings, open_client
from restbroker.telemetry.events import JobFinished, StoreLost
from restbroker.web.live import LiveState
from restbroker.web.render import Renderer
from tests.broker.conftest import Harness
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async
from tests.web.conftest import Open, Site

LONG_S = 60
"""For what never happens; a busy machine may take many times as long as an idle one."""
PAGE = "jobs"
REQUEST = b"GET /static/style.css HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def connect(running: Site, buffer_bytes: int | None = None) -> trio.SocketStream:
    host, _, port = running.stats.addresses[0].removeprefix("http://").partition(":")
    connection = trio.socket.socket()
    if buffer_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    await connection.connect((host, int(port)))
    return trio.SocketStream(connection)


async def stalled(running: Site, stack: AsyncExitStack) -> trio.SocketStream:
    """A reader that asks for more than the kernel keeps for him, and reads nothing."""
    stream = await stack.enter_async_context(await connect(running, 2048))
    with trio.fail_after(LONG_S):
        await stream.send_all(REQUEST * 400)
    await until_async(lambda: running.stats._connections._waiting, "the server waits for him", LONG_S)
    return stream


async def fragment(running: Site, page: str = PAGE, tag: str = "") -> httpx.Response:
    """The parts of a page, as its script requests them."""
    with trio.fail_after(LONG_S):
        return await running.get(f"/live?page={page}", **{"If-None-Match": tag} if tag else {})


async def test_a_look_of_many_visitors_is_rendered_once(
    monkeypatch: pytest.MonkeyPatch, harness: Harness, site: Open
) -> None:
    rendered: Counter[int] = Counter()
    threads: set[int] = set()
    render = Renderer.fragment

    def counting(renderer: Renderer, name: str, state: LiveState, word: str) -> str:
        rendered[state.number] += 1
        threads.add(threading.get_ident())
        return render(renderer, name, state, word)

    monkeypatch.setattr(Renderer, "fragment", counting)
    statuses: list[int] = []
    async with site() as running:

        async def visit(path: str) -> None:
            statuses.append((await running.get(path)).status_code)

        async with trio.open_nursery() as nursery:
            for path in (f"/live?page={PAGE}", f"/{PAGE}") * 20:
                nursery.start_soon(visit, path)
    assert statuses == [200] * 40
    assert set(rendered.values()) == {1}
    assert threading.get_ident() not in threads


async def test_parts_come_again_only_when_they_changed(
    monkeypatch: pytest.MonkeyPatch, harness: Harness, site: Open
) -> None:
    monkeypatch.setattr("restbroker.web.live.FRESH_S", LONG_S)
    async with site() as running:
        page = (await running.get(f"/{PAGE}")).text
        first = await fragment(running)
        tag = first.headers["etag"]
        same = await fragment(running, tag=tag)
        harness.client.transaction([("SADD", "queues", "other"), ("LPUSH", "queue:other", *["{}"] * 17)])
        running.watch.refresh_now()
        changed = await fragment(running, tag=tag)
        none = [await running.get(f"/live{query}") for query in ("", "?page=", "?page=login", "?page=../stats")]
    assert first.text in page
    assert f'data-tag="{tag.strip(chr(34))}"' in page
    assert re.findall('id="part-([a-z]+)"', first.text) == ["tabs", "banner", "alarms", "search", "queues"]
    assert (same.status_code, same.text, same.headers["etag"]) == (304, "", tag)
    assert (changed.status_code, ">17<" in changed.text, changed.headers["etag"] != tag) == (200, True, True)
    assert [answer.status_code for answer in none] == [404] * 4


async def test_non_reading_client_is_dropped_and_deliveries_go_on(
    monkeypatch: pytest.MonkeyPatch, harness: Harness, site: Open
) -> None:
    async with AsyncExitStack() as stack, site() as running:
        connections = running.stats._connections
        monkeypatch.setattr(connections, "_patience_s", 0.5)
        await stalled(running, stack)
        assert (await fragment(running)).status_code == 200
        await harness.until(lambda: connections.drop_count == 1, "who does not read is dropped", LONG_S)
        harness.push()
        await harness.until(lambda: harness.of(JobFinished), "jobs are delivered")


async def test_slow_reader_gets_everything(site: Open) -> None:
    received = bytearray()
    last = REQUEST.replace(b"localhost\r\n", b"localhost\r\nConnection: close\r\n")
    async with site() as running, await connect(running, 16384) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, REQUEST * 99 + last)
        with trio.fail_after(LONG_S):
            while part := await stream.receive_some(4096):
                received += part
        assert running.stats._connections.drop_count == 0
    assert received.count(b"HTTP/1.1 200") == 100


@pytest.mark.promise("Security: who can reach the ports", "to stop deliveries with requests")
async def test_stop_waits_for_no_client_that_does_not_read(monkeypatch: pytest.MonkeyPatch, site: Open) -> None:
    # Who has to be waited for would be so for that long.
    forever_s = 2 * LONG_S
    monkeypatch.setattr(runner, "GRACE_S", forever_s)
    async with AsyncExitStack() as stack:
        async with site() as running:
            running.stats._connections._patience_s = forever_s
            gone = await stalled(running, stack)
            await gone.aclose()
            await until_async(lambda: not running.stats._connections._waiting, "his answer ends", LONG_S)
            await stalled(running, stack)
            began_s, worked_s = trio.current_time(), time.process_time()
        took_s, cpu_s = trio.current_time() - began_s, time.process_time() - worked_s
    assert took_s < LONG_S
    assert cpu_s < 1, "a loop that waits for them hot would take as long as they do"


@pytest.mark.promise("Security: who can reach the ports", "to stop deliveries with requests")
async def test_a_hundred_heads_byte_by_byte_hold_no_other_request_up(site: Open) -> None:
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
                answers.append((await running.ask("/stats")).status_code)
    assert set(answers) == {200}


@pytest.mark.slow  # an outage that a page must notice
async def test_while_redis_is_away_an_open_page_says_so(
    make_redis: Callable[..., RedisServer], site: Open, harness: Harness
) -> None:
    harness.redis = make_redis()
    harness.client = open_client(StoreSettings(harness.redis.url))
    async with site() as running:
        health = running.health.addresses[0]
        assert (await running.get_ready()).status_code == 200
        harness.redis.kill()
        await shows(running, lambda html: "cannot be reached" in html)
        assert (await running.get("/")).status_code == 503
        figures = await running.ask("/stats")
        await harness.until(lambda: harness.of(StoreLost), "the broker knows", LONG_S)
        alive, ready = await running.client.get(f"{health}/healthz"), await running.get_ready()
        metrics = await running.ask("/metrics")
        harness.redis.start()
        await shows(running, lambda html: "cannot be reached" not in html)
        with trio.fail_after(LONG_S):
            while (await running.get_ready()).status_code != 200:  # noqa: ASYNC110 - there is no event
                await trio.sleep(0.05)
        assert (await running.get("/")).status_code == 200
    assert (figures.status_code, figures.json()["error"]["code"]) == (503, "StoreUnavailable")
    assert (alive.status_code, ready.status_code, metrics.status_code) == (200, 503, 200)
    assert "restbroker_redis_up 0.0" in metrics.text


async def shows(running: Site, wanted: Callable[[str], bool]) -> None:
    """Returns once the parts of an open page are as wanted."""
    with trio.fail_after(LONG_S):
        while not wanted((await fragment(running)).text):  # noqa: ASYNC110 - there is no event
            await trio.sleep(0.1)
