"""The pages over real HTTP: what they show, what they never do, and what they say when Redis is away."""

import html
import json
import re
import time
from collections.abc import Callable

import pytest

from restbroker.broker import reaper
from restbroker.job.json_types import Json
from restbroker.operate import audit
from restbroker.operate.audit import AuditEntry
from restbroker.store import pauses, sources
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.sources import SourceState
from restbroker.telemetry.events import JobFinished, OperatorWarning
from restbroker.web.guard import PageSettings
from tests.broker.conftest import Harness
from tests.operate.pools import serve
from tests.support.html_page import parse
from tests.support.redis_server import RedisServer
from tests.web.conftest import LIVE_PAGES, Open
from tests.web.test_actions import page


async def test_the_overview_shows_totals_queues_and_what_is_wrong(harness: Harness, site: Open) -> None:
    why: dict[str, Json] = {"gate_reason": "Nobody listens there.", "gate_cure": "Start it.", "closed_for_s": 720.0}
    serve(harness.client, "dead", 7, ["jam"], gate="closed", **why)
    pauses.pause_target(harness.client, "dead", "ann@web1", "it moves", None)
    harness.client.command("LPUSH", "queue:jam", *(["{}"] * 1200))
    harness.client.command("ZADD", "retry", 9e9, "{}")
    harness.client.command("SET", "stat:processed", 1234567)
    harness.client.command("SADD", "queues", "nobody-s")
    well = SourceState("mim", "mongooseim-amqp", "web1:7", since_s=time.time())
    away = SourceState(
        "chat", "openfire-sse", "web1:7", "ann", time.time() - 7200, "Away", "<b>It</b> is away.", "Wait."
    )
    sources.write(harness.client, [well, away])
    async with site() as running:
        harness.push()
        await harness.until(lambda: harness.of(JobFinished), "a job is done")
        running.watch.refresh_now()
        found, listed, jam, lone, of_sources = [
            await page(running, path) for path in ("/", "/jobs", "/queue?name=jam", "/queue?name=nobody-s", "/events")
        ]
    assert "Waiting 1,200 target down In progress 0 Scheduled 0 Retries 1 1,200 jam target down What" in found.text
    assert re.search(r"Tries since the beginning 1,234,56\d 10/s dead down", found.text)
    assert re.search(r"Failed within 5 minutes 0 nothing since \d\d:\d\d UTC", found.text)
    assert "Source chat: <b>It</b> is away. (Away, for 2 h) Wait. See events" in found.text
    assert "Source mim" not in found.text
    assert "dead is down (for 12 min, 1,200 jobs wait): Nobody listens there. Start it." in listed.text
    assert 'dead is paused by ann@web1 until someone resumes it: "it moves"' in jam.text
    assert "No process serves this queue" in lone.text
    assert "chat ann Away <b>It</b> is away. Wait. 2 h" in of_sources.text


@pytest.mark.promise("Security: who can reach the ports", "as a producer, to put a script into a page")
async def test_a_page_loads_nothing_from_elsewhere_and_runs_our_script(site: Open) -> None:
    async with site() as running:
        answers = [await running.get(path) for path in LIVE_PAGES]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        loaded = re.findall(r'(?:src|href|action)="([^"]+)"', answer.text)
        assert "unsafe" not in policy
        assert policy.startswith("default-src 'none'; ")
        assert "script-src 'self'; " in policy
        assert {address[0] for address in loaded} <= {"/", "#"}
        assert not any(address.startswith("//") for address in loaded)
        assert not re.search(r"<script(?![^>]*\ssrc=)|\sstyle=|\son\w+=|<style", answer.text)
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.promise("Security: who can reach the ports", "as a producer, to put a script into a page")
async def test_hostile_text_is_text_on_a_page(harness: Harness, site: Open) -> None:
    hostile = '<script>alert(1)</script>"\x1b[31m\u202eevil\u2028'
    harness.client.command("SADD", "queues", hostile, b"\xff\xfe")
    harness.client.command("LPUSH", f"queue:{hostile}", "{}")
    async with site() as running:
        answer = await running.get("/jobs")
    found = parse("/jobs", answer.text)
    assert ["1", "–", "no process serves it"] in [row[:3] for row in found.rows]
    assert "<script>alert" not in answer.text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\u2028]", answer.text)
    assert '<script>alert(1)</script>"\\u001b[31m\\u202eevil\\u2028' in found.text


@pytest.mark.slow  # Redis itself is looked at every ten seconds
async def test_a_full_redis_is_on_overview_in_metrics_and_in_the_log(
    make_redis: Callable[..., RedisServer], site: Open, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "SCAN_S", 0.1)
    harness.redis = make_redis(maxmemory="1gb")
    harness.client = open_client(StoreSettings(harness.redis.url))
    async with site() as running:
        assert "Redis is full" not in (await page(running, "/")).text
        harness.client.command("CONFIG", "SET", "maxmemory", "100000")
        running.watch.refresh_now()
        found, full = await page(running, "/"), await running.ask("/metrics")
        await harness.until(lambda: harness.of(OperatorWarning), "the broker warns")
    assert "Redis is full: it uses" in found.text
    assert 'restbroker_redis_problem{code="Full"} 1.0' in full.text
    assert [event.code for event in harness.of(OperatorWarning)] == ["Full"]


def shown_job(jid: str, fields: dict[str, Json]) -> str:
    return json.dumps({"jid": jid, "class": "Add", "args": ["safe", {"user": "bob"}, "t"], "queue": "rest", **fields})


async def test_files_are_kept_by_browsers_until_they_change(site: Open) -> None:
    async with site() as running:
        addresses = set(re.findall(r'"(/static/[^"]+)"', (await running.get("/")).text))
        answers = [await running.get(address) for address in sorted(addresses)]
        bare = await running.get("/static/style.css")
        missing = [await running.get(f"/static/{name}") for name in ("nothing.css", "..%2fsite.py", "../site.py")]
    assert {answer.headers["content-type"].partition(";")[0] for answer in answers} == {
        "image/svg+xml",
        "text/javascript",
        "text/css",
    }
    assert all("immutable" in answer.headers["cache-control"] for answer in answers)
    assert bare.headers["cache-control"] == "no-cache"
    assert [answer.status_code for answer in missing] == [404, 404, 404]


async def test_wrong_address_is_answered_as_a_page_or_as_json(site: Open) -> None:
    async with site() as running:
        for_people = await running.get("/nothing")
        for_programs = await running.get("/nothing", Accept="*/*")
        earlier = [await running.get(path) for path in ("/queues", "/sources", "/periodic", "/audit", "/audit/1-0")]
    assert {answer.status_code for answer in earlier} == {404}
    assert for_people.status_code == for_programs.status_code == 404
    assert "Ask for /, /healthz, /metrics, /readyz or /stats." in parse("", for_people.text).text
    assert for_programs.json()["error"]["hint"] == "Ask for /, /healthz, /metrics, /readyz or /stats."


async def test_a_live_list_has_only_the_rows_that_are_searched_for(harness: Harness, site: Open) -> None:
    serve(harness.client, "fine", 8, ["flow", "jam"])
    harness.client.command("SADD", "queues", "flow", "jam")
    async with site() as running:
        whole, some, none = [await page(running, f"/jobs{query}") for query in ("", "?q=JA", "?q=<b>")]
        part = await running.get("/live?page=jobs&q=JA")
        long = await running.get("/jobs?q=" + "x" * 300)
    assert ["flow" in found.text for found in (whole, some, none)] == [True, False, False]
    assert some.row("jam")
    assert "No queue matches." in none.text
    assert "/live?page=jobs&q=JA" in some.html.replace("&amp;", "&")
    assert "jam" in part.text
    assert long.status_code == 400


async def test_lists_are_live_but_for_a_search(harness: Harness, site: Open) -> None:
    harness.client.command("ZADD", "retry", 9e9, "{}")
    harness.client.command("LPUSH", "queue:rest2", "{}")
    lists = ("/retries", "/scheduled", "/dead", "/in-progress", "/queue?name=rest2")
    async with site() as running:
        pages = [(await running.get(path)).text for path in lists]
        searched = (await running.get("/retries?where=user+%3D+bob")).text
    for path, text in zip(lists, pages, strict=True):
        assert f'data-fragment="{path}"' in text
        assert 'id="part-jobs"' in text
    assert "data-fragment" not in searched


async def test_pages_say_how_long_a_job_waits_after_crashes(harness: Harness, site: Open) -> None:
    now_s = time.time()
    fields: dict[str, Json] = {"restbroker_crashes": 3, "restbroker_deferred_at": now_s}
    harness.client.command("ZADD", "schedule", now_s + 40, shown_job("often", fields))
    async with site() as running:
        pages = [(await running.get(path)).text for path in ("/scheduled", "/job?jid=often")]
    assert ["waits 40 s after 3 crashes" in text for text in pages] == [True, True]


async def test_every_link_leads_to_a_page(harness: Harness, site: Open) -> None:
    fields: dict[str, Json] = {"error_class": "ServerError", "error_message": "It failed.", "failed_at": 1_700_000_000}
    for zset in ("dead", "retry", "schedule"):
        harness.client.command("ZADD", zset, time.time() + 9000, shown_job(zset, {} if zset == "schedule" else fields))
    harness.client.command("LPUSH", "queue:elsewhere", shown_job("waits", {"queue": "elsewhere"}))
    harness.client.command("SADD", "queues", "elsewhere")
    pauses.pause_target(harness.client, "t", "ann@web1", "it moves", None)
    audit.write(harness.client, AuditEntry(who="ann", action="retry", place="dead", done=1, jids=("dead",)))
    seen, todo = dict[str, int](), ["/"]
    async with site() as running:
        while todo and len(seen) < 200:
            path = todo.pop()
            answer = await running.get(path)
            seen[path] = answer.status_code
            links = (html.unescape(link).partition("#")[0] for link in parse(path, answer.text).links)
            todo += [link for link in dict.fromkeys(links) if link and link not in {*seen, *todo}]
    assert {path: status for path, status in seen.items() if status != 200} == {}
    assert {"/jobs", "/events", "/activity", "/dead", "/scheduled", "/find"} <= seen.keys()
    assert len(seen) > 30


async def test_pages_behind_a_proxy_link_below_its_prefix(site: Open) -> None:
    settings = PageSettings("127.0.0.1", names=("ops.example.org",), prefix="/broker")
    async with site(settings=settings) as running:
        for path in ("/broker/targets", "/targets", "//targets", "/broker//targets", "//e.example/..", "/broker//e/"):
            answer = await running.get(path, Host="ops.example.org")
            assert "location" not in answer.headers
            found = parse(path, answer.text)
            assert [link for link in found.links if not link.startswith(("/broker/", "#"))] == []
            assert [script for script in found.scripts if not script.startswith("/broker/static/")] == []
        done = await running.post("/steer", {"do": "pause-queue", "name": "rest"})
        parts = [(await running.get(path)).status_code for path in ("/broker", "/brokers", "/broker/")]
        foreign = await running.get("/", Host="evil.example")
    assert (done.status_code, done.headers["location"]) == (303, "/broker/jobs")
    assert (parts, foreign.status_code) == ([200, 404, 200], 421)


async def test_unknown_queue_has_no_page(harness: Harness, site: Open) -> None:
    harness.client.command("SADD", "queues", "drained")
    harness.client.command("SADD", "paused", "still")
    serve(harness.client, "fine", 8, ["flow"])
    async with site() as running:
        for name in ("drained", "still", "flow", "rest"):
            assert "0 in all" in (await page(running, f"/queue?name={name}")).text
        unknown = await running.get("/queue?name=flaw")
        unnamed = await running.get("/queue", Accept="*/*")
    assert unknown.status_code == unnamed.status_code == 404
    assert "There is no queue 'flaw'. Did you mean flow?" in parse("", unknown.text).text
    assert unnamed.json()["error"]["hint"] == "Known are drained, flow, rest, still."
