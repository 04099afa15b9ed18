"""The pages that only show, over real HTTP: jobs, where they are, their timelines, and what people did."""

import json
import re

import attrs

from restbroker.job.order import Order
from restbroker.operate import audit
from restbroker.operate.context import ConfigContext
from restbroker.store import events, history, pauses
from restbroker.store.events import IncomingEvent
from restbroker.store.history import JobEnd, JobTimes
from tests.broker.conftest import Harness
from tests.operate.pools import serve
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


async def test_finished_jobs_are_listed_by_conditions(harness: Harness, site: Open) -> None:
    for number in range(60):
        delivered = JobEnd(f"j{number}", "t", "safe", "delivered", 200, 13.0, times=JobTimes(2000, 30, 10))
        harness.client.command("XADD", "restbroker:history", "*", "end", history.to_record(delivered))
    odd = JobEnd("odd", HOSTILE, HOSTILE, HOSTILE, None, 0.0, HOSTILE, times=JobTimes(tries=3))
    harness.client.command("XADD", "restbroker:history", "*", "end", history.to_record(odd))
    async with site() as running:
        first = await page(running, "/finished")
        second = await page(running, first.links_to("/finished?after=")[0])
        found = await page(running, "/finished?where=jid+%3D+j7&where=status+%3D+200")
        wrong = [await running.get(f"/finished?{query}") for query in ("where=user+%3D+bob", "after=%2B")]
        life = await page(running, found.links_to("/job?")[0])
    assert [len(first.rows), len(second.rows)] == [50, 11]
    assert first.rows[1][1:] == ["safe", "t", "delivered", "200", "13 ms", "j59"]
    assert [row[-1] for row in found.rows] == ["j7"]
    assert [answer.status_code for answer in wrong] == [400, 400]
    assert "fetched after 2 s sent after 7 ms answered after 13 ms" in " ".join(life.text.split())
    assert not re.search("<script>alert|[\x1b\u202e\u2028]", first.html)


async def test_without_history_the_page_says_how_to_keep_it(harness: Harness, site: Open) -> None:
    async with site() as running:
        shown = await running.get("/finished")
    assert "&#34;History&#34;: &#34;24h&#34;" in shown.text


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


def put_action(harness: Harness, who: str, place: str, jobs: int) -> None:
    """Write what a retry of so many jobs writes: an entry a hundred jobs."""
    begun = audit.AuditEntry(who=who, action="retry", place=place, where="all", state="begun")
    run = audit.begin(harness.client, begun)
    for done in range(100, jobs + 1, 100):
        jids = tuple(f"{who}-{number}" for number in range(done - 100, done))
        going_on = attrs.evolve(begun, state="going on", run=run, done=done, jids=jids)
        audit.write(harness.client, going_on)
    audit.write(harness.client, attrs.evolve(begun, state="ended", run=run, done=jobs, changes=HOSTILE))


async def test_an_action_is_one_row_that_opens_and_is_found_by_choice(harness: Harness, site: Open) -> None:
    """A page is chosen by a person, an action, a place, a time and a word; the next page keeps to it."""
    put_action(harness, "ann@web1", "dead", 600)
    put_action(harness, "bob@web1", "retry", 100)
    for number in range(60):
        audit.write(harness.client, audit.AuditEntry(who="bob@web1", action="delete", place=f"queue:{number % 3}"))
    async with site() as running:
        every, one = [await page(running, f"/activity?{query}") for query in ("place=dead", "about=ANN@web1-417")]
        chosen = await page(running, "/activity?who=bob@web1&at=newer+1h&about=web1")
        second = await page(running, chosen.links_to("/activity?")[0])
        none = await page(running, "/activity?who=ann@web1&action=delete")
        wrong = [await running.get(f"/activity?{query}") for query in ("at=soon", "at=newer+x", f"who={'x' * 300}")]
    assert len(every.rows) == len(one.rows) == 1
    assert every.rows[0][4] == "600"
    assert every.links_to("/job?") == [f"/job?jid=ann%40web1-{number}" for number in range(3)]
    assert [(len(shown.rows), {row[1] for row in shown.rows}) for shown in (chosen, second)] == [
        (50, {"bob@web1"}),
        (11, {"bob@web1"}),
    ]
    assert re.findall(r"<option value=\"([^\"]*)\" selected", second.html) == ["bob@web1", "newer 1h"]
    assert re.findall(r"<option value=\"(queue:\d)\"", chosen.html) == ["queue:0", "queue:1", "queue:2"]
    assert "Nothing matches." in none.text
    assert [answer.status_code for answer in wrong] == [400] * 3
    assert "<script>alert" not in every.html


async def test_jobs_of_one_command_have_their_arguments_as_columns(harness: Harness, site: Open) -> None:
    """What all have is said once, a secret nowhere; jobs of several commands are as ever."""
    for number in range(3):
        given = {"host": HOSTILE, "user": f"u{number}", "password": f"sesame-{number}", HOSTILE: [number, HOSTILE]}
        harness.client.command("ZADD", "schedule", 2e9 + number, job(f"j{number}", args=["safe", given, "t"]))
    async with site() as running:
        same = await page(running, "/scheduled")
        harness.client.command("ZADD", "schedule", 2e9 + 9, job("other", args=["register", {"user": "bob"}, "t"]))
        mixed = await page(running, "/scheduled")
    assert [row[2] for row in same.last] == ["u0", "u1", "u2"]
    assert re.search(r"In all: safe , host = .* , password = \*\*\* \.", same.text)
    assert 'register{"user": "bob"}' in [row[2] for row in mixed.last]
    assert "In all" not in mixed.text
    assert not re.search("sesame-\\d|<script>alert|[\x1b\u202e\u2028]", same.html)


async def test_held_keys_are_shown_with_the_job_that_died(harness: Harness, site: Open, known: ConfigContext) -> None:
    target = attrs.evolve(known.targets["rest"], order_by=Order())
    known.targets["rest"] = target  # type: ignore[index]
    harness.order = Order()
    # The broker beside it takes what waits, as its own target holds no key.
    pauses.pause_queue(harness.client, "rest", "ann", "", None)
    harness.client.command("ZADD", f"restbroker:held:{target.name}", 1e12 + 5, "\x1e<ann>")
    harness.client.command("HSET", f"restbroker:stopped:{target.name}", "\x1e<ann>", "j1")
    serve(harness.client, target.name, 7, ["rest"])
    async with site() as running:
        shown, overview = [await page(running, path) for path in ("/queue?name=rest", "/")]
        one, every = [await page(running, path) for path in (f"/target?name={target.name}", "/targets")]
    assert "<ann> stopped 1970-01-01" in " ".join(shown.text.split())
    assert "/job?jid=j1" in shown.links_to("/job")
    for told in (overview, one, every):
        assert f"{target.name} has stopped keys (1 key, for up to " in told.text
        assert "up stopped keys" in " ".join(told.text.split()), "its state is not just up"
    assert "<ann>" not in shown.html + overview.text
