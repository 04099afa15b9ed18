"""The overview and the page of a target, with three hours of what was seen: charts, marks, and how much is sent."""

import re
import time

import attrs
import orjson
import pytest

from restbroker.job.json_types import Json
from restbroker.operate.history import ALL, Seen, window
from restbroker.web.charts import clock
from tests.broker.conftest import Harness
from tests.operate.pools import record, serve
from tests.web.conftest import Open
from tests.web.test_actions import page

FIRST_PAGE_BYTES = 60_000
TIMES = {"p50_ms": 46.5, "p95_ms": 120.25, "p99_ms": 240.0}


def minute_of(minute: int, times: range) -> Seen:
    """Something of everything in each minute: the server was away for a quarter of an hour, two hours ago."""
    is_down = times[60] <= times[minute] < times[75]
    jobs = {"waiting": 50_000.0 + 997 * minute % 9000, "retry": minute % 7, "in_progress": 20 + minute % 5}
    counted = {"processed": 5000 * minute + 37 * (minute % 11), "failed": 3 * minute + minute % 3, **TIMES}
    troubles = {"chat": "down"} if is_down else {"web2:7": "start"} if minute == 90 else {}
    return Seen({ALL: {**jobs, **counted}, "chat": {**counted, "of": 7}}, troubles)


@pytest.fixture
def times(harness: Harness) -> range:
    """Writes the last hours; their minutes."""
    found = window(time.time())
    for minute, at_s in enumerate(found[:-1]):
        record = orjson.dumps(attrs.asdict(minute_of(minute, found)))
        harness.client.command("HSET", harness.client.keys.minutes, at_s, record)
    why: dict[str, Json] = {"gate_reason": "Nobody listens there.", "gate_cure": "Start it.", "closed_for_s": 720.0}
    serve(harness.client, "chat", 7, ["jam"], gate="closed", **why)
    serve(harness.client, "crm", 7, ["crm"], gate="denied", gate_reason="The password is wrong.")
    return found


async def test_the_overview_draws_three_hours_and_says_what_happened(times: range, site: Open) -> None:
    async with site() as running:
        found = await page(running, "/")
    labels = re.findall(r'aria-label="((?:Backlog|Failed|Processed|Latency)\.[^"]+)"', found.html)
    away = f"chat down from {clock(times[60])} to {clock(times[75])}"
    assert [label.partition(".")[0] for label in labels] == ["Backlog", "Failed", "Processed", "Latency"]
    assert all(f"{clock(times[1])} to {clock(times[-2])} UTC" in label for label in labels)
    assert "p95: 120 ms now, at most 120 at" in labels[3]
    assert found.html.count(f"<title>{away}</title>") == 4
    assert f"web2:7 started at {clock(times[90])} {away}" in found.text
    assert len(re.findall(r'class="hour"', found.html)) in {4 * 2, 4 * 3}
    assert {len(values.split(",")) for values in re.findall(r'data-values="([^"]*)"', found.html)} == {180}


async def test_a_targets_page_has_its_own_charts_and_troubles(times: range, site: Open) -> None:
    async with site() as running:
        found, bare = await page(running, "/target?name=chat"), await page(running, "/target?name=crm")
        unknown = [await running.get(path) for path in ("/target?name=nobody", "/target", "/live?page=target/nobody")]
        live = await running.get("/live?page=target/chat")
    assert "chat is down (for 12 min): Nobody listens there. Start it." in found.text
    assert "The password is wrong." not in found.text
    assert len(re.findall(r'class="chart"', found.html)) == 3
    assert f"chat down from {clock(times[60])}" in found.text
    assert "chat down" not in bare.text
    assert "crm refuses the login: The password is wrong." in bare.text
    assert 'id="part-charts"' in live.text
    assert [answer.status_code for answer in unknown] == [404, 404, 404]


@pytest.mark.usefixtures("times")
async def test_a_first_visit_costs_at_most_sixty_kilobytes(site: Open) -> None:
    async with site() as running:
        first = await running.get("/")
        beside = [await running.get(path) for path in sorted(set(re.findall(r'"(/static/[^"]+)"', first.text)))]
    assert first.status_code == 200
    assert len(beside) == 4
    assert sum(len(answer.content) for answer in (first, *beside)) <= FIRST_PAGE_BYTES


async def test_charts_of_a_few_minutes_span_half_an_hour(site: Open) -> None:
    async with site() as running:
        found = await page(running, "/")
    assert {len(values.split(",")) for values in re.findall(r'data-values="([^"]*)"', found.html)} == {30}


async def test_a_queue_says_when_it_will_be_empty(harness: Harness, site: Open) -> None:
    serve(harness.client, "chat", 7, ["jam"])
    record(harness.client, "web1:7:x", version="restbroker 0.1", queues=["jam"], queue_changes_per_s={"jam": -2.0})
    harness.client.command("LPUSH", "queue:jam", *(["{}"] * 600))
    async with site() as running:
        pages = [await page(running, path) for path in ("/", "/jobs", "/queue?name=jam")]
    assert [found.text.count("empty in about 5 min") for found in pages] == [3, 1, 1]


async def test_a_cause_on_the_overview_leads_to_its_dead_jobs(harness: Harness, site: Open) -> None:
    fields = {
        "class": "Add",
        "queue": "rest",
        "args": ["safe", {}, "t"],
        "error_class": "Gone",
        "error_message": "Away",
    }
    for jid in ("j1", "j2"):
        harness.client.command("ZADD", "dead", 1, orjson.dumps({**fields, "jid": jid}))
    async with site() as running:
        running.watch.refresh_now()
        found = await page(running, "/")
        (address,) = re.findall(r'href="(/dead\?where=[^"]+)"', found.html)
        there = await page(running, address)
    assert "2 safe: Away How fast" in found.text
    assert "Away" in there.text
