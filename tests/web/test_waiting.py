"""The page of a queue over real HTTP: jobs that wait are deleted, killed and moved, ticked ones and all that match."""

import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from restbroker.operate import audit
from restbroker.store import pauses
from restbroker.web import acting
from tests.broker.conftest import Harness
from tests.support.html_page import Page
from tests.web.conftest import Open, Site
from tests.web.test_sets import form_of, page, send

QUEUE = "/queue?name=rest"
ACT = "/queue/act"


def waits(jid: str, command: str = "safe") -> bytes:
    fields = {"class": "Add", "jid": jid, "args": [command, {"user": jid}, "t"], "enqueued_at": 1_700_000_000.5}
    return json.dumps(fields).encode()


def push(harness: Harness, *jobs: bytes, queue: str = "rest") -> None:
    """While nobody takes them."""
    pauses.pause_queue(harness.client, queue, "ann", "", None)
    for job in jobs:
        harness.client.command("LPUSH", f"queue:{queue}", job)


def jids(harness: Harness, queue: str = "rest") -> list[str]:
    """The next one first."""
    found: Any = harness.client.command("LRANGE", f"queue:{queue}", 0, -1)
    return [json.loads(job)["jid"] for job in reversed(found)]


async def ask(running: Site, shown: Page, verb: str, ticked: Sequence[str] | None, **more: str) -> httpx.Response:
    """Presses a button of the page; None: all that match."""
    meant: dict[str, Any] = {"all": "yes"} if ticked is None else {"job": list(ticked)}
    asked = await send(running, ACT, {**form_of(shown.html, ACT).hidden, "verb": verb, **meant})
    assert asked.status_code == 200, asked.text
    return await send(running, ACT, {**form_of(asked.text, ACT).hidden, **meant, **more})


def keys(shown: Page) -> list[str]:
    """Of the jobs that can be ticked, the next one first."""
    (form,) = [form for form in shown.forms if form.action == ACT]
    return [value for name, value in form.boxes if name == "job"]


async def test_ticked_jobs_are_deleted_and_of_equal_ones_as_many_as_are_ticked(harness: Harness, site: Open) -> None:
    push(harness, waits("a"), waits("same"), waits("same"), waits("same"), waits("b"))
    async with site() as running:
        shown = await page(running, QUEUE)
        done = await ask(running, shown, "delete", keys(shown)[:3], why="twice")
    assert jids(harness) == ["same", "b"]
    assert "3 done." in done.text
    assert [(one.note.done, one.note.why) for one in audit.listed(harness.client, 1)] == [(3, "twice")]


async def test_all_that_match_are_killed_and_moved_and_the_others_stay_in_their_order(
    harness: Harness, site: Open
) -> None:
    push(harness, *(waits(f"j{n}", ("safe", "bad", "slow")[n % 3]) for n in range(9)))
    async with site() as running:
        await ask(running, await page(running, f"{QUEUE}&where=command+%3D+bad"), "kill", None)
        wanted = await page(running, f"{QUEUE}&where=command+%3D+slow")
        refused = await ask(running, wanted, "move", None, queue="other")
        assert refused.status_code == 400
        await ask(running, wanted, "move", None, queue="other", foreign_queues="yes")
    assert jids(harness) == ["j0", "j3", "j6"]
    assert sorted(one["jid"] for one in harness.members("dead")) == ["j1", "j4", "j7"]
    assert jids(harness, "other") == ["j2", "j5", "j8"]


async def test_a_job_that_was_taken_meanwhile_is_told(harness: Harness, site: Open) -> None:
    push(harness, waits("a"), waits("b"))
    async with site() as running:
        shown = await page(running, QUEUE)
        harness.client.command("RPOP", "queue:rest")
        done = await ask(running, shown, "delete", keys(shown))
    assert ("1 done." in done.text, "1: not there any more." in done.text) == (True, True)
    assert jids(harness) == []


async def test_a_page_that_cannot_do_all_names_the_command_that_does(
    harness: Harness, site: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(harness, *(waits(f"j{n}") for n in range(1000)))
    monkeypatch.setattr(acting, "_SLICE_S", 0.0)
    async with site() as running:
        done = await ask(running, await page(running, f"{QUEUE}&where=command+%3D+s*"), "delete", None)
    assert "restbroker queues delete rest --where &#39;command = s*&#39;" in done.text
    assert 0 < len(jids(harness)) < 1000


async def test_jobs_of_a_queue_that_nobody_here_serves_are_shown_and_not_offered(harness: Harness, site: Open) -> None:
    push(harness, waits("a"), queue="other")
    async with site() as running:
        shown = await page(running, "/queue?name=other")
        refused = await send(running, ACT, {"of": "other", "verb": "delete", "all": "yes"})
    assert not [form for form in shown.forms if form.action == ACT]
    assert refused.status_code == 400
    assert jids(harness, "other") == ["a"]
