"""The pages of jobs over real HTTP: found, understood, and told what to do, with everything asked twice."""

import itertools
import json
import time
from typing import Any
from urllib.parse import urlencode

import attrs
import httpx
import pytest
import trio

from restbroker.job.hiding import spellings_of
from restbroker.operate import audit
from restbroker.operate.context import ConfigContext
from restbroker.web import actions, pages
from tests.broker.conftest import Harness
from tests.support.html_page import Form, Page, parse
from tests.support.wait import NEVER_S
from tests.web.conftest import HTML, OWN, Open, Site


def job(jid: str, command: str = "safe", **more: Any) -> bytes:
    fields = {
        "class": "Add",
        "jid": jid,
        "queue": "rest",
        "args": [command, {"user": jid, "password": "sesame-4711"}, "t"],
        "error_class": "ServerError",
        "error_message": f"It failed for {jid}.",
        "retry_count": 3,
        "failed_at": 1_700_000_000.5,
    }
    return json.dumps({**fields, **more}).encode()


def park(harness: Harness, count: int, zset: str = "dead", **more: Any) -> None:
    for number in range(count):
        harness.client.command("ZADD", zset, 1_700_000_000 + number, job(f"j{number}", **more))


async def page(running: Site, path: str) -> Page:
    answer = await running.get(path)
    assert answer.status_code == 200, answer.text
    return parse(path, answer.text)


def form_of(html: str, action: str) -> Form:
    return next(form for form in parse("", html).forms if form.action == action)


async def send(running: Site, path: str, form: dict[str, Any]) -> httpx.Response:
    """Sends a form as a browser does that has one of our pages open."""
    address = f"{running.stats.addresses[0]}{path}"
    return await running.client.post(address, data=form, headers=HTML | OWN)


async def done_by(running: Site, path: str, form: dict[str, Any]) -> Page:
    """The page of the action that a confirmed form leads to, once the action is over."""
    answer = await send(running, path, form)
    assert answer.status_code == 303, answer.text
    with trio.fail_after(NEVER_S):
        while 'content="2"' in (shown := await page(running, answer.headers["location"])).html:  # noqa: ASYNC110 - as a browser
            await trio.sleep(0.05)
    return shown


async def question_of(running: Site, name: str, **form: Any) -> dict[str, Any]:
    """The form by which an action on all that match is confirmed."""
    answer = await send(running, f"/{name}/act", {"all": "yes", **form})
    return form_of(answer.text, f"/{name}/act").hidden


async def test_a_set_is_shown_page_by_page_newest_first(harness: Harness, site: Open) -> None:
    park(harness, 120)
    shown: list[str] = []
    async with site() as running:
        first = listed = await page(running, "/dead")
        while True:
            shown += [row[-1] for row in listed.last]
            # A busy machine ends a page before its fiftieth job.
            assert len(listed.last) <= 50
            ahead = [link for link in listed.links_to("/dead?") if "after" in link]
            if not ahead:
                break
            listed = await page(running, ahead[-1])
    assert shown == [f"j{number}" for number in reversed(range(120))]
    assert "120 in all" in first.text


async def test_causes_show_no_secret_of_a_job_nor_of_the_configuration(harness: Harness, site: Open) -> None:
    park(harness, 3, error_message="Wrong: sesame-4711 with a-token-of-4711.", error_class="sesame-4711")
    async with site() as running:
        shown = await page(running, "/dead")
        overview = await running.get("/")
    assert shown.headed[0][0] == "3 100.0 %"
    for html in (shown.html, overview.text):
        assert "sesame" not in html
        assert "a-token" not in html


async def test_jobs_are_found_by_conditions_and_wrong_ones_are_refused(harness: Harness, site: Open) -> None:
    park(harness, 3)
    async with site() as running:
        found = await page(running, "/dead?where=user+%3D+j1&where=")
        wrong = await running.get("/dead?where=colour+%3C+red")
        secret = await running.get("/dead?where=password+~+s")
    assert [row[-1] for row in found.rows] == ["j1"]
    assert wrong.status_code == secret.status_code == 400
    assert 'value="colour &lt; red"' in wrong.text
    assert "looks like the name of a secret" in secret.text


@pytest.mark.promise("Security: who can reach the ports", "as a producer, to break a page")
async def test_what_is_no_job_is_shown_as_such_and_can_be_deleted(harness: Harness, site: Open) -> None:
    async with site() as running:
        for body in (b"no job", b'{"class":1}', b"\xff\xfe", b'[1,"<script>"]', b'{"args":"\\ud800"}'):
            harness.client.command("ZADD", "dead", 5, body)
            listed = await page(running, "/dead")
            key = listed.links_to("/dead/")[0].rpartition("/")[2]
            assert (await running.get(f"/dead/{key}")).status_code == 200
            shown = await done_by(running, "/dead/act", {"verb": "delete", "job": key, "confirmed": "yes"})
            assert "1 job; ended" in shown.text
            assert harness.size("dead") == 0


async def test_all_that_match_are_counted_before_and_meant_by_the_second_form(harness: Harness, site: Open) -> None:
    park(harness, 300)
    park(harness, 5, command="kick_user")
    async with site() as running:
        form: dict[str, Any] = {"verb": "delete", "all": "yes", "where": ["command = safe", "at > yesterday"]}
        asked = await send(running, "/dead/act", {**form, "where": "command = safe"})
        done = await done_by(running, "/dead/act", form_of(asked.text, "/dead/act").hidden)
    assert "delete 300" in parse("", asked.text).text
    assert "300 jobs" in done.text
    assert harness.size("dead") == 5


async def test_what_may_have_run_is_sent_again_only_where_that_was_asked_for_apart(
    harness: Harness, site: Open
) -> None:
    park(harness, 2, restbroker_may_have_run=True)
    async with site() as running:
        asked = await send(running, "/dead/act", {"verb": "retry", "all": "yes"})
        form = form_of(asked.text, "/dead/act")
        refused = await done_by(running, "/dead/act", form.hidden)
        assert harness.size("dead") == 2
        done = await done_by(running, "/dead/act", {**form.hidden, "repeat_unsafe": "yes"})
    assert "Also 2 that may have run already" in asked.text
    assert ("repeat_unsafe", "yes") in form.boxes
    assert "0 jobs, 2 refused; ended" in refused.text
    assert "2: It may have run" in refused.text
    assert "2 jobs" in done.text


async def test_a_job_gets_another_time_and_a_time_that_is_none_is_asked_for_again(harness: Harness, site: Open) -> None:
    harness.client.command("ZADD", "schedule", 9e9, job("j0"))
    async with site() as running:
        form = await question_of(running, "scheduled", verb="reschedule")
        wrong = await send(running, "/scheduled/act", {**form, "time": "soon"})
        done = await done_by(running, "/scheduled/act", {**form, "time": "2100-01-01T00:00"})
        listed = await page(running, "/scheduled")
    assert wrong.status_code == 400
    assert "This is not a time." in wrong.text
    assert "1 job" in done.text
    assert any("2100-01-01 00:00:00" in cell for cell in listed.rows[0])


async def test_an_action_is_stopped_on_its_page_and_others_go_on(harness: Harness, site: Open) -> None:
    park(harness, 30)
    async with site() as running:
        form = {**await question_of(running, "dead", verb="delete"), "rate": "1", "why": "a try"}
        answer = await send(running, "/dead/act", form)
        path = answer.headers["location"]
        shown = await page(running, path)
        (stop,) = [form for form in shown.forms if form.action == f"{path}/stop"]
        other = await done_by(
            running, "/dead/act", {**await question_of(running, "dead", verb="delete", where="user = j0")}
        )
        assert (await send(running, stop.action, stop.hidden)).status_code == 303
        entry = path.rpartition("/")[2]
        await harness.until(lambda: audit.of_run(harness.client, entry)[-1].note.state == "interrupted", "it stops")
        stopped = await page(running, path)
        assert (await send(running, "/audit/1-1/stop", {})).status_code == 404
        assert (await send(running, "/audit/x/stop", {})).status_code == 400
    notes = [one.note for one in audit.of_run(harness.client, entry)]
    assert (notes[0].state, notes[0].done, notes[0].why) == ("begun", 0, "a try")
    assert 0 < notes[-1].done < 20
    assert harness.size("dead") == 29 - notes[-1].done
    assert "1 job; ended" in other.text
    assert "interrupted, stopped by web@127.0.0.1 (web)" in stopped.text
    assert "/stop" not in stopped.html


async def test_an_action_that_a_stop_of_the_process_ends_is_interrupted(harness: Harness, site: Open) -> None:
    park(harness, 30)
    async with site() as running:
        form = {**await question_of(running, "dead", verb="delete"), "rate": "1"}
        path = (await send(running, "/dead/act", form)).headers["location"]
    notes = [one.note for one in audit.of_run(harness.client, path.rpartition("/")[2])]
    assert (notes[0].state, notes[-1].state) == ("begun", "interrupted")
    assert harness.size("dead") == 30 - notes[-1].done > 0


@pytest.mark.parametrize(("name", "verb", "late_s"), [("dead", "delete", 8.3e9), ("retries", "retry", 8.1e9)])
async def test_jobs_that_came_since_the_question_are_not_meant(
    name: str, verb: str, late_s: float, harness: Harness, site: Open
) -> None:
    zset = pages.SETS[name]
    for at_s in (8e9, 8.2e9):
        harness.client.command("ZADD", zset, at_s, job(f"j{at_s}"))
    async with site() as running:
        form = await question_of(running, name, verb=verb)
        harness.client.command("ZADD", zset, late_s, late := job("late", retried_at=time.time() + 1))
        done = await done_by(running, f"/{name}/act", {**form, "foreign_queues": "yes"})
    assert "2 jobs" in done.text
    assert harness.client.command("ZSCORE", zset, late) is not None


async def test_a_form_that_was_not_asked_about_is_asked_about(harness: Harness, site: Open) -> None:
    park(harness, 2)
    async with site() as running:
        form = await question_of(running, "dead", verb="delete")
        for wrong in ({"newest": "nan"}, {"newest": ""}, {"asked": "x"}, {"asked": "inf"}):
            answer = await send(running, "/dead/act", {**form, **wrong})
            assert (answer.status_code, harness.size("dead")) == (400, 2)
        await done_by(running, "/dead/act", form_of(answer.text, "/dead/act").hidden)
    assert "The form does not say which jobs it means." in answer.text
    assert harness.size("dead") == 0


async def test_what_was_not_counted_in_time_is_meant_and_said(
    harness: Harness, site: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "_QUESTION_S", 0.0)
    park(harness, 250)
    async with site() as running:
        asked = await send(running, "/dead/act", {"verb": "delete", "all": "yes"})
        done = await done_by(running, "/dead/act", form_of(asked.text, "/dead/act").hidden)
    assert (
        "delete 100 jobs: 100 of 250 have been counted so far; all that match are meant" in parse("", asked.text).text
    )
    assert "250 jobs" in done.text
    assert harness.size("dead") == 0


@pytest.mark.parametrize("rate", ["fast", "0", "nan"])
async def test_a_rate_that_is_none_is_asked_for_again_and_nothing_is_done(
    harness: Harness, site: Open, rate: str
) -> None:
    park(harness, 1)
    async with site() as running:
        form = {**await question_of(running, "dead", verb="delete"), "rate": rate}
        answer = await send(running, "/dead/act", form)
    assert (answer.status_code, "This is not a rate." in answer.text) == (400, True)
    assert harness.size("dead") == 1


@pytest.mark.promise("Security: who can reach the ports", "to have an operator do what the page does not say")
async def test_more_conditions_than_are_heard_and_such_as_no_page_can_show_do_nothing(
    harness: Harness, site: Open
) -> None:
    park(harness, 1)
    async with site() as running:
        for conditions in (
            ["user = *"] * 10 + ["user = none"],
            ["user != a\x01"],
            ["user != a\r\nb"],
            ["user != \u202e"],
        ):
            form = {"verb": "delete", "all": "yes", "confirmed": "yes", "where": conditions}
            assert (await send(running, "/dead/act", form)).status_code == 400
        assert (await running.get("/dead?where=user+%3D+a%01")).status_code == 400
    assert harness.size("dead") == 1


@pytest.mark.promise("Security: who can reach the ports", "to have an operator do what the page does not say")
async def test_only_a_key_names_a_job_of_a_form_since_all_else_would_be_searched_for(
    harness: Harness, site: Open
) -> None:
    names = ("j0", "zzz-" + "0" * 40, "nan-" + "0" * 40, "", "1.0-" + "0" * 39)
    park(harness, 2)
    async with site() as running:
        key = (await page(running, "/dead")).links_to("/dead/")[0].rpartition("/")[2]
        form: dict[str, Any] = {"verb": "delete", "confirmed": "yes"}
        # Were it left out, the third would mean all jobs.
        ways: list[tuple[dict[str, Any], ...]] = [
            ({"job": name}, {"job": [key, name]}, {"job": name, "all": "yes"}) for name in names
        ]
        for more in (*itertools.chain(*ways), {"job": [key] * 51}):
            answer = await send(running, "/dead/act", {**form, **more})
            assert answer.status_code == 400
            assert "contains an invalid job id" in answer.text
    assert harness.size("dead") == 2


class TestMoving:
    @pytest.fixture
    def known(self, harness: Harness) -> ConfigContext:
        return ConfigContext(
            {"other": attrs.evolve(harness.plan().targets[0].target, kind="ejabberd")}, spellings_of(["t"])
        )

    async def test_jobs_get_another_queue_and_one_that_nobody_serves_where_that_was_asked_for(
        self, harness: Harness, site: Open
    ) -> None:
        park(harness, 3)
        async with site() as running:
            asked = await send(running, "/dead/act", {"verb": "move", "all": "yes"})
            form = form_of(asked.text, "/dead/act").hidden
            wrong = await send(running, "/dead/act", {**form, "queue": "elsewhere"})
            ticked = {**form, "queue": "ruby", "foreign_queues": "yes"}
            foreign = await done_by(running, "/dead/act", ticked)
            moved = {fields["queue"] for fields in harness.members("dead")}
            again = await question_of(running, "dead", verb="move")
            done = await done_by(running, "/dead/act", {**again, "queue": "other"})
        assert "This would move 3 jobs." in parse("", asked.text).text
        assert wrong.status_code == 400
        assert "This configuration serves: other." in wrong.text
        assert ("foreign_queues", "yes") in form_of(wrong.text, "/dead/act").boxes
        assert ("3 jobs" in foreign.text, moved) == (True, {"ruby"})
        assert "3 jobs" in done.text
        assert {fields["queue"] for fields in harness.members("dead")} == {"other"}


async def test_jobs_of_queues_that_nobody_here_serves_need_a_tick_of_their_own(harness: Harness, site: Open) -> None:
    park(harness, 1)
    for number, queue in enumerate(["default", "<b>mail", "default"]):
        raw = json.dumps({"class": "Add", "jid": f"j{number}", "queue": queue, "args": ["safe", {}, "t"]})
        harness.client.command("ZADD", "dead", time.time(), raw)
    async with site() as running:
        asked = await send(running, "/dead/act", {"verb": "retry", "all": "yes"})
        form = form_of(asked.text, "/dead/act")
        left = await done_by(running, "/dead/act", form.hidden)
        queued = harness.size("queue:default")
        done = await done_by(running, "/dead/act", {**form.hidden, "foreign_queues": "yes"})
    told = "Also 3 that lead to queues which this configuration does not serve: 'default' (2), '<b>mail' (1)."
    assert told in parse("", asked.text).text
    assert ("foreign_queues", "yes") in form.boxes
    assert ("1 job, 3 refused" in left.text, "3: No target" in left.text, queued) == (True, True, 0)
    assert ("3 jobs" in done.text, harness.size("queue:default"), harness.size("dead")) == (True, 2, 0)


async def test_a_form_that_does_not_say_what_or_which_does_nothing(harness: Harness, site: Open) -> None:
    park(harness, 1)
    forms: tuple[dict[str, str], ...] = ({}, {"verb": "burn"}, {"verb": "delete"}, {"verb": "move", "all": "yes"})
    async with site() as running:
        for form in forms:
            assert (await send(running, "/dead/act", {**form, "confirmed": "yes"})).status_code == 400, form
    assert harness.size("dead") == 1


@pytest.mark.parametrize("kind", ["queue", "target"])
async def test_what_is_paused_says_by_whom_and_why_until_it_is_resumed(kind: str, harness: Harness, site: Open) -> None:
    name = {"queue": "rest", "target": "t"}[kind]
    async with site() as running:
        question = await page(running, f"/steer?do=pause-{kind}&name={name}")
        form = {**form_of(question.html, "/steer").hidden, "for": "2h", "why": "the server is moved"}
        answer = await send(running, "/steer", form)
        paused = await page(running, f"/{kind}s")
        resume = paused.links_to("/steer")[0]
        resumed = await send(running, "/steer", form_of((await page(running, resume)).html, "/steer").hidden)
        after = await page(running, f"/{kind}s")
    assert (answer.status_code, resumed.status_code) == (303, 303)
    assert "the server is moved" in paused.text
    assert "by web@127.0.0.1 (web)" in paused.text
    assert "paused" not in after.text


async def test_a_pause_whose_length_is_none_is_asked_for_again(harness: Harness, site: Open) -> None:
    async with site() as running:
        form = {"do": "pause-queue", "name": "rest", "for": "a while", "why": "kept"}
        answer = await send(running, "/steer", form)
        nothing = await send(running, "/steer", {"do": "burn", "name": "rest"})
    assert answer.status_code == nothing.status_code == 400
    assert 'value="kept"' in answer.text
    assert harness.client.command("SMEMBERS", "paused") == []


@pytest.mark.promise("Security: who can reach the ports", "to have an operator do what the page does not say")
async def test_a_name_that_no_page_can_show_is_acted_on_as_it_is(harness: Harness, site: Open) -> None:
    name = "a\x1b\u202e<b> %25+ö"
    async with site() as running:
        question = await running.get("/steer?" + urlencode({"do": "pause-queue", "name": name}))
        await send(running, "/steer", form_of(question.text, "/steer").hidden)
    assert harness.client.command("SMEMBERS", "paused") == [name.encode()]


@pytest.mark.promise("Security: who can reach the ports", "to have an operator do what the page does not say")
async def test_a_queue_whose_name_is_no_utf_8_is_opened_and_cleared_and_no_other_is_by_its_name(
    harness: Harness, site: Open
) -> None:
    harness.client.command("SADD", "queues", b"a\xff", b"b\xff", "b\\xff")
    harness.client.command("LPUSH", b"queue:a\xff", "1", "2")
    async with site() as running:
        listed = await page(running, "/queues")
        links = [link for link in listed.links if "name=a%5Cxff" in link]
        opened = await page(running, "/queue?name=a%5Cxff")
        question = await page(running, next(link for link in links if "clear-queue" in link))
        done = await send(running, "/steer", form_of(question.html, "/steer").hidden)
        refused = [
            await running.get("/steer?" + urlencode({"do": do, "name": "b\\xff"}))
            for do in ("pause-queue", "resume-queue", "clear-queue")
        ]
    assert "a\\xff 2 – no process serves it" in listed.text
    assert len(opened.rows) == 2
    assert "Jobs that wait in it: 2." in question.text
    assert (done.status_code, harness.client.command("EXISTS", b"queue:a\xff")) == (303, 0)
    assert [answer.status_code for answer in refused] == [400] * 3
    assert all("More than one queue matches" in answer.text for answer in refused)
    assert harness.client.command("SMEMBERS", "paused") == []


async def test_a_queue_is_cleared_after_it_was_said_how_much_waits(harness: Harness, site: Open) -> None:
    harness.client.command("LPUSH", "queue:other", "a", "b", "c")
    async with site() as running:
        question = await page(running, "/steer?do=clear-queue&name=other")
        assert harness.size("queue:other") == 3
        answer = await send(running, "/steer", {**form_of(question.html, "/steer").hidden, "why": "sent twice"})
    assert "Jobs that wait in it: 3." in question.text
    assert answer.status_code == 303
    assert harness.size("queue:other") == 0
    assert [(one.note.done, one.note.why) for one in audit.entries(harness.client, 1)] == [(3, "sent twice")]


async def test_a_process_that_is_gone_is_not_asked(harness: Harness, site: Open) -> None:
    async with site() as running:
        for do in ("quiet-process", "stop-process", "cancel-job"):
            question = await running.get(f"/steer?do={do}&name=host:1:abc&thread=x")
            answer = await send(running, "/steer", {"do": do, "name": "host:1:abc", "thread": "x"})
            assert (question.status_code, answer.status_code) == (400, 400)
    assert list(audit.entries(harness.client, 10)) == []
