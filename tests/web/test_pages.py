# ruff: noqa: SLF001 - an interval that is over without waiting for it, or an address that is otherwise
"""The pages over real HTTP: what they show, what they never do, and what they say when Redis is away."""

import re
import time
from collections.abc import Callable

import pytest

from restbroker.broker import reaper
from restbroker.store import limits, metrics, pauses, sources
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.sources import SourceState
from restbroker.telemetry.events import JobFinished, OperatorWarning
from restbroker.telemetry.executions import Executions
from restbroker.web.render import LIVE
from restbroker.web.settings import Settings
from tests.broker.conftest import Harness
from tests.operate.pools import serve
from tests.support.html_page import Page, parse
from tests.support.redis_server import RedisServer
from tests.web.conftest import Open, Site

ADDRESSES = ["/" if name == "overview" else f"/{name}" for name in LIVE]


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
        answers = [await running.get(path) for path in ADDRESSES]
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


async def test_a_table_of_very_many_rows_shows_the_most_remarkable_and_says_how_many_are_not_shown(
    harness: Harness, site: Open
) -> None:
    names = [f"queue-{number:04}" for number in range(700)]
    harness.client.command("SADD", "queues", *names)
    harness.client.commands([("LPUSH", f"queue:{name}", "{}", "{}") for name in names[500:]])
    harness.client.command("SET", "queue:queue-0000", "no list")
    async with site() as running:
        answer = await running.get("/queues")
    assert answer.status_code == 200
    assert answer.text.count("/queue?name=queue-") == 300
    assert "queue-0699" in answer.text
    assert "its key is not a list" in answer.text
    # "rest", which the broker serves, is the 701st.
    assert "401 more are not shown" in answer.text
    assert [form.action for form in parse("/queues", answer.text).forms] == ["/find", "/queue"]


async def test_charts_are_drawn_of_what_all_processes_did(harness: Harness, site: Open) -> None:
    minute_s = int(time.time()) // 60 * 60 - 120
    done = Executions(minute_s, "safe", failed=1)
    done.times.add([0.010] * 90 + [0.400] * 10)
    metrics.add(harness.client, [done])
    async with site() as running:
        answer = await running.get("/")
    assert 'aria-label="Processed. The last 3 hours, by the minute. tries: 0 a minute now, 101 at most."' in answer.text
    assert "Failed. The last 3 hours, by the minute. tries: 0 a minute now, 1 at most." in answer.text
    assert "p50: 11 ms now" in answer.text
    assert answer.text.count("<svg") == 4
    assert "backlog: of the last minute, from this page&#39;s own memory." in answer.text


async def test_a_source_that_is_not_read_is_told_on_top_with_its_code_since_when_and_what_to_do(
    harness: Harness, site: Open
) -> None:
    def away(user: str, ago_s: float) -> SourceState:
        message = f"<b>The server</b> has no stream of {user}."
        return SourceState(
            "chat", "openfire-sse", "web1:7", user, time.time() - ago_s, "OpenfireAway", message, "Wait."
        )

    well = SourceState("mim", "mongooseim-amqp", "web1:7", since_s=time.time())
    sources.write(harness.client, [well, *(away(f"user{number}", 7200 + number / 100) for number in range(400))])
    async with site() as running:
        top = await page(running, "/")
        listed = await page(running, "/sources")
    told = "Source chat: <b>The server</b> has no stream of user0."
    told += " (OpenfireAway, for 2 h; the same applies to 399 more)"
    assert f"{told} Wait. See sources" in top.text
    assert "Source mim" not in top.text
    assert '<a href="/sources">See sources</a>' in top.html
    assert "See sources" not in listed.text
    assert "chat user0 OpenfireAway <b>The server</b> has no stream of user0. Wait. 2 h" in listed.text
    assert "101 more are not shown" in listed.text


async def test_a_pause_is_told_below_what_broke_in_a_milder_tone_with_who_why_and_until_when(
    harness: Harness, site: Open
) -> None:
    serve(harness.client, "down", 7, ["jam"], gate="closed", gate_reason="It hangs.")
    pauses.pause_target(harness.client, "t", "ann@web1", "it moves", None)
    pauses.pause_queue(harness.client, "rest", "bob", "tidying", 3000.0)
    async with site() as running:
        found = await page(running, "/")
    assert "Target t is paused. by ann@web1, it moves, until someone resumes it" in found.text
    assert re.search(r"Queue rest is paused\. by bob, tidying, (50 min|49 min \d+ s) more", found.text)
    tones = re.findall(r'<li class="(alarm[^"]*)"><strong>(\w+ \w+)', found.html)
    assert tones[-3:] == [("alarm", "Target down"), ("alarm warn", "Target t"), ("alarm warn", "Queue rest")]


async def test_a_full_redis_is_on_the_overview_in_metrics_and_in_the_log(
    make_redis: Callable[..., RedisServer], site: Open, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "SCAN_S", 0.1)
    harness.redis = make_redis(maxmemory="1gb")
    harness.client = open_client(StoreSettings(harness.redis.url))
    async with site() as running:
        assert "Redis is full" not in (await page(running, "/")).text
        assert "restbroker_redis_problem{" not in (await running.get_metrics()).text
        harness.client.command("CONFIG", "SET", "maxmemory", "100000")
        running.watch.refresh_now()
        found = await page(running, "/")
        full = await running.get_metrics()
        stats = (await running.get_stats()).json()
        await harness.until(lambda: harness.of(OperatorWarning), "the broker warns")
        harness.client.command("CONFIG", "SET", "maxmemory", "1gb")
        running.watch.refresh_now()
        after = await page(running, "/")
    assert "Redis is full: it uses" in found.text
    assert "Producers cannot push; restbroker still settles existing jobs. Raise maxmemory" in found.text
    assert 'restbroker_redis_problem{code="Full"} 1.0' in full.text
    assert [(one["code"], one["grave"]) for one in stats["redis"]] == [("Full", True)]
    assert [one.code for one in harness.of(OperatorWarning)] == ["Full"]
    assert "Redis is full" not in after.text


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
    why = "Nobody listens there."
    serve(
        *(harness.client, "dead", 7, ["jam"]), gate="closed", gate_reason=why, gate_cure="Start it.", closed_for_s=720.0
    )
    serve(harness.client, "fine", 8, ["flow"])
    harness.client.command("LPUSH", "queue:jam", *(["{}"] * 1200))
    for queue in ("flow", "nobody-s"):
        harness.client.command("LPUSH", f"queue:{queue}", "{}")
        harness.client.command("SADD", "queues", queue)
    async with site() as running:
        shown, targets = [await page(running, path) for path in ("/queues", "/targets")]
    assert "down for 12 min Nobody listens there. Start it." in targets.text
    assert "Target dead gets no jobs (for 12 min, 1,200 wait): Nobody listens there. Start it." in shown.text
    assert "jam dead 1,200 – target down" in shown.text
    assert "flow fine 1 – open" in shown.text
    assert "nobody-s 1 – no process serves it" in shown.text


async def test_the_page_of_a_queue_says_why_its_target_gets_no_jobs(harness: Harness, site: Open) -> None:
    shut = {"gate": "denied", "gate_reason": "It answers 401.", "gate_cure": "Correct RestPass."}
    serve(harness.client, "chat", 7, ["jam"], **shut)
    serve(harness.client, "busy", 8, ["slow"], gate="open")
    serve(harness.client, "fine", 9, ["flow"], gate="open")
    limits.pause(harness.client, "chat", "denied", 15.0)
    limits.pause(harness.client, "busy", "retry_after", 600.0)
    pauses.pause_target(harness.client, "fine", "ann@web1", "it moves", None)
    harness.client.command("SADD", "queues", "nobody-s")
    async with site() as running:
        jam, slow, flow, lone = [
            await page(running, f"/queue?name={name}") for name in ("jam", "slow", "flow", "nobody-s")
        ]
        shown = await page(running, "/targets")
    assert "Target chat gets no jobs: It answers 401. Correct RestPass." in jam.text
    assert re.search(r"Target busy gets no jobs: asked to wait, (10 min|9 min \d+ s) more\.", slow.text)
    assert "Target fine is paused. by ann@web1, it moves, until someone resumes it" in flow.text
    assert "No process serves this queue." in lone.text
    assert [one.text.count("gets no jobs") for one in (jam, slow, flow, lone)] == [1, 1, 0, 0]
    # One red banner, and one name, for a refused login.
    assert shown.text.count("Target chat") == 1
    assert "chat jam login refused" in shown.text
    assert "busy slow asked to wait" in shown.text
    assert "fine flow paused" in shown.text


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
