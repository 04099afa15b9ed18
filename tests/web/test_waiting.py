"""The page of a queue over real HTTP: jobs that wait are deleted, killed and moved, ticked ones and all that match."""

import json
from collections.abc import Sequence
from typing import Any

import attrs
import httpx
import pytest

from restbroker.job.fairness import Fairness
from restbroker.job.order import Order
from restbroker.operate import audit
from restbroker.operate.context import ConfigContext
from restbroker.store import jobs, lines, pauses, queues
from restbroker.store.jobs import FetchRequest
from restbroker.web import act_pages
from tests.broker.conftest import Harness
from tests.store.pools import FACTS
from tests.support.html_page import Page, parse
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
    assert [(one.note.done, one.note.why) for one in audit.entries(harness.client, 1)] == [(3, "twice")]


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


@pytest.mark.parametrize("verb", ["delete", "kill", "move", "edit"])
async def test_what_is_pushed_between_a_question_and_its_confirmation_is_not_meant(
    harness: Harness, site: Open, verb: str
) -> None:
    push(harness, registers("a"), registers("b"))
    async with site() as running:
        shown = await page(running, QUEUE)
        if verb == "edit":
            asked = await edit(running, shown, 0, **{"arg.host": "example.org"})
        else:
            asked = await send(running, ACT, {**form_of(shown.html, ACT).hidden, "verb": verb, "all": "yes"})
        push(harness, registers("late"))
        confirmed = {**form_of(asked.text, ACT).hidden, "queue": "other", "foreign_queues": "yes"}
        done = await send(running, ACT, confirmed)
    assert "2 done." in done.text
    found: Any = harness.client.command("LRANGE", "queue:rest", 0, -1)
    assert [b"exmaple.org" in job for job in found if b"late" in job] == [True]


async def test_an_action_whose_question_is_forgotten_is_asked_again(harness: Harness, site: Open) -> None:
    push(harness, waits("a"))
    async with site() as running:
        shown = await page(running, QUEUE)
        asked = await send(running, ACT, {**form_of(shown.html, ACT).hidden, "verb": "delete", "all": "yes"})
        confirm = form_of(asked.text, ACT).hidden
        again = await send(running, ACT, {**confirm, "line": "forgotten"})
        assert (again.status_code, jids(harness)) == (400, ["a"])
        await send(running, ACT, form_of(again.text, ACT).hidden)
    assert jids(harness) == []


async def test_a_job_that_was_taken_meanwhile_is_told(harness: Harness, site: Open) -> None:
    push(harness, waits("a"), waits("b"))
    async with site() as running:
        shown = await page(running, QUEUE)
        harness.client.command("RPOP", "queue:rest")
        done = await ask(running, shown, "delete", keys(shown))
    assert ("1 done." in done.text, "1: gone." in done.text) == (True, True)
    assert jids(harness) == []


async def test_a_page_that_cannot_do_all_names_the_command_that_does(
    harness: Harness, site: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(harness, *(waits(f"j{n}") for n in range(1000)))
    monkeypatch.setattr(act_pages, "_SLICE_S", 0.0)
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


async def edit(running: Site, shown: Page, link: int, **typed: str) -> httpx.Response:
    """Follows the page's link of this number to a form that edits, and fills it in."""
    path = shown.links_to("/edit/queue?")[link]
    form = form_of((await running.get(path)).text, "/edit/queue")
    return await send(running, "/edit/queue", {**form.hidden, **typed}, path)


def users(harness: Harness) -> list[str]:
    """Whom the jobs name, the next one first."""
    found: Any = harness.client.command("LRANGE", "queue:rest", 0, -1)
    return [json.loads(job)["args"][1]["user"] for job in reversed(found)]


def registers(jid: str, host: str = "exmaple.org") -> bytes:
    arguments = {"user": jid, "host": host, "password": "sesame-4711"}
    fields = {"class": "Add", "jid": jid, "args": ["register", arguments, "t"], "enqueued_at": 1_700_000_000.5}
    return json.dumps(fields).encode()


async def test_all_that_match_and_one_of_a_row_are_edited_where_they_wait_after_the_difference_was_shown(
    harness: Harness, site: Open
) -> None:
    push(harness, *(registers(f"j{n}", ("exmaple.org", "b.org")[n % 2]) for n in range(4)))
    async with site() as running:
        shown = await page(running, f"{QUEUE}&where=host+%3D+exmaple.org")
        asked = await edit(running, shown, 0, **{"arg.host": "example.org"})
        assert ["j0", "host", "exmaple.org", "example.org"] in parse("", asked.text).rows
        done = await send(running, ACT, form_of(asked.text, ACT).hidden)
        one = await edit(running, await page(running, QUEUE), 2, **{"arg.user": "bob", "arg.password": "newer-0815"})
        await send(running, ACT, form_of(one.text, ACT).hidden)
    assert "2 done." in done.text
    told = asked.text + done.text + one.text
    assert not [secret for secret in ("sesame-4711", "newer-0815") if secret in told]
    assert (jids(harness), users(harness)) == (["j0", "j1", "j2", "j3"], ["j0", "bob", "j2", "j3"])
    assert [entry.note.action for entry in audit.entries(harness.client, 2)] == ["edit", "edit"]


async def test_a_job_that_was_taken_before_its_edit_was_confirmed_is_not_touched(harness: Harness, site: Open) -> None:
    push(harness, registers("a"), registers("b"))
    async with site() as running:
        shown = await page(running, QUEUE)
        asked = await edit(running, shown, 1, **{"arg.host": "example.org"})
        harness.client.command("RPOP", "queue:rest")
        done = await send(running, ACT, form_of(asked.text, ACT).hidden)
        gone = await running.get(shown.links_to("/edit/queue?")[1])
    assert ("0 done." in done.text, "1: gone." in done.text) == (True, True)
    assert (gone.status_code, users(harness)) == (404, ["b"])


async def test_an_edit_of_what_waits_that_the_catalogue_refuses_names_the_reason(harness: Harness, site: Open) -> None:
    push(harness, registers("a"))
    async with site() as running:
        refused = await edit(running, await page(running, QUEUE), 0, command="no_such_command")
    assert "no command" in parse("", refused.text).text
    assert users(harness) == ["a"]


async def test_an_edit_that_was_typed_for_one_queue_is_none_for_another(harness: Harness, site: Open) -> None:
    push(harness, registers("a"))
    async with site() as running:
        asked = await edit(running, await page(running, QUEUE), 0, **{"arg.user": "bob"})
        other = await send(running, ACT, {**form_of(asked.text, ACT).hidden, "of": "other"})
    assert "Your input is no longer known." in other.text
    assert users(harness) == ["a"]


async def test_an_edit_that_a_page_cannot_do_whole_names_the_command_with_what_was_typed_but_for_secrets(
    harness: Harness, site: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(harness, *(registers(f"u{number}") for number in range(600)))
    monkeypatch.setattr(act_pages, "_SLICE_S", 0.0)
    async with site() as running:
        shown = await page(running, f"{QUEUE}&where=user+%3D+u%2A")
        asked = await edit(running, shown, 0, **{"arg.host": "example.org", "arg.password": "newer-0815"})
        done = await send(running, ACT, form_of(asked.text, ACT).hidden)
    command = "restbroker queues edit rest host=example.org password=@FILE --where 'user = u*'"
    assert command in parse("", done.text).text
    assert "newer-0815" not in asked.text + done.text


async def test_the_keys_of_a_queue_are_shown_and_jobs_in_lines_are_deleted(harness: Harness, site: Open) -> None:
    raws = [waits(f"big-{n}") for n in range(3)]
    push(harness, *[raw.replace(b'"user"', b'"host": "big.org", "user"') for raw in raws], waits("none"))
    pauses.resume_queue(harness.client, "rest")
    lines.classify(harness.client, "t", "rest", Fairness(("host",)).text, 0)
    push(harness, waits("listed"))
    async with site() as running:
        shown = await page(running, QUEUE)
        assert "1 in the list, 4 in lines of 2 keys" in shown.html
        assert "big.org" in shown.html
        assert "(none)" in shown.html
        assert "5 in all" in shown.html
        done = await ask(running, shown, "delete", keys(shown)[:2])
        assert "2 done." in done.text
        left = await page(running, QUEUE)
        assert "1 in the list, 2 in lines of" in left.html
        done = await ask(running, await page(running, f"{QUEUE}&where=command+%3D+safe"), "kill", None)
    assert "3 done." in done.text
    assert not harness.client.command("EXISTS", "restbroker:fair:wait:rest")
    assert len(harness.members("dead")) == 3


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


async def test_who_deletes_the_dead_job_that_stopped_a_key_is_told_how_the_key_goes_on(
    harness: Harness, site: Open, known: ConfigContext
) -> None:
    target = attrs.evolve(known.targets["rest"], order_by=Order())
    known.targets["rest"] = target  # type: ignore[index]
    for jid in ("j1", "j2"):
        harness.client.command("ZADD", "dead", 5, waits(jid))
    harness.client.command("HSET", f"restbroker:order:hold:{target.name}", "<ann>", "s 5 0 1 j1 ", "bob", "s 5 0 1 j3 ")
    async with site() as running:
        asked = await send(running, "/dead/act", {"verb": "delete", "all": "yes"}, "/dead")
        done = await send(running, "/dead/act", form_of(asked.text, "/dead/act").hidden, "/dead")
    told = parse("", done.text).text
    skip = "The jobs behind it with the key <ann> still wait. To have them done: restbroker order skip '<ann>'"
    assert (skip in told, "bob" in told, "<ann>" in done.text, "2 done" in told) == (True, False, False, True)


async def test_the_keys_that_are_held_in_order_are_shown_with_the_job_that_died(
    harness: Harness, site: Open, known: ConfigContext
) -> None:
    target = attrs.evolve(known.targets["rest"], order_by=Order())
    known.targets["rest"] = target  # type: ignore[index]
    harness.order = Order()
    # The broker beside it takes what waits, as its own target holds no key.
    pauses.pause_queue(harness.client, "rest", "ann", "", None)
    harness.client.command("HSET", f"restbroker:order:hold:{target.name}", "<ann>", "s 5 0 1 j1 ")
    harness.client.command("HSET", "restbroker:fair:keys:rest", "<ann>", "6 8")
    harness.client.command("HSET", "restbroker:fair:wait:rest", "6:<ann>", waits("a"), "7:<ann>", waits("b"))
    async with site() as running:
        shown = await page(running, QUEUE)
        assert f"Keys in order of the target {target.name}" in shown.text
        assert "<ann>" not in shown.html
        assert "<ann> stopped since 1970-01-01 00:00:00 2 j1" in " ".join(shown.text.split())
        assert "Keys are stopped:" in shown.text
        assert "/job?jid=j1" in shown.links_to("/job")
        overview = await page(running, "/")
        assert f"Target {target.name} has stopped keys (1 key, for up to " in overview.text
        assert "order resume KEY" in overview.text
        assert "/queue?name=rest" in overview.links_to("/queue")
        assert "<ann>" not in overview.text
        harness.client.command("DEL", f"restbroker:order:hold:{target.name}")
        harness.client.command("SET", f"restbroker:order:hold:{target.name}", "x")
        running.watch.refresh_now()
        await harness.until(
            lambda: (shown := running.watch.state.snapshot) is not None and not shown.metrics["stopped"],
            "a wrong type hides nothing else",
        )
        assert "stopped keys" not in (await page(running, "/")).text
