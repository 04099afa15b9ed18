"""A key of another type, which others wrote: every page says so and what to do, or does without it."""

from typing import Final

import pytest

from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.operate.context import ConfigContext
from restbroker.store.client import StoreSettings, open_client
from restbroker.telemetry.events import Event, OperatorWarning
from restbroker.web.guard import PageSettings
from restbroker.web.metrics_view import in_this_process, live_figures, metrics
from tests.support.html_page import parse
from tests.support.wrong_types import ADVICE, JID, KEYS, fill, spoil
from tests.web.conftest import JOB_PAGES, LIVE_PAGES, pages_app

PAGES: Final = (
    *LIVE_PAGES, *JOB_PAGES, "/dead?where=user+%3D+u", f"/dead/{JID}", f"/job?jid={JID}", "/job?jid=nobody", "/stats",
    *("/steer?do=run-periodic&name=nightly", "/steer?do=pause-queue&name=rest", "/steer?do=clear-queue&name=rest"),
    *("/steer?do=pause-target&name=t", "/steer?do=stop-process&name=node:7:xyz"),
    "/steer?do=cancel-job&name=node:7:xyz&thread=t1",
)  # fmt: skip


EVERY: Final = [(key, path) for key in KEYS for path in PAGES]
FEW: Final = EVERY[:: len(PAGES) // 2 + 1]
"""Each key, and each page, with one or two of the other."""


@pytest.mark.parametrize("pairs", [FEW, pytest.param(EVERY, marks=pytest.mark.nightly)], ids=["few", "every"])
async def test_each_page_shows_what_it_can_or_names_check(redis_url: str, pairs: list[tuple[str, str]]) -> None:
    client, events = open_client(StoreSettings(redis_url)), list[Event]()
    app, watch = pages_app(
        redis_url,
        PageSettings("127.0.0.1"),
        ConfigContext({}),
        lambda: lambda client: metrics(client, ("rest",), in_this_process((), show_bodies=False)),
        lambda: lambda client: live_figures(client, Config(targets=(Target(queues=("rest",)),))),
        events.append,
    )

    async def get(path: str) -> tuple[int, str]:
        """The status, and what is there to be read."""
        watch.refresh_now()
        answer = await app.test_client().get(path, headers={"Host": "127.0.0.1", "Accept": "text/html"})
        body = await answer.get_data(as_text=True)
        return answer.status_code, body if path == "/stats" else parse(path, body).text

    async with app.test_app():
        fill(client)
        before = {path: (await get(path))[0] for path in PAGES}
        wrong: list[str] = []
        for key, path in pairs:
            dump = client.command("DUMP", key)
            spoil(client, key)
            status, text = await get(path)
            is_reported = status == before[path] or ADVICE in text or f"RENAME {key} {key}:misplaced" in text
            is_right = status in {before[path], 503, 400} and (status != 503 or not path.startswith("/job?"))
            if not is_right or not is_reported:
                wrong.append(f"{key} {path} {status}: {text[:700]}")
            client.command("DEL", key)
            if isinstance(dump, bytes):
                client.command("RESTORE", key, 0, dump)
        after = {path: (await get(path))[0] for path in PAGES}
    client.close()
    assert set(before.values()) == {200, 404}
    assert after == before
    assert not wrong, "\n".join(wrong)
    assert [event for event in events if isinstance(event, OperatorWarning)] == []
