"""Pages that change nothing (StatsReadOnly), over real HTTP."""

import json

import pytest

from restbroker.job.json_types import Json
from restbroker.operate import audit
from restbroker.web.guard import Settings
from tests.broker.conftest import Harness
from tests.operate.pools import record
from tests.support.html_page import parse
from tests.web.conftest import Open
from tests.web.test_sets import park, send

PAGES = (
    "/",
    "/targets",
    "/queues",
    "/processes",
    "/in-progress",
    "/periodic",
    "/retries",
    "/scheduled",
    "/dead",
    "/queue?name=rest",
    "/job?jid=j0",
    "/audit",
    "/sources",
)


@pytest.fixture
def settings() -> Settings:
    return Settings("127.0.0.1", is_read_only=True)


@pytest.mark.promise("Security: who can reach the ports", "to change something where pages are read-only")
async def test_nothing_is_offered_and_nothing_is_obeyed(harness: Harness, site: Open) -> None:
    park(harness, 1)
    payload = {"class": "Add", "jid": "j1", "args": ["register", {}, "***"]}
    work: dict[str, Json] = {"t1": {"queue": "rest", "payload": json.dumps(payload), "run_at": 1_700_000_100}}
    record(harness.client, "node:7:xyz", work, version="restbroker 0.1", queues=["rest"])
    async with site() as running:
        pages = [(await running.get(path)).text for path in PAGES]
        one = parse("", pages[PAGES.index("/dead")]).links_to("/dead/")[0]
        pages.append((await running.get(one)).text)
        answers = [
            await send(running, "/dead/act", {"verb": "delete", "all": "yes", "confirmed": "yes"}),
            await send(running, "/queue/act", {"of": "rest", "verb": "delete", "all": "yes", "confirmed": "yes"}),
            await send(running, "/steer", {"do": "pause-queue", "name": "rest"}),
            await send(running, "/steer", {"do": "cancel-job", "name": "node:7:xyz", "thread": "t1"}),
            await send(running, "/steer", {"do": "run-periodic", "name": "nightly"}),
            await running.get("/steer?do=pause-queue&name=rest"),
        ]
    assert "read only" in pages[0]
    assert not [html for html in pages if "/steer" in html or 'method="post"' in html]
    assert [answer.status_code for answer in answers] == [403] * 6
    assert harness.size("dead") == 1
    assert list(audit.entries(harness.client, 10)) == []
