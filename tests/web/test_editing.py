"""The form that edits a job, over real HTTP: made from the catalogue, confirmed by its difference, without secrets."""

import time
from typing import Any

import httpx
import pytest

from restbroker.operate import audit
from restbroker.web import actions
from tests.broker.conftest import Harness
from tests.support.html_page import parse
from tests.web.conftest import Open, Site
from tests.web.test_actions import done_by, form_of, job, page

ALICE = {"user": "alice", "host": "example.org", "password": "sesame-4711"}
MESSAGE = {"type": "chat", "from": "a@b", "to": "c@d", "subject": "", "body": "a text of its own"}


def lay(harness: Harness, command: str = "register", arguments: dict[str, Any] = ALICE, **more: Any) -> None:
    fields = {"args": [command, arguments, "t"], "error_class": "Refused", "error_message": "No.", **more}
    harness.client.command("ZADD", "dead", 1_700_000_000, job("j1", **fields))


def lay_many(harness: Harness, count: int) -> None:
    for number in range(count):
        one = ALICE | {"user": f"u{number}", "host": "exmaple.org"}
        harness.client.command("ZADD", "dead", 1_700_000_000 + number, job(f"j{number}", args=["register", one, "t"]))


async def link(running: Site) -> str:
    """Where the form is, as a visitor finds it."""
    listed = parse("/dead", (await running.get("/dead")).text)
    job = listed.links_to("/dead/")[-1]
    (edit,) = parse(job, (await running.get(job)).text).links_to(f"{job}/edit")
    return edit


async def fill(running: Site, path: str, **typed: Any) -> httpx.Response:
    form = {"arg.user": "alice", "arg.host": "example.org", "arg.password": "", "queue": "rest", "command": "register"}
    return await running.post(path, form | typed)


def stored(harness: Harness) -> dict[str, Any]:
    (member,) = harness.members("dead")
    return member


async def test_a_job_is_edited_from_its_page_in_two_steps(harness: Harness, site: Open) -> None:
    lay(harness)
    async with site() as running:
        path = await link(running)
        form = (await running.get(path)).text
        shown = await fill(running, path, **{"arg.user": "bob"})
        assert stored(harness)["args"][1] == ALICE
        confirm = form_of(shown.text, "/dead/act").hidden
        harness.client.command("ZADD", "dead", 1_600_000_000, other := job("j2", args=["register", ALICE, "t"]))
        elsewhere = parse("", (await running.get("/dead")).text).links_to("/dead/")[-1].rpartition("/")[2]
        assert (await running.post("/dead/act", {**confirm, "job": elsewhere})).status_code == 400
        harness.client.command("ZREM", "dead", other)
        done = await done_by(running, "/dead/act", {**confirm, "why": "a slip"})
        again = await done_by(running, "/dead/act", confirm)
    assert [field in form for field in ('value="alice"', "integer", "secret", "sesame")] == [True, False, True, False]
    assert ["j1", "user", "alice", "bob"] in parse("", shown.text).rows
    assert "1 job" in done.text
    assert "user: alice → bob" in done.text
    assert "0 jobs" in again.text
    assert stored(harness)["args"][1] == {**ALICE, "user": "bob"}
    last = next(entry for entry in audit.entries(harness.client, 9) if entry.note.why)
    assert (last.note.action, last.note.why) == ("edit", "a slip")


async def test_no_secret_is_shown_and_one_stays_or_is_replaced(harness: Harness, site: Open) -> None:
    texts = []
    lay(harness)
    async with site() as running:
        for typed, wanted in (
            ({"arg.user": "bob"}, "sesame-4711"),
            ({"arg.user": "bob", "arg.password": "newer-0815"}, "newer-0815"),
        ):
            path = await link(running)
            texts.append((await running.get(path)).text)
            shown = await fill(running, path, **typed)
            done = await done_by(running, "/dead/act", form_of(shown.text, "/dead/act").hidden)
            texts += [shown.text, done.html]
            assert stored(harness)["args"][1]["password"] == wanted
        refused = await fill(running, await link(running), **{"arg.user": "bob", "out": "password"})
        texts += [refused.text, (await running.get("/activity")).text]
    assert "also needs password" in refused.text
    assert not [text for text in texts if "sesame" in text or "newer-0815" in text]


async def test_a_refused_edit_is_filled_in_again_without_secrets(harness: Harness, site: Open) -> None:
    lay(harness)
    typed = {"arg.user": "bo", "arg.extra": "x", "arg.password": "newer-0815"}
    async with site() as running:
        path = await link(running)
        unchanged, refused = await fill(running, path), await fill(running, path, **typed)
        missing = [await running.get(f"/dead/{key}/edit") for key in ("j1", "nonsense", "1.0-" + "0" * 40)]
    assert "nothing would change" in unchanged.text
    assert "no argument 'extra'" in parse("", refused.text).text
    assert [answer.status_code for answer in (unchanged, refused, *missing)] == [400, 400, 404, 404, 404]
    assert ('value="bo"' in refused.text, "newer-0815" in refused.text) == (True, False)
    assert stored(harness)["args"][1] == ALICE


async def test_changes_of_an_edit_are_shown_before_its_tick(harness: Harness, site: Open) -> None:
    lay(harness, "send_message", MESSAGE, restbroker_may_have_run=True)
    form = {f"arg.{name}": "" if name in ("body", "subject") else text for name, text in MESSAGE.items()}
    form |= {"arg.to": "e@f", "command": "send_message", "queue": "rest", "retry": "yes"}
    async with site() as running:
        shown = await running.post(await link(running), form)
    assert MESSAGE["body"] not in shown.text
    assert "Also 1 that may have run already" in parse("", shown.text).text
    assert ["j1", "to", "c@d", "e@f"] in parse("", shown.text).rows
    assert ("repeat_unsafe", "yes") in form_of(shown.text, "/dead/act").boxes


MATCHING = "/dead?where=host+%3D+exmaple.org"


async def edit_all(running: Site, **typed: str) -> httpx.Response:
    """Opens the form as a visitor finds it, and fills it in."""
    (path,) = parse("/dead", (await running.get(MATCHING)).text).links_to("/edit/dead?")
    form = form_of((await running.get(path)).text, "/edit/dead")
    return await running.post("/edit/dead", {**form.hidden, "queue": "", **typed})


async def test_all_that_match_are_edited_and_sent(harness: Harness, site: Open) -> None:
    lay_many(harness, 12)
    lay(harness)
    async with site() as running:
        shown = await edit_all(running, **{"arg.host": "example.org", "arg.password": "newer-0815", "first": "yes"})
        assert len(harness.members("dead")) == 13, "nothing is done before it is confirmed"
        confirm = form_of(shown.text, "/dead/act").hidden
        done = await done_by(running, "/dead/act", {**confirm, "why": "a slip"})
        again = await done_by(running, "/dead/act", confirm)
    assert "edit and retry 12 jobs" in parse("", shown.text).text
    assert ["j11", "host", "exmaple.org", "example.org"] in parse("", shown.text).rows
    assert "newer-0815" not in shown.text + done.html
    assert "12 jobs" in done.text
    assert "0 jobs" in again.text
    assert [member["jid"] for member in harness.members("dead")] == ["j1"]
    await harness.until(lambda: len(harness.target.calls) == 12, "each is sent")
    assert {call.command.arguments["host"] for call in harness.target.calls} == {"example.org"}
    last = next(entry for entry in audit.entries(harness.client, 9) if entry.note.why)
    assert (last.note.action, last.note.why, last.note.done) == ("edit and retry", "a slip", 12)


async def test_edited_jobs_stay_dead_until_the_retry_beside_that(
    harness: Harness, site: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It means what the edit left there, unless that has changed since, and no other job, even of the same id."""
    lay_many(harness, 12)
    async with site() as running:
        shown = await edit_all(running, **{"arg.host": "example.org"})
        done = await done_by(running, "/dead/act", form_of(shown.text, "/dead/act").hidden)
        lay(harness)
        harness.client.command("ZREMRANGEBYSCORE", "dead", 1_700_000_003, 1_700_000_003)
        harness.client.command("ZADD", "dead", time.time(), job("j3", failed_at=time.time() + 9))
        left = await page(running, done.url)
        with monkeypatch.context() as patched:
            patched.setattr(actions, "_LEFT_S", 0.0)
            uncounted = await page(running, done.url)
        run = left.form("/dead/act").hidden
        question = await running.post("/dead/act", {**run, "verb": "retry"})
        confirm = form_of(question.text, "/dead/act")
        assert ("first", "yes") in confirm.boxes
        sent = await done_by(running, "/dead/act", {**confirm.hidden, "first": "yes"})
        again = await page(running, done.url)
        foreign = await running.post("/retries/act", {**run, "verb": "retry"})
    assert "12 jobs stay dead" in done.text
    assert "11 jobs stay dead" in left.text
    assert "Up to 12 jobs stay dead" in uncounted.text
    assert "11 jobs; ended" in sent.text
    assert sorted(member["jid"] for member in harness.members("dead")) == ["j1", "j3"]
    assert "0 jobs stay dead" in again.text
    assert foreign.status_code == 400
    note = next(entry.note for entry in audit.entries(harness.client, 9) if entry.note.action == "retry")
    assert note.where == "12 named (next in line)"


async def test_a_hidden_value_gets_no_name_that_would_show_it(harness: Harness, site: Open) -> None:
    lay_many(harness, 2)
    before = harness.members("dead")
    async with site() as running:
        one = await fill(running, await link(running), **{"as.password": "reason", "command": "ban_account"})
        every = await edit_all(running, **{"as.password": "reason", "command": "ban_account"})
    for answer in (one, every):
        assert "The argument &#39;password&#39; is hidden, and its value would be shown as" in answer.text
        assert "sesame" not in answer.text
    assert harness.members("dead") == before
