"""The form that edits a job, over real HTTP: made from the catalogue, confirmed by its difference, without secrets."""

import json
from typing import Any

import httpx
import pytest

from restbroker.operate import audit
from tests.broker.conftest import Harness
from tests.support.html_page import parse
from tests.web.conftest import Open, Site
from tests.web.test_sets import done_by, form_of, send

ALICE = {"user": "alice", "host": "example.org", "password": "sesame-4711"}
MESSAGE = {"type": "chat", "from": "a@b", "to": "c@d", "subject": "", "body": "a text of its own"}


def lay(harness: Harness, command: str = "register", arguments: dict[str, Any] | None = None, **more: Any) -> None:
    fields = {
        "class": "Add", "jid": "j1", "queue": "rest", "args": [command, ALICE if arguments is None else arguments, "t"],
        "error_class": "Refused", "error_message": "No.", "retry_count": 3, "failed_at": 1_700_000_000.5, **more,
    }  # fmt: skip
    harness.client.command("ZADD", "dead", 1_700_000_000, json.dumps(fields).encode())


async def link(running: Site) -> str:
    """Where the form is, as a visitor finds it."""
    listed = parse("/dead", (await running.get("/dead")).text)
    job = listed.links_to("/dead/")[-1]
    (edit,) = parse(job, (await running.get(job)).text).links_to(f"{job}/edit")
    return edit


async def fill(running: Site, path: str, **typed: Any) -> httpx.Response:
    form = {"arg.user": "alice", "arg.host": "example.org", "arg.password": "", "queue": "rest", "command": "register"}
    return await send(running, path, form | typed)


def token(html: str) -> str:
    (found,) = [form.hidden["edit"] for form in parse("", html).forms if "edit" in form.hidden]
    return found


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
        done = await done_by(running, path, {"edit": token(shown.text), "why": "a slip"})
        again = await send(running, path, {"edit": token(shown.text)})
    assert [field in form for field in ('value="alice"', "integer", "secret", "sesame")] == [True, False, True, False]
    assert [row for row in parse("", shown.text).rows if row[0] == "user"] == [["user", "alice", "bob"]]
    assert "1 job" in done.text
    assert "user: alice → bob" in done.text
    assert again.status_code in (400, 404)
    assert stored(harness)["args"][1] == {**ALICE, "user": "bob"}
    (last, *_) = audit.entries(harness.client, 1)
    assert (last.note.action, last.note.why) == ("edit", "a slip")


async def test_no_secret_is_on_a_page_and_a_hidden_one_stays_unless_it_is_replaced_or_taken_out(
    harness: Harness, site: Open
) -> None:
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
            texts += [shown.text, (await send(running, path, {"edit": token(shown.text)})).text]
            assert stored(harness)["args"][1]["password"] == wanted
        refused = await fill(running, await link(running), **{"arg.user": "bob", "out": "password"})
        texts += [refused.text, (await running.get("/audit")).text]
    assert "also needs password" in refused.text
    assert not [text for text in texts if "sesame" in text or "newer-0815" in text]


async def test_what_the_catalogue_or_the_token_refuses_is_named_and_nothing_is_changed(
    harness: Harness, site: Open
) -> None:
    lay(harness)
    rows: tuple[tuple[dict[str, str], str], ...] = (
        ({"arg.user": ""}, "also needs user"),
        ({"command": "regster"}, "did you mean"),
        ({"queue": "elsewhere"}, "elsewhere"),
        ({}, "nothing would change"),
        ({"arg.extra": "x"}, "no argument 'extra'"),
    )
    async with site() as running:
        path = await link(running)
        for typed, told in rows:
            answer = await fill(running, path, **typed)
            assert (answer.status_code, told in parse("", answer.text).text) == (400, True), typed
        # What was typed is not lost, but for what is hidden.
        answer = await fill(running, path, **{"arg.user": "bo", "arg.extra": "x", "arg.password": "newer-0815"})
    assert ('value="bo"' in answer.text, "newer-0815" in answer.text) == (True, False)
    assert stored(harness)["args"][1] == ALICE


async def test_a_job_that_may_have_run_and_one_that_is_sent_at_once_are_asked_about(
    harness: Harness, site: Open
) -> None:
    lay(harness, "send_message", MESSAGE, restbroker_may_have_run=True)
    form = {f"arg.{name}": "" if name in ("body", "subject") else text for name, text in MESSAGE.items()}
    form |= {"arg.to": "e@f", "command": "send_message", "queue": "rest", "retry": "yes"}
    async with site() as running:
        path = await link(running)
        shown = await send(running, path, form)
        assert MESSAGE["body"] not in shown.text
        assert "It may have run already" in shown.text
        left = await send(running, path, {"edit": token(shown.text)})
        assert "--repeat-unsafe" in left.text
        shown = await send(running, path, form)
        await send(running, path, {"edit": token(shown.text), "repeat_unsafe": "yes"})
        await harness.until(lambda: harness.target.calls, "it is delivered")
    (call,) = harness.target.calls
    assert (call.command.arguments, call.identity) == ({**MESSAGE, "to": "e@f"}, "j1-r1")
    assert not call.maybe_run


async def test_who_was_faster_than_the_visitor_wins(harness: Harness, site: Open) -> None:
    lay(harness)
    async with site() as running:
        path = await link(running)
        shown = await fill(running, path, **{"arg.user": "bob"})
        harness.client.command("DEL", "dead")
        late = await send(running, path, {"edit": token(shown.text)})
        gone = await running.get(path)
    assert "Someone else was faster" in late.text
    assert gone.status_code == 404


@pytest.mark.parametrize("key", ["j1", "nonsense", "1.0-" + "0" * 40])
async def test_an_address_that_names_no_job_leads_to_no_form(harness: Harness, site: Open, key: str) -> None:
    lay(harness)
    async with site() as running:
        assert (await running.get(f"/dead/{key}/edit")).status_code == 404


def lay_many(harness: Harness, count: int, **more: Any) -> None:
    for number in range(count):
        one = ALICE | {"user": f"u{number}", "host": "exmaple.org"}
        fields = {
            "class": "Add", "jid": f"j{number}", "queue": "rest", "args": ["register", one, "t"],
            "error_class": "Refused", "error_message": "No.", "failed_at": 1_700_000_000.5, **more,
        }  # fmt: skip
        harness.client.command("ZADD", "dead", 1_700_000_000 + number, json.dumps(fields).encode())


MATCHING = "/dead?where=host+%3D+exmaple.org"


async def edit_all(running: Site, **typed: str) -> httpx.Response:
    """Opens the form as a visitor finds it, and fills it in."""
    (path,) = parse("/dead", (await running.get(MATCHING)).text).links_to("/edit/dead?")
    form = form_of((await running.get(path)).text, "/edit/dead")
    return await send(running, "/edit/dead", {**form.hidden, "queue": "", **typed})


async def test_all_that_match_are_edited_and_sent_and_what_is_left_empty_stays(harness: Harness, site: Open) -> None:
    lay_many(harness, 12)
    lay(harness)
    async with site() as running:
        shown = await edit_all(running, **{"arg.host": "example.org", "arg.password": "newer-0815", "retry": "yes"})
        assert len(harness.members("dead")) == 13, "nothing is done before it is confirmed"
        confirm = form_of(shown.text, "/dead/act").hidden
        done = await done_by(running, "/dead/act", {**confirm, "why": "a slip"})
        again = await done_by(running, "/dead/act", confirm)
    assert "edit 12 jobs" in parse("", shown.text).text
    assert ["j11", "host", "exmaple.org", "example.org"] in parse("", shown.text).rows
    assert "newer-0815" not in shown.text + done.html
    assert "12 jobs" in done.text
    assert "0 jobs" in again.text
    assert [one["jid"] for one in harness.members("dead")] == ["j1"]
    await harness.until(lambda: len(harness.target.calls) == 12, "each is sent")
    assert {call.command.arguments["host"] for call in harness.target.calls} == {"example.org"}
    last = next(one for one in audit.entries(harness.client, 9) if one.note.why)
    assert (last.note.action, last.note.why, last.note.done) == ("edit and retry", "a slip", 12)


async def test_a_hidden_value_gets_no_name_under_which_it_would_be_shown(harness: Harness, site: Open) -> None:
    lay_many(harness, 2)
    before = harness.members("dead")
    async with site() as running:
        one = await fill(running, await link(running), **{"as.password": "reason", "command": "ban_account"})
        every = await edit_all(running, **{"as.password": "reason", "command": "ban_account"})
    for answer in (one, every):
        assert "The argument &#39;password&#39; is hidden, and its value would be shown as" in answer.text
        assert "sesame" not in answer.text
    assert harness.members("dead") == before
