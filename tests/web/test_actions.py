"""The forms of jobs over real HTTP: each is asked about, then does what it says to the jobs it names, and no more.

What becomes of a job is for tests/operate.
"""

import itertools
import json
import re
import time
from typing import Any

import pytest
import trio

from restbroker.operate import audit
from restbroker.store import pauses
from restbroker.web import actions
from tests.broker.conftest import Harness
from tests.support.html_page import Form, Page, parse
from tests.support.wait import NEVER_S
from tests.web.conftest import Open, Site

ZSETS = {"dead": "dead", "retries": "retry", "scheduled": "schedule"}
ALL = {**{name: {"all": "yes"} for name in ZSETS}, "queue": {"all": "yes", "of": "rest"}}
"""The fields of a form that means all jobs."""
HOSTILE = "<script>alert(1)</script>\"'\x1b[31m\u202eevil\u2028"
NEXT_YEARS = 4_102_444_800


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


def put_jobs(harness: Harness, count: int, zset: str = "dead", **more: Any) -> None:
    for number in range(count):
        harness.client.command("ZADD", zset, 1_700_000_000 + number, job(f"j{number}", **more))


def push(harness: Harness, *jids: str, queue: str = "rest", **fields: Any) -> None:
    """While nobody takes them."""
    pauses.pause_queue(harness.client, queue, "ann", "", None)
    for jid in jids:
        harness.client.command("LPUSH", f"queue:{queue}", job(jid, **fields))


def there(harness: Harness, name: str) -> list[str]:
    """The ids of the jobs of a set or of the queue rest, the next one first."""
    if name in ZSETS:
        return [fields["jid"] for fields in harness.members(ZSETS[name])]
    found: Any = harness.client.command("LRANGE", "queue:rest", 0, -1)
    return [json.loads(raw)["jid"] for raw in reversed(found)]


async def page(running: Site, path: str) -> Page:
    answer = await running.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8"), answer.text
    return parse(path, answer.text)


def form_of(html: str, action: str) -> Form:
    return next(form for form in parse("", html).forms if form.action == action)


async def done_by(running: Site, path: str, form: dict[str, Any]) -> Page:
    """The page of the action that a confirmed form leads to, once the action is over."""
    answer = await running.post(path, form)
    assert answer.status_code == 303, answer.text
    with trio.fail_after(NEVER_S):
        while 'content="2"' in (shown := await page(running, answer.headers["location"])).html:  # noqa: ASYNC110 - as a browser
            await trio.sleep(0.05)
    return shown


async def question_of(running: Site, name: str, **form: Any) -> dict[str, Any]:
    """The form by which an action on all that match is confirmed."""
    answer = await running.post(f"/{name}/act", ALL[name] | form)
    return form_of(answer.text, f"/{name}/act").hidden


@pytest.mark.parametrize(
    ("name", "verb", "more", "left"),
    [
        ("dead", "delete", {}, {"x", "late"}),
        ("dead", "retry", {}, {"x", "late"}),
        ("dead", "move", {"queue": "ruby", "foreign_queues": "yes"}, {"j0", "j1", "x", "late"}),
        ("retries", "retry", {}, {"x", "late"}),
        ("scheduled", "kill", {}, {"x", "late"}),
        ("scheduled", "reschedule", {"time": "2100-01-01T00:00"}, {"j0", "j1", "x", "late"}),
        ("queue", "delete", {}, {"x", "late"}),
        ("queue", "kill", {}, {"x", "late"}),
    ],
)
async def test_a_form_does_to_what_matched_what_it_says(
    name: str, verb: str, more: dict[str, str], left: set[str], harness: Harness, site: Open
) -> None:
    """What comes between the question and its answer is not meant."""

    def put(jid: str, at_s: float, **fields: Any) -> None:
        if name in ZSETS:
            harness.client.command("ZADD", ZSETS[name], at_s, job(jid, **fields))
        else:
            push(harness, jid, **fields)

    for number, jid in enumerate(("j0", "x", "j1")):
        put(jid, 8e9 + number, **({"enqueued_at": 8e8} if name == "queue" else {}))
    act = f"/{name}/act"
    async with site() as running:
        chosen = ALL[name] | {"verb": verb, "where": "user != x"}
        prompt = await running.post(act, chosen)
        before = there(harness, name)
        put("late", 8e9 if name == "retries" else 8.1e9, retried_at=time.time() + 1, created_at=time.time() + 1)
        done = await done_by(running, act, {**form_of(prompt.text, act).hidden, **more, "why": "so"})
    assert f"This would {verb} 2 jobs" in parse("", prompt.text).text
    assert sorted(before) == ["j0", "j1", "x"]
    assert "2 jobs; ended" in done.text
    assert set(there(harness, name)) == left
    note = next(entry.note for entry in audit.entries(harness.client, 9) if entry.note.action == verb)
    assert (note.action, note.done, note.why, note.who) == (verb, 2, "so", "web@127.0.0.1 (web)")
    moved = {member["jid"] for member in harness.members("dead") if member["queue"] == "ruby"}
    assert moved == ({"j0", "j1"} if verb == "move" else set())
    assert harness.client.command("ZCOUNT", "schedule", NEXT_YEARS, NEXT_YEARS + 1) == 2 * (verb == "reschedule")


@pytest.mark.parametrize(
    ("verb", "wrong", "words"),
    [
        ("delete", {"rate": "fast"}, "This is not a rate."),
        ("delete", {"rate": "0"}, "This is not a rate."),
        ("delete", {"rate": "nan"}, "This is not a rate."),
        ("delete", {"newest": "nan"}, "The form does not say which jobs it means."),
        ("delete", {"newest": ""}, "The form does not say which jobs it means."),
        ("delete", {"asked": "x"}, "The form does not say which jobs it means."),
        ("delete", {"asked": "inf"}, "The form does not say which jobs it means."),
        ("reschedule", {"time": "soon"}, "This is not a time."),
        ("move", {"queue": "elsewhere"}, "This configuration serves: rest."),
        ("delete", {"verb": "edit", "edit": "none"}, "Your input is no longer known."),
    ],
)
async def test_wrong_field_is_asked_for_again(
    verb: str, wrong: dict[str, str], words: str, harness: Harness, site: Open
) -> None:
    put_jobs(harness, 2)
    async with site() as running:
        form = await question_of(running, "dead", verb=verb)
        answer = await running.post("/dead/act", {**form, **wrong})
        assert (answer.status_code, words in parse("", answer.text).text) == (400, True)
        assert (harness.size("dead"), list(audit.entries(harness.client, 1))) == (2, [])
        if "edit" not in wrong:
            right = {"reschedule": {"time": "1h"}, "move": {"queue": "rest"}}.get(verb, {"rate": ""})
            await running.post("/dead/act", form_of(answer.text, "/dead/act").hidden | right)
            assert next(audit.entries(harness.client, 1)).note.action == verb


@pytest.mark.parametrize(
    ("more", "box", "question", "why"),
    [
        ({"restbroker_may_have_run": True}, "repeat_unsafe", "Also 2 that may have run already", "2: It may have run"),
        (
            {"queue": "<b>mail"},
            "foreign_queues",
            "Also 2 that lead to queues which this configuration does not serve: '<b>mail' (2).",
            "2: No target",
        ),
    ],
)
async def test_doubtful_action_needs_a_tick_of_its_own(
    more: dict[str, Any], box: str, question: str, why: str, harness: Harness, site: Open
) -> None:
    put_jobs(harness, 2, **more)
    async with site() as running:
        prompt = await running.post("/dead/act", {"verb": "retry", "all": "yes"})
        form = form_of(prompt.text, "/dead/act")
        refused = await done_by(running, "/dead/act", form.hidden)
        assert harness.size("dead") == 2
        done = await done_by(running, "/dead/act", {**form.hidden, box: "yes"})
    assert question in parse("", prompt.text).text
    assert (box, "yes") in form.boxes
    assert "0 jobs, 2 refused; ended" in refused.text
    assert why in refused.text
    assert "2 jobs" in done.text


async def test_as_many_equal_jobs_are_meant_as_are_ticked(harness: Harness, site: Open) -> None:
    push(harness, "a", "same", "same", "same", "b")
    async with site() as running:
        (form,) = [form for form in (await page(running, "/queue?name=rest")).forms if form.action == "/queue/act"]
        ticked = [value for name, value in form.boxes if name == "job"][:3]
        prompt = await running.post("/queue/act", {**form.hidden, "verb": "delete", "job": ticked})
        done = await done_by(running, "/queue/act", {**form_of(prompt.text, "/queue/act").hidden, "job": ticked})
    assert there(harness, "queue") == ["same", "b"]
    assert "3 jobs" in done.text


@pytest.mark.parametrize(("code", "first"), [("BadArgument", "Edit"), ("AlreadyExists", "Delete"), ("No", "Retry")])
async def test_a_job_has_the_first_action_of_its_cause(harness: Harness, site: Open, code: str, first: str) -> None:
    harness.client.command("ZADD", "dead", 5, job("j1", queue="rest", error_class=code, error_message="No."))
    async with site() as running:
        shown = await page(running, (await page(running, "/dead?jobs=all")).links_to("/dead/")[0])
    head, _, below = shown.html.partition('class="actions">')
    assert re.findall(r">(Retry|Edit|Delete|Kill|Reschedule|Move)<", below)[0] == first
    assert "<section" not in head, "it stands before all else"


@pytest.mark.promise("Security: who can reach the ports", "as a producer, to break a page")
async def test_entry_that_is_no_job_is_shown_and_can_be_deleted(harness: Harness, site: Open) -> None:
    async with site() as running:
        for body in (b"no job", b'{"class":1}', b"\xff\xfe", b'[1,"<script>"]', b'{"args":"\\ud800"}'):
            harness.client.command("ZADD", "dead", 5, body)
            listed = await page(running, "/dead")
            key = listed.links_to("/dead/")[0].rpartition("/")[2]
            assert (await running.get(f"/dead/{key}")).status_code == 200
            shown = await done_by(running, "/dead/act", {"verb": "delete", "job": key, "confirmed": "yes"})
            assert "1 job; ended" in shown.text
            assert harness.size("dead") == 0


async def test_an_action_is_stopped_on_its_page_and_others_go_on(harness: Harness, site: Open) -> None:
    put_jobs(harness, 30)
    async with site() as running:
        form = {**await question_of(running, "dead", verb="delete"), "rate": "1", "why": "a try"}
        answer = await running.post("/dead/act", form)
        path = answer.headers["location"]
        shown = await page(running, path)
        (stop,) = [form for form in shown.forms if form.action == f"{path}/stop"]
        other = await done_by(
            running, "/dead/act", {**await question_of(running, "dead", verb="delete", where="user = j0")}
        )
        assert (await running.post(stop.action, stop.hidden)).status_code == 303
        entry = path.rpartition("/")[2]
        await harness.until(lambda: audit.of_run(harness.client, entry)[-1].note.state == "interrupted", "it stops")
        stopped = await page(running, path)
        for name, status in (("1-1", 404), ("9" * 15 + "-0", 404), ("x", 400), ("1-1 + -", 400)):
            assert (await running.get(f"/activity/{name}")).status_code == status
            assert (await running.post(f"/activity/{name}/stop", {})).status_code == status
    notes = [entry.note for entry in audit.of_run(harness.client, entry)]
    assert (notes[0].state, notes[0].done, notes[0].why) == ("begun", 0, "a try")
    assert 0 < notes[-1].done < 20
    assert harness.size("dead") == 29 - notes[-1].done
    assert "1 job; ended" in other.text
    assert "interrupted, stopped by web@127.0.0.1 (web)" in stopped.text
    assert "/stop" not in stopped.html


async def test_a_stop_of_the_process_leaves_an_action_interrupted(harness: Harness, site: Open) -> None:
    put_jobs(harness, 30)
    async with site() as running:
        form = {**await question_of(running, "dead", verb="delete"), "rate": "1"}
        path = (await running.post("/dead/act", form)).headers["location"]
    notes = [entry.note for entry in audit.of_run(harness.client, path.rpartition("/")[2])]
    assert (notes[0].state, notes[-1].state) == ("begun", "interrupted")
    assert harness.size("dead") == 30 - notes[-1].done > 0


async def test_an_actions_page_reloads_until_no_job_is_on_its_way(harness: Harness, site: Open) -> None:
    put_jobs(harness, 5)
    # No poller takes from a paused queue.
    harness.client.command("SADD", "paused", "rest")
    async with site() as running:
        answer = await running.post("/dead/act", await question_of(running, "dead", verb="retry"))
        link = answer.headers["location"]
        waiting = await page(running, link)
        put_jobs(harness, 2, error_message=HOSTILE, failed_at=time.time())
        harness.client.command("DEL", "queue:rest")
        ended = await page(running, link)
        listed = await page(running, "/activity")
    assert link in listed.links_to("/activity/")
    assert "5 jobs; ended" in waiting.text
    assert "Waiting 5" in waiting.text
    assert ['http-equiv="refresh"' in found.html for found in (waiting, ended)] == [True, False]
    assert "Done 3 Failed again 2" in ended.text
    assert ended.row("ServerError")[:2] == ["2", "dead"]
    assert len(ended.links_to("/dead?where=failure_group")) == 1
    assert "<script>alert(1)" not in ended.html


async def test_uncounted_jobs_are_meant_and_mentioned(
    harness: Harness, site: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "_QUESTION_S", 0.0)
    put_jobs(harness, 250)
    async with site() as running:
        prompt = await running.post("/dead/act", {"verb": "delete", "all": "yes"})
        await done_by(running, "/dead/act", form_of(prompt.text, "/dead/act").hidden)
    assert "100 of 250 have been counted so far; all that match are meant" in parse("", prompt.text).text
    assert harness.size("dead") == 0


@pytest.mark.promise("Security: who can reach the ports", "to have an operator do what the page does not say")
async def test_conditions_that_no_page_can_show_do_nothing(harness: Harness, site: Open) -> None:
    put_jobs(harness, 1)
    async with site() as running:
        for conditions in (
            ["user = *"] * 10 + ["user = none"],
            ["user != a\x01"],
            ["user != a\r\nb"],
            ["user != \u202e"],
        ):
            form = {"verb": "delete", "all": "yes", "confirmed": "yes", "where": conditions}
            assert (await running.post("/dead/act", form)).status_code == 400
        assert (await running.get("/dead?where=user+%3D+a%01")).status_code == 400
    assert harness.size("dead") == 1


@pytest.mark.promise("Security: who can reach the ports", "to have an operator do what the page does not say")
async def test_only_a_key_names_a_job_of_a_form(harness: Harness, site: Open) -> None:
    """All else would be searched for."""
    names = ("j0", "zzz-" + "0" * 40, "nan-" + "0" * 40, "", "1.0-" + "0" * 39)
    put_jobs(harness, 2)
    async with site() as running:
        key = (await page(running, "/dead")).links_to("/dead/")[0].rpartition("/")[2]
        form: dict[str, Any] = {"verb": "delete", "confirmed": "yes"}
        # Were it left out, the third would mean all jobs.
        ways: list[tuple[dict[str, Any], ...]] = [
            ({"job": name}, {"job": [key, name]}, {"job": name, "all": "yes"}) for name in names
        ]
        for more in (*itertools.chain(*ways), {"job": [key] * 51}):
            answer = await running.post("/dead/act", {**form, **more})
            assert answer.status_code == 400
            assert "contains an invalid job id" in answer.text
    assert harness.size("dead") == 2


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("dead", {}),
        ("dead", {"verb": "burn"}),
        ("dead", {"verb": "delete"}),
        ("dead", {"verb": "move", "all": "yes"}),
        ("queue", {"verb": "move", "all": "yes", "of": "rest", "queue": "other"}),
        ("queue", {"verb": "edit", "all": "yes", "of": "rest"}),
        ("queue", {"verb": "delete", "of": "rest", "run": "1-1"}),
        ("dead", {"verb": "delete", "run": "1-1"}),
        ("dead", {"verb": "delete", "run": "*", "all": "yes"}),
        ("queue", {"verb": "retry", "all": "yes", "of": "rest"}),
        ("queue", {"verb": "delete", "all": "yes", "of": "other"}),
    ],
)
async def test_a_form_that_is_none_of_ours_does_nothing(
    name: str, form: dict[str, str], harness: Harness, site: Open
) -> None:
    put_jobs(harness, 1)
    push(harness, "a")
    push(harness, "b", queue="other")
    async with site() as running:
        answer = await running.post(f"/{name}/act", {"confirmed": "yes", **form})
        others = await page(running, "/queue?name=other")
    assert answer.status_code == 400
    assert not [form for form in others.forms if form.action == "/queue/act"], "nobody here serves it"
    assert [harness.size(key) for key in ("dead", "queue:rest", "queue:other")] == [1, 1, 1]
