"""The pages that only show, over real HTTP: jobs, where they are, their timelines, and what people did."""

import json
import re

import attrs

from restbroker.job.order import Order
from restbroker.operate import audit
from restbroker.operate.context import ConfigContext
from restbroker.store import events, history, pauses
from restbroker.store.events import IncomingEvent
from restbroker.store.history import JobEnd
from tests.broker.conftest import Harness
from tests.web.conftest import Open
from tests.web.test_actions import HOSTILE, job, page, put_jobs
from tests.web.test_controls import steer


async def test_jobs_are_found_by_conditions_and_wrong_ones_are_refused(harness: Harness, site: Open) -> None:
    put_jobs(harness, 3)
    async with site() as running:
        every = await page(running, "/dead")
        found = await page(running, "/dead?where=user+%3D+j1&where=")
        wrong = await running.get("/dead?where=colour+%3C+red")
        secret = await running.get("/dead?where=password+~+s")
    assert [row[-1] for row in every.last] == ["j2", "j1", "j0"]
    assert [row[-1] for row in found.rows] == ["j1"]
    assert wrong.status_code == secret.status_code == 400
    assert 'value="colour &lt; red"' in wrong.text
    assert "looks like the name of a secret" in secret.text


async def test_the_search_box_finds_jobs_wherever_they_are(harness: Harness, site: Open) -> None:
    put_jobs(harness, 2, error_message=HOSTILE)
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


async def test_timeline_shows_where_a_job_is_and_who_did_what(harness: Harness, site: Open) -> None:
    tries = [{"at": 1_700_000_000, "outcome": "deferred", "code": "ServerError", "status": 500, "ms": 1234}]
    put_jobs(harness, 2, restbroker_attempts=tries)
    harness.client.command("SADD", "paused", "rest")
    odd = JobEnd("j8", HOSTILE, HOSTILE, HOSTILE, None, 0.0, HOSTILE)
    for end in (JobEnd("j8", "t", "safe", "delivered", 200, 13.0), odd):
        harness.client.command("XADD", "restbroker:history", "*", "end", history.to_record(end))
    async with site() as running:
        dead = await page(running, "/job?jid=j1")
        (link,) = dead.links_to("/dead/")
        form = {"verb": "retry", "job": link.rpartition("/")[2], "confirmed": "yes", "why": "mended"}
        await running.post("/dead/act", form)
        waiting, ended = [await page(running, f"/job?jid={jid}") for jid in ("j1", "j8")]
        others = [await running.get(f"/job{query}") for query in ("?jid=j7", "", f"?jid={'x' * 300}")]
    assert "It died 2023-11-14 and stays dead" in dead.text
    assert ["2023-11-14", "deferred ServerError", "500", "1.2 s", ""] in dead.rows
    assert "It waits in the queue rest : the next to be taken." in waiting.text
    assert waiting.row("retry dead")[1] == "web@127.0.0.1 (web)"
    assert "It has ended." in ended.text
    assert ended.rows[1][1:] == ["delivered", "200", "13 ms", "safe", "t"]
    assert not re.search("<script>alert|[\x1b\u202e\u2028]", ended.html)
    assert [answer.status_code for answer in others] == [404, 200, 400]
    assert "It is gone" in others[0].text


async def test_a_timeline_shows_who_received_the_message(harness: Harness, site: Open) -> None:
    client = harness.client
    events.remember_asking(client, "j1", "order-7", "bob@example.org")
    for kind, sender in (("receipt", "bob@example.org/phone"), ("displayed", HOSTILE)):
        record = json.dumps({"type": kind, "id": "order-7", "from": sender}).encode()
        client.run(*events.push_call(client.keys, [IncomingEvent("ev", b"{}", record, kind)]))
    async with site() as running:
        shown = await running.get("/job?jid=j1")
        unknown = await running.get("/job?jid=order-7")
    text = re.sub("<[^>]*>", "", shown.text)
    assert re.search(r"Received by\s*[^<]* bob@example.org/phone\s*$", text, re.MULTILINE)
    assert len(re.findall("somebody else: it went to bob@example.org", text)) == 1
    assert "The recent events reach back to" in text
    assert not re.search("<script>alert", shown.text)
    assert "to whom is not known here" in unknown.text


async def test_actions_of_people_are_listed_and_found_by_a_word(harness: Harness, site: Open) -> None:
    for number in range(60):
        note = audit.AuditEntry(who=f"ann{number}@web1", action="pause", place=f"queue:{HOSTILE}", why=HOSTILE)
        audit.write(harness.client, note)
    async with site() as running:
        await steer(running, "/steer?do=pause-queue&name=rest")
        first = await page(running, "/activity")
        second = await page(running, first.links_to("/activity?")[0])
        found = await page(running, "/activity?about=ANN42")
        wrong = await running.get("/activity?after=%2B")
    assert first.rows[0][1:3] == ["web@127.0.0.1 (web)", "pause queue:rest"]
    assert [len(first.rows), len(second.rows), len(found.rows)] == [50, 11, 1]
    assert found.rows[0][1] == "ann42@web1"
    assert wrong.status_code == 400
    assert not re.search("<script>alert|[\x1b\u202e\u2028]", first.html)


async def test_held_keys_are_shown_with_the_job_that_died(harness: Harness, site: Open, known: ConfigContext) -> None:
    target = attrs.evolve(known.targets["rest"], order_by=Order())
    known.targets["rest"] = target  # type: ignore[index]
    harness.order = Order()
    # The broker beside it takes what waits, as its own target holds no key.
    pauses.pause_queue(harness.client, "rest", "ann", "", None)
    harness.client.command("ZADD", f"restbroker:held:{target.name}", 1e12 + 5, "\x1e<ann>")
    harness.client.command("HSET", f"restbroker:stopped:{target.name}", "\x1e<ann>", "j1")
    async with site() as running:
        shown, overview = [await page(running, path) for path in ("/queue?name=rest", "/")]
    assert "<ann> stopped 1970-01-01" in " ".join(shown.text.split())
    assert "/job?jid=j1" in shown.links_to("/job")
    assert f"{target.name} has stopped keys (1 key, for up to " in overview.text
    assert "<ann>" not in shown.html + overview.text
