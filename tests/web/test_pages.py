# ruff: noqa: SLF001 - an interval that is over without waiting for it, or an address that is otherwise
"""The pages over real HTTP: what they show, what they never do, and what they say when Redis is away."""

import re
import time
from collections.abc import Callable

import pytest

from restbroker.broker import reaper
from restbroker.job.json_types import Json
from restbroker.store import pauses, sources
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.sources import SourceState
from restbroker.telemetry.events import JobFinished, OperatorWarning
from restbroker.web.guard import Settings
from tests.broker.conftest import Harness
from tests.operate.pools import serve
from tests.support.html_page import Page, parse
from tests.support.redis_server import RedisServer
from tests.web.conftest import LIVE_PAGES, Open, Site


async def page(running: Site, path: str, **headers: str) -> Page:
    answer = await running.get(path, **headers)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return parse(path, answer.text)


async def test_the_overview_shows_totals_targets_and_queues(harness: Harness, site: Open) -> None:
    harness.client.command("ZADD", "retry", 9e9, "{}")
    harness.client.command("SET", "stat:processed", 1234567)
    async with site() as running:
        harness.push()
        await harness.until(lambda: harness.of(JobFinished), "a job is done")
        harness.client.command("SADD", "queues", "other")
        harness.client.command("LPUSH", "queue:other", "{}", "{}", "{}")
        running.watch._looked_at_s = float("-inf")
        found = await page(running, "/")
    assert "Waiting 3 in all queues" in found.text
    assert "Retries 1 wait" in found.text
    assert re.search(r"Processed 1,234,56\d tries", found.text)
    assert ["3", "–", "no process serves it"] in [row[:3] for row in found.rows]


@pytest.mark.promise("Security: who can reach the ports", "as a producer, to put a script into a page")
async def test_a_page_loads_nothing_from_elsewhere_and_runs_no_script_but_ours(site: Open) -> None:
    async with site() as running:
        answers = [await running.get(path) for path in LIVE_PAGES]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        loaded = re.findall(r'(?:src|href|action)="([^"]+)"', answer.text)
        assert "unsafe" not in policy
        assert policy.startswith("default-src 'none'; ")
        assert {address[0] for address in loaded} <= {"/", "#"}
        assert not any(address.startswith("//") for address in loaded)
        assert not re.search(r"<script(?![^>]*\ssrc=)|\sstyle=|\son\w+=|<style", answer.text)
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.promise("Security: who can reach the ports", "as a producer, to put a script into a page")
async def test_what_strangers_wrote_is_text_on_a_page(harness: Harness, site: Open) -> None:
    hostile = '<script>alert(1)</script>"\x1b[31m\u202eevil\u2028'
    harness.client.command("SADD", "queues", hostile, b"\xff\xfe")
    harness.client.command("LPUSH", f"queue:{hostile}", "{}")
    async with site() as running:
        answer = await running.get("/queues")
    found = parse("/queues", answer.text)
    assert ["1", "–", "no process serves it"] in [row[:3] for row in found.rows]
    assert "<script>alert" not in answer.text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\u2028]", answer.text)
    assert '<script>alert(1)</script>"\\u001b[31m\\u202eevil\\u2028' in found.text


async def test_a_source_that_is_not_read_is_told_on_top_with_what_to_do(harness: Harness, site: Open) -> None:
    away = SourceState(
        "chat", "openfire-sse", "web1:7", "ann", time.time() - 7200, "OpenfireAway", "<b>It</b> is away.", "Wait."
    )
    well = SourceState("mim", "mongooseim-amqp", "web1:7", since_s=time.time())
    sources.write(harness.client, [well, away])
    async with site() as running:
        top, listed = [await page(running, path) for path in ("/", "/sources")]
    assert "Source chat: <b>It</b> is away. (OpenfireAway, for 2 h) Wait. See sources" in top.text
    assert "Source mim" not in top.text
    assert "chat ann OpenfireAway <b>It</b> is away. Wait. 2 h" in listed.text


async def test_a_full_redis_is_on_the_overview_in_metrics_and_in_the_log(
    make_redis: Callable[..., RedisServer], site: Open, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "SCAN_S", 0.1)
    harness.redis = make_redis(maxmemory="1gb")
    harness.client = open_client(StoreSettings(harness.redis.url))
    async with site() as running:
        assert "Redis is full" not in (await page(running, "/")).text
        harness.client.command("CONFIG", "SET", "maxmemory", "100000")
        running.watch.refresh_now()
        found, full = await page(running, "/"), await running.get_metrics()
        await harness.until(lambda: harness.of(OperatorWarning), "the broker warns")
    assert "Redis is full: it uses" in found.text
    assert 'restbroker_redis_problem{code="Full"} 1.0' in full.text
    assert [one.code for one in harness.of(OperatorWarning)] == ["Full"]


async def test_files_are_kept_by_browsers_until_they_change(site: Open) -> None:
    async with site() as running:
        addresses = set(re.findall(r'"(/static/[^"]+)"', (await running.get("/")).text))
        answers = [await running.get(address) for address in sorted(addresses)]
        bare = await running.get("/static/style.css")
        missing = [await running.get(f"/static/{name}") for name in ("nothing.css", "..%2fsite.py", "../site.py")]
    assert [answer.headers["content-type"].partition(";")[0] for answer in answers] == [
        "image/svg+xml",
        "text/javascript",
        "text/css",
    ]
    assert all("immutable" in answer.headers["cache-control"] for answer in answers)
    assert bare.headers["cache-control"] == "no-cache"
    assert [answer.status_code for answer in missing] == [404, 404, 404]


async def test_a_wrong_address_is_told_to_people_as_a_page_and_to_programs_as_json(site: Open) -> None:
    async with site() as running:
        for_people = await running.get("/nothing")
        for_programs = await running.get("/nothing", Accept="*/*")
    assert for_people.status_code == for_programs.status_code == 404
    assert "Ask for /, /healthz, /metrics, /readyz or /stats." in parse("", for_people.text).text
    assert for_programs.json()["error"]["hint"] == "Ask for /, /healthz, /metrics, /readyz or /stats."


class TestBehindAProxy:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings("127.0.0.1", names=("ops.example.org",), prefix="/broker")

    async def test_pages_link_below_the_prefix_whether_or_not_it_was_taken_off(self, site: Open) -> None:
        async with site() as running:
            pages = [await page(running, path, Host="ops.example.org") for path in ("/broker/targets", "/targets")]
        for found in pages:
            assert [link for link in found.links if not link.startswith(("/broker/", "#"))] == []
            assert found.scripts == [next(script for script in found.scripts if script.startswith("/broker/static/"))]

    async def test_only_a_whole_part_of_the_path_is_taken_for_the_prefix(self, site: Open) -> None:
        async with site() as running:
            answers = [await running.get(path) for path in ("/broker", "/brokers", "/broker/")]
        assert [answer.status_code for answer in answers] == [200, 404, 200]

    async def test_two_slashes_lead_to_no_other_host(self, site: Open) -> None:
        async with site() as running:
            for path in ("//targets", "/broker//targets", "//evil.example/..", "/broker//evil.example/"):
                answer = await running.get(path)
                assert "location" not in answer.headers
                links = parse(path, answer.text).links
                assert [link for link in links if not link.startswith(("/broker/", "#"))] == []

    async def test_a_name_that_is_not_configured_is_refused(self, site: Open) -> None:
        async with site() as running:
            assert (await running.get("/", Host="evil.example")).status_code == 421


async def test_a_queue_that_does_not_move_says_why_and_how_much_waits(harness: Harness, site: Open) -> None:
    why: dict[str, Json] = {"gate_reason": "Nobody listens there.", "gate_cure": "Start it.", "closed_for_s": 720.0}
    serve(harness.client, "dead", 7, ["jam"], gate="closed", **why)
    pauses.pause_target(harness.client, "dead", "ann@web1", "it moves", None)
    harness.client.command("LPUSH", "queue:jam", *(["{}"] * 1200))
    harness.client.command("SADD", "queues", "nobody-s")
    async with site() as running:
        shown, jam, lone = [
            await page(running, path) for path in ("/queues", "/queue?name=jam", "/queue?name=nobody-s")
        ]
    assert "dead is down (for 12 min, 1,200 jobs wait): Nobody listens there. Start it." in shown.text
    assert 'dead is paused by ann@web1 until someone resumes it: "it moves"' in jam.text
    assert "No process serves this queue" in lone.text


async def test_a_queue_that_nobody_knows_has_no_page_but_one_that_is_empty_served_or_paused_has(
    harness: Harness, site: Open
) -> None:
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
