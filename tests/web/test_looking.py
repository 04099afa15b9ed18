"""The pages that only show, over real HTTP: jobs in progress, a job's story, what people did, whole targets."""

import json
import re

import pytest

from restbroker.job.json_types import Json
from restbroker.operate import audit
from restbroker.store import history
from restbroker.store.history import JobEnd
from tests.broker.conftest import Harness
from tests.operate.pools import record
from tests.support.html_page import Page, parse
from tests.web.conftest import Open, Site
from tests.web.test_sets import form_of, job, page, park, send

HOSTILE = "<script>alert(1)</script>\"'\x1b[31m\u202eevil\u2028"


async def asked(running: Site, link: str) -> Page:
    """Presses the button of the page that asks; the question."""
    question = await page(running, link)
    answer = await send(running, "/steer", form_of(question.html, "/steer").hidden)
    assert answer.status_code == 303, answer.text
    return question


async def test_a_job_in_hand_is_shown_and_its_delivery_is_ended_after_a_second_look(
    harness: Harness, site: Open
) -> None:
    payload = {"class": "Add", "display_class": "register", "jid": "j1", "args": ["register", {}, "***"]}
    work: dict[str, Json] = {"t1": {"queue": "rest", "payload": json.dumps(payload), "run_at": 1_700_000_100}}
    record(harness.client, "node:7:xyz", work, version="restbroker 0.1", queues=["rest"])
    async with site() as running:
        listed = await page(running, "/in-progress")
        question = await asked(running, listed.links_to("/steer")[0])
    assert listed.row("j1")[:4] == ["2023-11-14 22:15:00", "register", "rest", "j1"]
    assert "Of the queue rest: register, j1." in question.text
    assert harness.client.command("LRANGE", "node:7:xyz-signals", 0, -1) == [b"CANCEL t1"]
    (written,) = audit.entries(harness.client, 10)
    assert (written.note.who, written.note.action) == ("web@127.0.0.1 (web)", "cancel")


async def test_the_search_box_finds_jobs_wherever_they_are(harness: Harness, site: Open) -> None:
    park(harness, 2, error_message=HOSTILE)
    harness.client.command("SADD", "queues", HOSTILE)
    harness.client.command("LPUSH", f"queue:{HOSTILE}", job("q1", args=["safe", {"user": "j1x"}, "t"]))
    end = JobEnd("j1-x", HOSTILE, HOSTILE, HOSTILE, None, 0.0)
    harness.client.command("XADD", "restbroker:history", "*", "end", history.to_record(end))
    async with site() as running:
        found = await page(running, "/find?q=J1")
        nothing = await page(running, "/find?q=sesame-4711")
        wrong = [await running.get(f"/find?q={q}") for q in ("password%3Dsesame-4711", "at~1", "x" * 300, "%E2%80%AE")]
    assert [row[-1] for row in found.rows] == ["q1", "j1", "j1-x"]
    assert ("Nothing was found." in nothing.text, nothing.rows) == (True, [])
    assert [answer.status_code for answer in wrong] == [400] * 4
    assert not re.search("<script>alert|[\x1b\u202e\u2028]", found.html)


@pytest.mark.promise("Security: who can reach the ports", "to end a broker through its pages")
async def test_a_job_that_ruby_has_in_hand_is_shown_without_what_it_tells_and_cannot_be_cancelled(
    harness: Harness, site: Open
) -> None:
    payload = {"class": HOSTILE, "jid": "a-token-of-4711", "args": ["a-private-word"]}
    work: dict[str, Json] = {"t1": {"queue": "q", "payload": json.dumps(payload), "run_at": 10**400}}
    work |= {"t2": {"queue": "q", "payload": json.dumps(payload), "run_at": 1_700_000_000}}
    record(harness.client, "web:9:ab", work, version="7.3.2", queues=["q"], concurrency=10**400, started_at=-(10**400))
    async with site() as running:
        answer = await running.get("/in-progress")
        processes = await running.get("/processes")
        forced = await send(running, "/steer", {"do": "cancel-job", "name": "web:9:ab", "thread": "t2"})
    found = parse("/in-progress", answer.text)
    assert (answer.status_code, processes.status_code, forced.status_code) == (200, 200, 400)
    assert len(found.rows) == 1
    assert found.links_to("/steer") == []
    assert "<script>alert(1)</script>" in found.text
    assert not re.search("<script>alert|a-token-of|a-private-word|[\x1b\u202e\u2028]", answer.text)
    assert harness.client.command("EXISTS", "web:9:ab-signals") == 0


async def test_a_job_s_story_tells_where_it_is_and_who_did_what_with_it(harness: Harness, site: Open) -> None:
    tries = [{"at": 1_700_000_000, "outcome": "deferred", "code": "ServerError", "status": 500, "ms": 1234}]
    park(harness, 2, restbroker_attempts=tries)
    harness.client.command("SADD", "paused", "rest")
    async with site() as running:
        parked = await page(running, "/job?jid=j1")
        (link,) = parked.links_to("/dead/")
        form = {"verb": "retry", "job": link.rpartition("/")[2], "confirmed": "yes", "why": "mended"}
        await send(running, "/dead/act", form)
        waiting = await page(running, "/job?jid=j1")
        nowhere = await running.get("/job?jid=j7")
        empty = await running.get("/job")
        long = await running.get("/job?jid=" + "x" * 300)
    assert "It died at 2023-11-14 22:13:21" in parked.text
    assert "It failed for j1." in parked.text
    assert ["2023-11-14 22:13:20", "deferred ServerError", "500", "1.2 s", ""] in parked.rows
    assert "It waits in the queue rest : the next to be taken." in waiting.text
    assert waiting.row("retry dead")[1] == "web@127.0.0.1 (web)"
    assert [answer.status_code for answer in (nowhere, empty, long)] == [404, 200, 400]
    assert "It is gone" in nowhere.text


async def test_a_job_s_story_tells_how_it_ended_where_that_is_kept(harness: Harness, site: Open) -> None:
    ends = [
        JobEnd("j1", "t", "safe", "delivered", 200, 13.0),
        JobEnd("j1", HOSTILE, HOSTILE, HOSTILE, None, 0.0, HOSTILE),
    ]
    for end in ends:
        harness.client.command("XADD", "restbroker:history", "*", "end", history.to_record(end))
    async with site() as running:
        shown = await page(running, "/job?jid=j1")
    assert "It has ended." in shown.text
    assert "It is gone" not in shown.text
    assert shown.rows[1][1:] == ["delivered", "200", "13 ms", "safe", "t"]
    assert shown.rows[0][2:4] == ["–", "–"]
    assert not re.search("<script>alert|[\x1b\u202e\u2028]", shown.html)


async def test_what_people_did_is_listed_newest_first_and_found_by_a_word(harness: Harness, site: Open) -> None:
    for number in range(60):
        note = audit.AuditEntry(who=f"ann{number}@web1", action="pause", place=f"queue:{HOSTILE}", why=HOSTILE)
        audit.write(harness.client, note)
    async with site() as running:
        await asked(running, "/steer?do=pause-queue&name=rest")
        first = await page(running, "/audit")
        second = await page(running, first.links_to("/audit?")[0])
        found = await page(running, "/audit?about=ANN42")
        wrong = await running.get("/audit?after=%2B")
    assert first.rows[0][1:3] == ["web@127.0.0.1 (web)", "pause queue:rest"]
    assert [len(first.rows), len(second.rows), len(found.rows)] == [50, 11, 1]
    assert found.rows[0][1] == "ann42@web1"
    assert wrong.status_code == 400
    assert not re.search("<script>alert|[\x1b\u202e\u2028]", first.html)
