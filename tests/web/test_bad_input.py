"""Whatever lies in Redis, pages show it as text, cut, and without secrets; nothing of it ends a page or a broker."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx
import pytest

from restbroker.operate.system import REPORTED
from restbroker.store import heartbeats, jobs
from restbroker.store.identities import ProcessInfo
from restbroker.telemetry.events import OperatorWarning
from tests.broker.conftest import Harness
from tests.support.html_page import Page, parse
from tests.web.conftest import LIVE_PAGES, Open, Site
from tests.web.test_actions import done_by, question_of

HOSTILE: Final = "<script>alert(1)</script>\"'>{{7*7}}&amp;\x00\x1b[31m\u202eevil\u2028\r\n"
TOKEN: Final = "a-token-of-4711"
PASSWORD: Final = "sesame-4711"
LONG_BYTES: Final = 900_000
"""A job of a megabyte is what a broker takes at most."""
MOST_BYTES: Final = 400_000
"""The greatest length of a page."""
SETS: Final = {"dead": "/dead", "retry": "/retries", "schedule": "/scheduled"}
CONDITIONS: Final = (
    "jid+%3D+j1", "message+~+failed", "user+%3D+john", "attempts+%3E+1", "failed_at+%3C+2030-01-01",
)  # fmt: skip
FIELDS: Final = (
    "class", "queue", "jid", "retry", "error_message", "error_class", "error_backtrace", "display_class", "wrapped",
    "retry_count", "created_at", "enqueued_at", "failed_at", "retried_at", "at", "tags", "processed_by", "bid",
    "restbroker_may_have_run", "restbroker_uncertain", "ok_if_exists", "reply_to", "traceparent", "locale", "cattr",
)  # fmt: skip
VALUES: Final[Sequence[Any]] = (
    f"{HOSTILE} {TOKEN}",
    [HOSTILE, {HOSTILE: [TOKEN]}],
    {TOKEN: HOSTILE, "password": PASSWORD},
    10**400,
    -(10**400),
    -1,
    1e300,
    True,
    None,
    "",
)
ARGS: Final[Sequence[Any]] = (
    [HOSTILE, {HOSTILE: HOSTILE}, TOKEN],
    ["safe", {"user": HOSTILE, "password": PASSWORD, "nested": [{"secret": PASSWORD, HOSTILE: [[TOKEN]]}]}, TOKEN],
    ["safe", json.dumps({"user": HOSTILE, "password": PASSWORD}), TOKEN, HOSTILE],
    ["safe", [["user", HOSTILE], ["password", PASSWORD]], TOKEN],
    ["safe", {"n": 10**400}, {HOSTILE: TOKEN}],
    {HOSTILE: HOSTILE, "token": TOKEN},
    HOSTILE,
    10**400,
    None,
)
PLAIN: Final[Mapping[str, Any]] = {
    "class": "Add",
    "queue": "rest",
    "jid": "j1",
    "args": ["safe", {"user": "john", "password": PASSWORD}, TOKEN],
    "error_class": "ServerError",
    "error_message": "It failed.",
    "retry_count": 1,
    "failed_at": 1_700_000_000,
}
NO_JOBS: Final = (
    b"",
    b"\xff\xfe<script>alert(1)</script>",
    b'{"jid":"\xff\xfe","class":"Add"}',
    b'{"jid":"\\ud800","class":"Add"}',
    b"[" * 200 + b"]" * 200,
    b'"<script>alert(1)</script>"',
    b"[1,2]",
    b"\x00\x01\x02",
    b'{"class":"Add","args":["safe",{},"t"]',
)


def oddities() -> Iterator[bytes]:
    """A job for each field and each value that it should not have."""
    for field in FIELDS:
        for value in VALUES:
            yield as_json({**PLAIN, field: value})
    for value in ARGS:
        yield as_json({**PLAIN, "args": value})
    for value in VALUES:
        tries = [dict.fromkeys(("at", "status", "outcome", "code", "ms", "excerpt", HOSTILE), value)]
        yield as_json({**PLAIN, "restbroker_attempts": tries})
        yield as_json({**PLAIN, "restbroker_attempts": value})
    yield from NO_JOBS


def as_json(fields: Mapping[str, Any]) -> bytes:
    # As a producer writes it that cares little: control characters would be escaped in any case.
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass")


def assert_no_secret(text: str) -> None:
    # Not the figures alone: those may stand in a digest by chance.
    assert TOKEN[:-5] not in text
    assert PASSWORD[:-5] not in text


def assert_harmless(answer: httpx.Response, *statuses: int) -> Page:
    assert answer.status_code in (statuses or (200,)), answer.text[:2000]
    assert len(answer.content) <= MOST_BYTES
    text = answer.content.decode()
    assert_no_secret(text)
    if answer.headers["content-type"].startswith("text/html"):
        assert "<script>alert" not in text
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2028]", text)
    return parse(str(answer.url), answer.text)


def assert_nothing_failed(harness: Harness) -> None:
    assert [warned for warned in harness.of(OperatorWarning) if warned.code in {"RequestFailed", "ServerFault"}] == []


async def every_page(running: Site, first: str) -> list[Page]:
    """All pages of a list."""
    found = [assert_harmless(await running.get(first))]
    prefix = first.partition("?")[0]
    while links := [link for link in found[-1].links_to(f"{prefix}?") if "after=" in link]:
        found.append(assert_harmless(await running.get(links[-1])))
    return found


@pytest.mark.promise("Security: who can reach the ports", "as a producer, to break a page")
@pytest.mark.slow  # sixty examples, each on every page
async def test_every_field_of_a_job_may_hold_anything(harness: Harness, site: Open) -> None:
    odd = list(oddities())
    for raw in odd:
        harness.client.command("RPUSH", "queue:other", raw)
    for zset in SETS:
        for number, raw in enumerate(odd):
            harness.client.command("ZADD", zset, 9e9 + number, raw)
    async with site() as running:
        waiting = await every_page(running, "/queue?name=other")
        for path in LIVE_PAGES:
            assert_harmless(await running.get(path))
        assert assert_json(await running.ask("/stats"))["queues"]
        for zset, path in SETS.items():
            pages = await every_page(running, f"{path}?jobs=all")
            links = [link for page in pages for link in page.links_to(f"{path}/")]
            assert sum(len(page.last) for page in pages) == len(set(links)) == harness.size(zset)
            for link in links if zset == "dead" else links[:20]:
                assert_harmless(await running.get(link))
            for condition in CONDITIONS:
                assert_harmless(await running.get(f"{path}?where={condition}"))
    assert sum(len(page.rows) for page in waiting) == len(odd)
    assert_nothing_failed(harness)


def assert_json(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text[:2000]
    assert_no_secret(answer.text)
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.promise("Security: who can reach the ports", "as a producer, to put a script into a page")
async def test_job_and_prompt_pages_may_be_about_anything(harness: Harness, site: Open) -> None:
    odd = list(oddities())
    for number, raw in enumerate(odd):
        harness.client.command("ZADD", "dead", number, raw)
    jid = HOSTILE.strip()
    tries = [dict.fromkeys(("at", "status", "outcome", "code", "ms", "excerpt"), HOSTILE)]
    fields = dict.fromkeys(("queue", "class", "error_class", "error_message", "failed_at"), HOSTILE)
    raw = as_json({**PLAIN, **fields, "jid": jid, "args": ARGS[0], "restbroker_attempts": tries})
    harness.client.command("ZADD", "retry", 9e9, raw)
    harness.client.command("LPUSH", "queue:other", raw)
    harness.client.command("SADD", "queues", "other")
    async with site() as running:
        story = assert_harmless(await running.get("/job?" + urlencode({"jid": jid})))
        assert_harmless(await running.get("/dead/" + quote(HOSTILE.replace("/", ""), safe="")), 404)
        for verb in ("retry", "delete"):
            assert_harmless(await running.post("/dead/act", {"verb": verb, "all": "yes"}))
        form = await question_of(running, "dead", verb="delete")
        done = await done_by(running, "/dead/act", form)
        assert_no_secret(done.html)
        acts = assert_harmless(await running.get("/activity"))
    assert "Its next try is" in story.text
    assert "It waits in the queue other" in story.text
    assert "<script>alert(1)</script>" in story.text
    assert f"{len(odd)} jobs" in done.text
    assert acts.row("delete")
    assert_nothing_failed(harness)


async def test_a_field_of_nearly_a_megabyte_is_not_on_a_page(harness: Harness, site: Open) -> None:
    long = f"{TOKEN} <script>alert(1)</script> " * (LONG_BYTES // 42)
    fields: dict[str, Any] = dict.fromkeys(("jid", "error_message", "error_class", "queue"), long)
    fields |= {"args": ["safe", {"user": long}, TOKEN], "tags": [long]}
    for field, value in fields.items():
        harness.client.command("ZADD", "dead", 9e9, as_json({**PLAIN, field: value}))
        harness.client.command("RPUSH", "queue:other", as_json({**PLAIN, field: value}))
    async with site() as running:
        links = [link for listed in await every_page(running, "/dead") for link in listed.links_to("/dead/")]
        for link in links:
            assert "not shown: the job has" in assert_harmless(await running.get(link)).text
        await every_page(running, "/queue?name=other")
    assert len(links) == len(fields)
    assert_nothing_failed(harness)


async def test_jobs_of_a_megabyte_in_delivery_are_cut_in_the_figures(slow: Harness, site: Open) -> None:
    arguments = {"user": "john", "password": PASSWORD, "note": "n" * LONG_BYTES}
    for number in range(3):
        slow.raw(as_json({"class": "Add", "jid": f"j{number}", "args": ["safe", arguments, "t"]}))
    async with site() as running:
        await slow.until(lambda: len(slow.target.calls) == 3, "all are in delivery")
        answer = await running.ask("/stats")
        metrics = await running.ask("/metrics")
    shown = assert_json(answer)["jobs"]["rest"]
    assert [job["message"]["jid"] for job in shown] == ["j0", "j1", "j2"]
    assert len(answer.content) < 50_000
    assert metrics.status_code == 200
    assert len(metrics.content) < 50_000


async def test_process_may_report_anything_of_itself_and_its_targets(harness: Harness, site: Open) -> None:
    async with site() as running:
        for value in (HOSTILE, [HOSTILE], {HOSTILE: HOSTILE}, 10**400, True, -1.5e300):
            await tells(value, harness, running)
    assert_nothing_failed(harness)


async def tells(value: Any, harness: Harness, running: Site) -> None:
    """A process, of itself and its targets, and each page and figure bears it."""
    facts = ProcessInfo(4711, "h" + HOSTILE, "boot", "ns", 1, "t2")
    jobs.register(harness.client, "stranger:1:x:t2", facts, ["rest", HOSTILE])
    snapshot = json.dumps(dict.fromkeys((*REPORTED.values(), "gate"), value)).encode()
    names = ("hostname", "pid", "started_at", "tag", "version", "concurrency", "queues", "labels", "embedded")
    info = json.dumps(dict.fromkeys(names, value))
    own: dict[str, str] = {"info": info, "beat": "1e999", "busy": "nan", "rss": "-1e308", "rtt_us": HOSTILE}
    heartbeats.write_heartbeats(harness.client, [("stranger:1:x:t2", 1)], {"stranger:1:x:t2": snapshot})
    harness.client.command("SADD", "processes", f"odd{HOSTILE}:1:x", "gone:2:x", b"\xff\xfe:3:x")
    harness.client.command("HSET", f"odd{HOSTILE}:1:x", *[part for pair in own.items() for part in pair])
    harness.client.command("HSET", "restbroker:pause:t2", "<script>alert(1)</script>", "9" * 30, "operator", "x")
    harness.client.command("HSET", "restbroker:pauses:targets", "t2", b"\xff\xfe", "t3", "9 9 [1")
    harness.client.command("HSET", "restbroker:pauses:queues", "rest", b"1 2 {\xff")
    harness.client.command("SADD", "paused", "rest", HOSTILE)
    running.watch.refresh_now()
    for path in LIVE_PAGES:
        answer = await running.get(path)
        assert answer.status_code == 200, answer.text[:2000]
        assert "<script>alert" not in answer.text
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2028]", answer.text)
    figures = await running.ask("/stats")
    metrics = await running.ask("/metrics")
    ready = await running.client.get(f"{running.health.addresses[0]}/healthz")
    assert figures.status_code == metrics.status_code == ready.status_code == 200
    assert "<script" not in metrics.text


async def test_count_that_is_no_number_is_reported(harness: Harness, site: Open) -> None:
    async with site() as running:
        harness.client.command("SET", "stat:failed", "--5")
        running.watch.refresh_now()
        odd = await running.get("/")
        harness.client.command("SET", "stat:failed", "9" * 5000)
        figures = await running.ask("/stats")
        harness.client.command("DEL", "stat:failed")
    assert (odd.status_code, figures.status_code) == (503, 503)
    assert "where a number was expected" in parse("", odd.text).text
    assert_nothing_failed(harness)
