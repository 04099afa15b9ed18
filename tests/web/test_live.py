"""Streams of changes over real HTTP: what they send, to whom, and how seldom Redis is asked for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from restbroker.web.live import Stream, Streams
from tests.broker.conftest import Harness
from tests.web.conftest import Open, Site
from tests.web.test_load import LONG_S, Reader, connect


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
