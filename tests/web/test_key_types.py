"""A key of another type, which somebody else wrote: every page says which it is and what to do, or does without it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import pytest
from quart_trio import QuartTrio

from restbroker.broker.status.status import Status
from restbroker.operate.context import ConfigContext
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Event, OperatorWarning
from restbroker.web.connection import AdminConnection
from restbroker.web.guard import Settings
from restbroker.web.health import Health
from restbroker.web.live import Watch
from restbroker.web.metrics_view import Question, in_this_process, live_metrics, metrics
from restbroker.web.site import site_app
from tests.support.html_page import parse
from tests.support.odd_types import JID, KEYS, fill, spoil, told
from tests.web.conftest import CONFIG, JOB_PAGES, LIVE_PAGES

PAGES: Final = (
    *LIVE_PAGES, *JOB_PAGES, "/dead?where=user+%3D+u", f"/dead/{JID}", f"/job?jid={JID}", "/job?jid=nobody", "/stats",
    *("/steer?do=run-periodic&name=nightly", "/steer?do=pause-queue&name=rest", "/steer?do=clear-queue&name=rest"),
    *("/steer?do=pause-target&name=t", "/steer?do=stop-process&name=node:7:xyz"),
    "/steer?do=cancel-job&name=node:7:xyz&thread=t1",
)  # fmt: skip


@attrs.frozen
class Alone:
    """The pages without a broker."""

    app: QuartTrio
    watch: Watch
    client: Client
    events: list[Event]

    async def get(self, path: str) -> tuple[int, str]:
        """The status, and what is there to be read."""
        self.watch.refresh_now()
        answer = await self.app.test_client().get(path, headers={"Host": "127.0.0.1", "Accept": "text/html"})
        body = await answer.get_data(as_text=True)
        return answer.status_code, body if path == "/stats" else parse(path, body).text


@asynccontextmanager
async def pages(redis_url: str) -> AsyncIterator[Alone]:
    settings = StoreSettings(redis_url)
    client, events = open_client(settings), list[Event]()

    def question() -> Question:
        return lambda asked: metrics(asked, ("rest",), in_this_process((), show_bodies=False))

    desk = AdminConnection(Connection(open_client(settings)), lambda: ConfigContext({}), lambda: CONFIG)
    connection = Connection(open_client(settings))
    watch = Watch(connection, lambda: lambda asked: live_metrics(asked, ("rest",)), events.append, desk.causes)
    app = site_app(Settings("127.0.0.1"), watch, desk, question, events.append, health=Health(Status().view))
    yield Alone(app, watch, client, events)
    await watch.connection.aclose()
    await desk.connection.aclose()
    client.close()


EVERY: Final = [(key, path) for key in KEYS for path in PAGES]
FEW: Final = EVERY[:: len(PAGES) // 2 + 1]
"""Each key, and each page, with one or two of the other."""


@pytest.mark.parametrize("pairs", [FEW, pytest.param(EVERY, marks=pytest.mark.nightly)], ids=["few", "every"])
async def test_each_page_shows_what_it_can_or_names_the_key(redis_url: str, pairs: list[tuple[str, str]]) -> None:
    async with pages(redis_url) as alone:
        fill(alone.client)
        before = {path: (await alone.get(path))[0] for path in PAGES}
        wrong: list[str] = []
        for key, path in pairs:
            dump = alone.client.command("DUMP", key)
            kind = spoil(alone.client, key)
            status, text = await alone.get(path)
            is_told = status == before[path] or all(word in text for word in told(kind, key))
            is_right = status in {before[path], 503, 400} and (status != 503 or not path.startswith("/job"))
            if not is_right or not is_told or ("WRONGTYPE" in text and f"The key {key} is a " not in text):
                wrong.append(f"{key} {path} {status}: {text[:700]}")
            alone.client.command("DEL", key)
            if isinstance(dump, bytes):
                alone.client.command("RESTORE", key, 0, dump)
        after = {path: (await alone.get(path))[0] for path in PAGES}
    assert set(before.values()) == {200, 404}
    assert after == before
    assert not wrong, "\n".join(wrong)
    assert [event for event in alone.events if isinstance(event, OperatorWarning)] == []
