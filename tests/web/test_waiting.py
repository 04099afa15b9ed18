"""The page of a queue over real HTTP: jobs that wait are deleted and killed, ticked ones and all that match."""

import json
from collections.abc import Sequence
from typing import Any

import attrs

from restbroker.job.order import Order
from restbroker.operate import audit
from restbroker.operate.context import ConfigContext
from restbroker.store import jobs, pauses, queues
from restbroker.store.jobs import FetchRequest
from tests.broker.conftest import Harness
from tests.store.pools import FACTS
from tests.support.html_page import Page
from tests.web.conftest import Open, Site
from tests.web.test_sets import done_by, form_of, page, send

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


async def ask(running: Site, shown: Page, verb: str, ticked: Sequence[str] | None, **more: str) -> Page:
    """Presses a button of the page; None: all that match."""
    meant: dict[str, Any] = {"all": "yes"} if ticked is None else {"job": list(ticked)}
    asked = await send(running, ACT, {**form_of(shown.html, ACT).hidden, "verb": verb, **meant})
    assert asked.status_code == 200, asked.text
    return await done_by(running, ACT, {**form_of(asked.text, ACT).hidden, **meant, **more})


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
    assert "3 jobs" in done.text
    assert [(one.note.done, one.note.why) for one in audit.entries(harness.client, 1)] == [(3, "twice")]


async def test_all_that_match_are_killed_and_the_others_stay_in_their_order(harness: Harness, site: Open) -> None:
    push(harness, *(waits(f"j{n}", ("safe", "bad")[n % 2]) for n in range(6)))
    async with site() as running:
        await ask(running, await page(running, f"{QUEUE}&where=command+%3D+bad"), "kill", None)
    assert jids(harness) == ["j0", "j2", "j4"]
    assert sorted(one["jid"] for one in harness.members("dead")) == ["j1", "j3", "j5"]


async def test_what_is_pushed_between_a_question_and_its_confirmation_is_not_meant(
    harness: Harness, site: Open
) -> None:
    push(harness, waits("a"), waits("b"))
    async with site() as running:
        shown = await page(running, QUEUE)
        asked = await send(running, ACT, {**form_of(shown.html, ACT).hidden, "verb": "delete", "all": "yes"})
        push(harness, waits("late"))
        done = await done_by(running, ACT, form_of(asked.text, ACT).hidden)
    assert "2 jobs" in done.text
    assert jids(harness) == ["late"]


async def test_waiting_jobs_are_neither_moved_nor_edited_on_pages(harness: Harness, site: Open) -> None:
    push(harness, waits("a"))
    async with site() as running:
        for verb in ("move", "edit", "retry"):
            form = {"of": "rest", "verb": verb, "all": "yes", "confirmed": "yes", "queue": "other"}
            assert (await send(running, ACT, form)).status_code == 400
        assert (await running.get("/edit/queue?of=rest")).status_code == 404
    assert jids(harness) == ["a"]


async def test_jobs_of_a_queue_that_nobody_here_serves_are_shown_and_not_offered(harness: Harness, site: Open) -> None:
    push(harness, waits("a"), queue="other")
    async with site() as running:
        shown = await page(running, "/queue?name=other")
        refused = await send(running, ACT, {"of": "other", "verb": "delete", "all": "yes"})
    assert not [form for form in shown.forms if form.action == ACT]
    assert refused.status_code == 400
    assert jids(harness, "other") == ["a"]


async def test_a_job_that_waits_behind_another_of_its_key_says_so(
    harness: Harness, site: Open, known: ConfigContext
) -> None:
    harness.order = Order()
    known.targets = {"rest": attrs.evolve(known.targets["rest"], name="t", order_by=harness.order)}
    raws = [waits(f"j{n}").replace(b'"class"', b'"order_key": "<bob>", "class"') for n in range(3)]
    queues.push(harness.client, "rest", raws[:1])
    assert jobs.register(harness.client, "h:1:x:t", FACTS, ("rest",), fairness=harness.order.text)
    jobs.fetch(harness.client, FetchRequest("h:1:x:t", "t", ("rest",), 0, 1, 1, fairness=harness.order.text))
    queues.push(harness.client, "rest", raws[1:])
    async with site() as running:
        await harness.until(lambda: harness.client.command("EXISTS", "restbroker:fair:wait:rest") == 1, "they wait")
        shown = await page(running, "/job?jid=j2")
    assert "It waits in the queue rest , 3rd of 3 of the key <bob> ." in shown.text
    assert "It is held behind j0 (safe) of the key <bob>, which h:1 has in progress." in shown.text
    assert "<bob>" not in shown.html


async def test_the_keys_that_are_held_in_order_are_shown_with_the_job_that_died(
    harness: Harness, site: Open, known: ConfigContext
) -> None:
    target = attrs.evolve(known.targets["rest"], order_by=Order())
    known.targets["rest"] = target  # type: ignore[index]
    harness.order = Order()
    # The broker beside it takes what waits, as its own target holds no key.
    pauses.pause_queue(harness.client, "rest", "ann", "", None)
    harness.client.command("HSET", f"restbroker:order:hold:{target.name}", "<ann>", "s 5 0 1 j1 ")
    async with site() as running:
        shown, overview = [await page(running, path) for path in (QUEUE, "/")]
    assert "<ann> stopped since 1970-01-01 00:00:00" in " ".join(shown.text.split())
    assert "/job?jid=j1" in shown.links_to("/job")
    assert f"{target.name} has stopped keys (1 key, for up to " in overview.text
    assert "<ann>" not in shown.html + overview.text
