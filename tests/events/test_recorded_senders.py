"""What real programs posted, byte for byte, to a source as the pages configure it: each request is one job."""

import base64
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import httpx
import pytest

from dev.tools.pages import ROOT, blocks
from restbroker.config.events import EventSource
from restbroker.config.load import load
from restbroker.config.secret import Secret
from restbroker.events import registry as sources
from restbroker.servers import registry
from restbroker.servers.webhook.options import Options
from tests.events.conftest import Hall, Open
from tests.support.rows import rows

RECORDED: Final = ROOT / "tests" / "recorded" / "webhook"
SECRET: Final = "a-secret-of-at-least-16-letters"
PAGE: Final = ROOT / "docs" / "servers" / "webhook.md"
PAGES: Final = (PAGE, PAGE.with_name("webhook-details.md"))


def source_of(name: str, folder: Path) -> EventSource:
    """The source of this name, as the pages have it."""
    shown = (json.loads(block) for page in PAGES for block in blocks(page, "json"))
    (block,) = (event for event in shown if name in event.get("Events", {}).get("Sources", {}))
    for file in ("secret", "prosody"):
        (folder / file).write_text(SECRET)
    text = json.dumps(block).replace("/etc/restbroker/jitsi", str(folder / "secret"))
    (folder / "env.json").write_text(text)
    events = load(folder / "env.json", {}, {}, registry.kinds(), sources.kinds()).config.events
    assert events is not None
    return next(source for source in events.sources if source.name == name)


def recorded(sender: str) -> list[Mapping[str, Any]]:
    (file,) = RECORDED.glob(f"{sender}-*.json")
    requests: list[Mapping[str, Any]] = json.loads(file.read_text("utf-8"))["requests"]
    return requests


async def play(hall: Hall, request: Mapping[str, Any], **headers: str) -> httpx.Response:
    """The answer to a recorded request, whose secret is the page's."""
    own = {
        name: value
        for name, value in request["headers"].items()
        if name.lower() not in ("host", "connection", "content-length")
    }
    own = {name: value.replace("SECRET", SECRET) for name, value in own.items()} | headers
    path = request["path"].replace("SECRET", SECRET)
    return await hall.client.post(f"{hall.url}{path}", content=request["body"].encode(), headers=own)


async def test_mod_post_log_makes_events_as_the_page_says(hall: Open, tmp_path: Path) -> None:
    """Recorded with the type that it has by itself, and played with the one that the page gives it."""
    source = source_of("log", tmp_path)
    by_url = {"authorization": "Basic " + base64.b64encode(f"restbroker:{SECRET}".encode()).decode()}
    requests = recorded("mod_post_log")
    async with hall(source) as one:
        for request in requests:
            answer = await play(one, request, **{"content-type": "application/xmpp+xml"}, **by_url)
            assert (answer.status_code, answer.content) == (202, b"")
        events = [job["args"][0] for job in one.jobs("xmpp_events")]
    fields = [(event["type"], event["from"], event["room"], event["id"], event["body"]) for event in events]
    ann, bob, room = "ann@example.org/res-ann", "bob@example.org/res-bob", "tea@conference.example.org"
    assert fields == [
        ("groupchat", ann, room, "g1", 'Hello room & ☂ "q"'),
        ("message", ann, None, "c1", "Grüße <b>"),
        ("message", bob, None, None, "no id"),
        ("message", ann, None, "userinfo", "userinfo"),
        ("message", ann, None, "key", "key"),
    ]
    assert [event["raw"]["xml"] for event in events] == [request["body"] for request in requests]
    assert one.warnings() == []


async def test_mod_post_log_with_its_own_type_is_refused_with_a_hint(hall: Open, tmp_path: Path) -> None:
    async with hall(attrs.evolve(source_of("log", tmp_path), secret=None)) as one:
        answer = await play(one, recorded("mod_post_log")[0])
        assert one.jobs("xmpp_events") == []
    assert (answer.status_code, answer.headers["accept"]) == (415, "application/xmpp+xml")


async def test_event_sync_makes_the_jobs_that_the_page_shows(hall: Open, tmp_path: Path) -> None:
    source = source_of("jitsi", tmp_path)
    shown = next(job for page in PAGES for job in map(json.loads, blocks(page, "json")) if "received_at" in job)
    requests = recorded("event_sync")
    async with hall(source) as one:
        for request in (*requests, requests[1]):
            assert (await play(one, request)).status_code == 202
        events = [job["args"][0] for job in one.jobs("rooms")]
        lost = await play(one, requests[0], Authorization="Bearer another")
    assert events[1] == shown | {"received_at": events[1]["received_at"]}
    assert [*events[1]] == [*shown]
    fields = [(event["type"], event["from"], event.get("occupants"), event.get("at")) for event in events]
    bob = "bob@meet.example.org/res-bob"
    assert fields == [
        ("created", None, None, 1795805691),
        ("joined", bob, 1, 1795805692),
        ("left", bob, 0, 1795805695),
        ("destroyed", None, None, 1795805695),
        ("left", None, 0, None),
    ]
    assert "mail@" not in json.dumps(events)
    assert one.outcomes() == ["accepted"] * 5 + ["duplicate", "unauthorized"]
    assert lost.status_code == 401
    # Of an occupant without data there is nothing to find.
    (warned,) = one.warnings("EventUnmapped")
    assert "from, at" in warned.message
    assert "Body" in str(warned.hint)


async def test_the_post_that_the_page_tries_becomes_a_job(hall: Open, tmp_path: Path) -> None:
    posts = next(block for block in map(json.loads, blocks(PAGE, "json")) if "event_name" in block)
    (typed,) = blocks(PAGE, "console")
    curl = shlex.split(typed.replace("$(cat /etc/restbroker/jitsi)", SECRET).splitlines()[0])
    assert curl[-3:-1] == ["--json", "@created.json"]
    name, _, value = curl[curl.index("-H") + 1].partition(": ")
    headers = {name: value, "Content-Type": "application/json"}
    async with hall(source_of("jitsi", tmp_path)) as one:
        url = curl[-1].replace("http://127.0.0.1:8081", one.url)
        answers = [await one.client.post(url, content=json.dumps(posts), headers=headers) for _ in range(2)]
        (job,) = one.jobs("rooms")
    assert [answer.status_code for answer in answers] == [202, 202]
    assert [job["args"][0][member] for member in ("type", "name", "at")] == ["created", "tea", 1795805691]
    assert (one.outcomes(), one.warnings()) == (["accepted", "duplicate"], [])


JITSI: Final = EventSource("any", "webhook", "/any", "q", "C", has_ids=False, options=Options(map={"at": ("path",)}))


@pytest.mark.promise("Security: who can reach the ports", "to have an event taken that no server sent")
async def test_the_secret_in_a_path_is_in_no_event(hall: Open) -> None:
    """All below the path is the source's: the secret first, if it is there, and then what the event may hold."""
    secret = "a/secret/of-many-letters"
    async with hall(attrs.evolve(JITSI, secret=Secret(secret))) as one:
        for path in (f"/any/{secret}/room/made", f"/any/room/made?key={secret}", f"/any/{secret}", "/any/room/made"):
            await one.post({}, path)
        events = [job["args"][0] for job in one.jobs("q")]
    assert [event["at"] for event in events] == ["room/made", "room/made", None]
    assert one.outcomes() == ["accepted"] * 3 + ["unauthorized"]
    assert secret not in repr(one.events) + json.dumps(events)


@rows(
    ("headers", "status"),
    [
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Type": "text/xml"}, 400),
    ],
)
async def test_unreadable_post_is_refused_without_quoting_it(hall: Open, headers: dict[str, str], status: int) -> None:
    async with hall(JITSI) as one:
        answer = await one.post(b'{"text": "nobody else"}', "/any", **headers)
        assert one.jobs("q") == []
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert "nobody else" not in f"{one.events} {answer.text}"
    (warned,) = one.warnings("EventMalformed")
    assert "Content-Type" in str(warned.hint)
    assert "Body" in str(warned.hint)
