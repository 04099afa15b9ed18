"""The pages by which queues, targets, periodic commands, processes and single jobs are controlled, over real HTTP."""

import json
import re
from urllib.parse import urlencode

import pytest

from restbroker.job.json_types import Json
from restbroker.operate import audit
from restbroker.store import periodic
from restbroker.web.controls import CONTROLS
from restbroker.web.guard import PageSettings
from tests.broker.conftest import Harness
from tests.operate.pools import record
from tests.support.html_page import Page, parse
from tests.web.conftest import JOB_PAGES, LIVE_PAGES, Open, Site
from tests.web.test_actions import HOSTILE, done_by, form_of, page, put_jobs


async def steer(running: Site, link: str, **typed: str) -> Page:
    """Presses the button of the page that asks; the question."""
    question = await page(running, link)
    answer = await running.post("/steer", form_of(question.html, "/steer").hidden | typed)
    assert answer.status_code == 303, answer.text
    return question


@pytest.mark.parametrize(("kind", "name"), [("queue", "rest"), ("target", "t"), ("periodic", "nightly")])
async def test_paused_item_says_so_until_it_is_resumed(kind: str, name: str, harness: Harness, site: Open) -> None:
    path = {"periodic": "/scheduled", "queue": "/jobs", "target": "/targets"}[kind]
    async with site() as running:
        typed = {"for": "2h", "why": "the server is moved"}
        await steer(running, f"/steer?do=pause-{kind}&name={name}", **typed)
        paused = await page(running, path)
        await steer(running, paused.links_to("/steer?do=resume")[0])
        after = await page(running, path)
    assert all(word in paused.text for word in ("by web@127.0.0.1 (web)", "the server is moved", " 2 h"))
    assert "paused" not in after.text


async def test_run_now_queues_the_job_of_a_periodic_command(harness: Harness, site: Open) -> None:
    key = "restbroker:periodic"
    harness.client.command("HSET", key, "nightly", "ab 5", "nightly missed", 3, "nightly tick", "missed j")
    async with site() as running:
        before = await page(running, "/scheduled")
        question = await steer(running, before.links_to("/steer?do=run-periodic")[0])
        await harness.until(lambda: harness.target.calls, "the job is delivered")
        after = await page(running, "/scheduled")
    assert re.search(r"\d\d\d\d-\d\d-\d\d 04:30 \+0[12]00", before.text)
    assert "missed: no process ran in time" in before.text
    assert "status of ejabberd: At 04:30 every day (Europe/Berlin)." in question.text
    (written,) = audit.entries(harness.client, 10)
    assert (written.note.action, written.note.place) == ("run", "periodic:nightly")
    assert after.links_to(f"/job?jid={periodic.read(harness.client)[1]['nightly'].jid}")


async def test_a_job_in_progress_is_cancelled_after_a_question(harness: Harness, site: Open) -> None:
    payload = {"class": "Add", "display_class": "register", "jid": "j1", "args": ["register", {}, "***"]}
    work: dict[str, Json] = {"t1": {"queue": "rest", "payload": json.dumps(payload), "run_at": 1_700_000_100}}
    record(harness.client, "node:7:xyz", work, version="restbroker 0.1", queues=["rest"])
    async with site() as running:
        listed = await page(running, "/in-progress")
        question = await steer(running, listed.links_to("/steer")[0])
    assert listed.row("j1")[:4] == ["2023-11-14", "register", "rest", "j1"]
    assert "Of the queue rest: register, j1." in question.text
    assert harness.client.command("LRANGE", "node:7:xyz-signals", 0, -1) == [b"CANCEL t1"]


@pytest.mark.promise("Security: who can reach the ports", "to end a broker through its pages")
async def test_a_job_of_ruby_is_shown_masked_and_not_cancelled(harness: Harness, site: Open) -> None:
    payload = {"class": HOSTILE, "jid": "a-token-of-4711", "args": ["a-private-word"]}
    work: dict[str, Json] = {"t1": {"queue": "q", "payload": json.dumps(payload), "run_at": 10**400}}
    work |= {"t2": {"queue": "q", "payload": json.dumps(payload), "run_at": 1_700_000_000}}
    record(harness.client, "web:9:ab", work, version="7.3.2", queues=["q"], concurrency=10**400, started_at=-(10**400))
    async with site() as running:
        answer = await running.get("/in-progress")
        processes = await running.get("/processes")
        forced = await running.post("/steer", {"do": "cancel-job", "name": "web:9:ab", "thread": "t2"})
    found = parse("/in-progress", answer.text)
    assert (answer.status_code, processes.status_code, forced.status_code) == (200, 200, 400)
    assert len(found.rows) == 1
    assert found.links_to("/steer") == []
    assert "<script>alert(1)</script>" in found.text
    assert not re.search("<script>alert|a-token-of|a-private-word|[\x1b\u202e\u2028]", answer.text)
    assert harness.client.command("EXISTS", "web:9:ab-signals") == 0


@pytest.mark.promise("Security: who can reach the ports", "to have an operator do what the page does not say")
async def test_a_name_that_no_page_can_show_is_acted_on_as_it_is(harness: Harness, site: Open) -> None:
    name = "a\x1b\u202e<b> %25+ö"
    async with site() as running:
        question = await running.get("/steer?" + urlencode({"do": "pause-queue", "name": name}))
        await running.post("/steer", form_of(question.text, "/steer").hidden)
    assert harness.client.command("SMEMBERS", "paused") == [name.encode()]


@pytest.mark.promise("Security: who can reach the ports", "to have an operator do what the page does not say")
async def test_a_queue_that_is_no_utf_8_is_cleared_and_no_other(harness: Harness, site: Open) -> None:
    harness.client.command("SADD", "queues", b"a\xff", b"b\xff", "b\\xff")
    harness.client.command("LPUSH", b"queue:a\xff", "1", "2")
    async with site() as running:
        listed = await page(running, "/jobs")
        links = [link for link in listed.links if "name=a%5Cxff" in link]
        opened = await page(running, "/queue?name=a%5Cxff")
        question = await page(running, next(link for link in links if "clear-queue" in link))
        before = harness.client.command("LLEN", b"queue:a\xff")
        done = await done_by(running, "/steer", form_of(question.html, "/steer").hidden)
        refused = [
            await running.get("/steer?" + urlencode({"do": do, "name": "b\\xff"}))
            for do in ("pause-queue", "resume-queue", "clear-queue")
        ]
    assert "a\\xff 2 – no process serves it" in listed.text
    assert len(opened.rows) == 2
    assert "Jobs that wait in it: 2." in question.text
    assert (before, harness.client.command("EXISTS", b"queue:a\xff")) == (2, 0)
    assert "2 jobs; ended" in done.text
    assert [answer.status_code for answer in refused] == [400] * 3
    assert all("More than one queue matches" in answer.text for answer in refused)
    assert harness.client.command("SMEMBERS", "paused") == []


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"do": "burn", "name": "rest"}, "No action was chosen."),
        ({"do": "pause-queue"}, "No action was chosen."),
        ({"do": "pause-queue", "name": "rest", "for": "a while", "why": "kept"}, "This is not a duration"),
        ({"do": "run-periodic", "name": "none"}, "none"),
        ({"do": "quiet-process", "name": "host:1:abc"}, "This process is gone."),
        ({"do": "stop-process", "name": "host:1:abc"}, "This process is gone."),
        ({"do": "cancel-job", "name": "host:1:abc", "thread": "x"}, "This job is no longer in progress."),
    ],
)
async def test_impossible_step_is_refused(form: dict[str, str], words: str, harness: Harness, site: Open) -> None:
    async with site() as running:
        question = await running.get("/steer?" + urlencode(form))
        answer = await running.post("/steer", form)
    assert (answer.status_code, words in answer.text) == (400, True)
    assert question.status_code == 400
    assert ('value="kept"' in answer.text) == ("for" in form)
    assert list(audit.entries(harness.client, 10)) == []
    assert harness.client.command("SMEMBERS", "paused") == []


@pytest.mark.promise("Security: who can reach the ports", "to change something where pages are read-only")
async def test_nothing_is_offered_and_nothing_is_obeyed(harness: Harness, site: Open) -> None:
    put_jobs(harness, 1)
    payload = {"class": "Add", "jid": "j1", "args": ["register", {}, "***"]}
    work: dict[str, Json] = {"t1": {"queue": "rest", "payload": json.dumps(payload), "run_at": 1_700_000_100}}
    record(harness.client, "node:7:xyz", work, version="restbroker 0.1", queues=["rest"])
    forms = [
        ("/dead/act", {"verb": "delete", "all": "yes", "confirmed": "yes"}),
        ("/queue/act", {"of": "rest", "verb": "delete", "all": "yes", "confirmed": "yes"}),
        ("/steer", {"do": "pause-queue", "name": "rest"}),
        ("/steer", {"do": "cancel-job", "name": "node:7:xyz", "thread": "t1"}),
        ("/steer", {"do": "run-periodic", "name": "nightly"}),
    ]
    async with site(settings=PageSettings("127.0.0.1", is_read_only=True)) as running:
        pages = {path: (await running.get(path)).text for path in (*LIVE_PAGES, *JOB_PAGES, "/job?jid=j0")}
        one = parse("", pages["/dead"]).links_to("/dead/")[0]
        pages[one] = (await running.get(one)).text
        answers = [await running.post(path, form) for path, form in forms]
        answers.append(await running.get("/steer?do=pause-queue&name=rest"))
        edits = [await running.get(path) for path in (f"{one}/edit", "/edit/dead")]
    assert "read only" in pages["/"]
    assert not [html for html in pages.values() if "/steer" in html or 'method="post"' in html]
    assert [answer.status_code for answer in answers] == [403] * 6
    assert [answer.status_code for answer in edits] == [404] * 2
    assert harness.size("dead") == 1
    assert list(audit.entries(harness.client, 10)) == []


SPARE = ("target", "thread", "of", "queue", "job", "sure")
"""Fields of some action, or of none; with what is declared, they would do nothing yet."""
OF_ACTIONS: list[tuple[str, dict[str, str], set[str]]] = [
    *(("/steer", {"do": do, **dict.fromkeys(control.names, "rest")}, set()) for do, control in CONTROLS.items()),
    *(("/dead/act", {"verb": verb, "all": "yes"}, {"job"}) for verb in ("delete", "retry")),
    ("/queue/act", {"verb": "delete", "all": "yes", "of": "rest"}, {"job"}),
    ("/edit/dead", {"command": "safe"}, {"queue"}),
]
"""Where an action is asked for, by which fields, and those of `SPARE` that it may have."""


async def test_an_action_takes_no_field_too_many_and_none_twice(harness: Harness, site: Open) -> None:
    async with site() as running:
        for path, given, more in OF_ACTIONS:
            spare = [(name, ["x"]) for name in SPARE if name not in {*given, *more}]
            for name, values in (*spare, *((name, [value, value]) for name, value in given.items())):
                fields = {**given, name: values}
                asked = [] if path.endswith("/act") else [await running.get(f"{path}?{urlencode(fields, doseq=True)}")]
                for answer in (*asked, await running.post(path, fields)):
                    assert (answer.status_code, "A field of this form" in answer.text) == (400, True), fields
