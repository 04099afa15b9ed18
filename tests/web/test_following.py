"""The page of an action: what a person did, and where the jobs are now, for whoever loads or links it again."""

import time

import pytest

from tests.broker.conftest import Harness
from tests.support.html_page import parse
from tests.web.conftest import Open
from tests.web.test_looking import HOSTILE
from tests.web.test_sets import page, park, question_of, send


async def test_an_actions_page_reloads_until_no_job_is_on_its_way(harness: Harness, site: Open) -> None:
    park(harness, 5)
    # No poller takes from a paused queue.
    harness.client.command("SADD", "paused", "rest")
    async with site() as running:
        form = {**await question_of(running, "dead", verb="retry"), "why": "the server is back"}
        answer = await send(running, "/dead/act", form)
        link = answer.headers["location"]
        waiting = await running.get(link)
        park(harness, 2, error_message=HOSTILE, failed_at=time.time())
        harness.client.command("DEL", "queue:rest")
        ended = await running.get(link)
        listed = await page(running, "/audit")
    assert link in listed.links_to("/audit/")
    found = parse(link, waiting.text)
    assert "retry dead" in found.text
    assert "the server is back" in found.text
    assert "5 jobs; ended" in found.text
    assert "Waiting 5" in found.text
    assert 'http-equiv="refresh"' in waiting.text
    found = parse(link, ended.text)
    assert "Done 3 Failed again 2" in found.text
    assert found.row("ServerError")[:2] == ["2", "dead"]
    assert len(found.links_to("/dead?where=failure_group")) == 1
    assert 'http-equiv="refresh"' not in ended.text
    assert "<script>alert(1)" not in ended.text


@pytest.mark.parametrize(("name", "status"), [("1-1", 404), ("9" * 15 + "-0", 404), ("x", 400), ("1-1 + -", 400)])
async def test_an_action_that_is_not_kept_is_refused(site: Open, name: str, status: int) -> None:
    async with site() as running:
        assert (await running.get(f"/audit/{name}")).status_code == status
