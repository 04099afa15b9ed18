"""Streams of changes over real HTTP: what they send, to whom, and how seldom Redis is asked for it."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import trio

from restbroker.web.live import Stream, Streams
from restbroker.web.watch import FRESH_S
from tests.broker.conftest import Harness
from tests.web.conftest import Open, Site


@attrs.define(eq=False)
class Follower:
    """One stream and what came of it. Read as bytes: each message is a chunk of its own."""

    stream: trio.SocketStream
    parts: dict[str, str] = attrs.field(factory=dict)
    unread: bytes = b""

    async def until(self, wanted: Callable[[dict[str, str]], bool]) -> None:
        """Reads messages until the parts are as wanted."""
        with trio.fail_after(60):
            while not wanted(self.parts):
                message, separator, after = self.unread.partition(b"\n\n")
                if separator:
                    self.unread = after
                    self.parts |= json.loads(message.partition(b"data: ")[2] or b"{}")
                else:
                    await self.read()

    async def read(self) -> bytes:
        """More bytes; none at the end."""
        more = await self.stream.receive_some()
        self.unread += more
        return bytes(more)


async def follow(running: Site, page: str = "overview") -> Follower:
    host, _, port = running.stats.addresses[0].removeprefix("http://").partition(":")
    follower = Follower(await trio.open_tcp_stream(host, int(port)))
    await follower.stream.send_all(f"GET /live?page={page} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    while b"\r\n\r\n" not in follower.unread:
        assert await follower.read()
    head, _, follower.unread = follower.unread.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    assert b"text/event-stream" in head
    return follower


@asynccontextmanager
async def following(running: Site, page: str = "overview") -> AsyncIterator[Follower]:
    follower = await follow(running, page)
    async with follower.stream:
        yield follower


async def test_a_page_hears_of_a_change_without_asking_and_only_of_what_changed(harness: Harness, site: Open) -> None:
    async with site() as running, following(running, "queues") as follower:
        await follower.until(lambda parts: "rest" in parts.get("queues", ""))
        assert set(follower.parts) == {"banner", "alarms", "queues"}
        follower.parts.clear()
        harness.client.command("SADD", "queues", "other")
        harness.client.command("LPUSH", "queue:other", *["{}"] * 17)
        await follower.until(lambda parts: ">17<" in parts.get("queues", ""))
    assert "banner" not in follower.parts


async def test_ten_that_look_do_not_make_redis_be_asked_ten_times_as_often(site: Open) -> None:
    async with site() as running:
        watch = running.watch
        followers = [await follow(running) for _ in range(10)]
        for follower in followers:
            await follower.until(lambda parts: "totals" in parts)
        assert watch.followers == 10
        before, began_s = watch.state.number, trio.current_time()
        while watch.state.number < before + 2:
            await watch.later(watch.state.number, 5)
        assert trio.current_time() - began_s >= FRESH_S
        for follower in followers:
            await follower.stream.aclose()
        with trio.fail_after(60):
            while watch.followers:
                await watch.later(watch.state.number, 0.01)


async def test_a_stream_ends_with_the_login(site: Open) -> None:
    async with site() as running:
        stream = Stream(Streams(running.watch, lambda _page, _state: {}), "overview", lambda: False)
        async with stream as chunks:
            assert [chunk async for chunk in chunks] == []


async def test_only_pages_that_change_can_be_followed(site: Open) -> None:
    async with site() as running:
        for address in ("/live", "/live?page=", "/live?page=login", "/live?page=../stats"):
            assert (await running.get(address)).status_code == 404
        assert (await running.client.head(f"{running.stats.addresses[0]}/live?page=overview")).status_code == 404
