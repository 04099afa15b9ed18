"""What real programs posted, byte for byte, to a source as the pages configure it: each request is one job."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import httpx

from restbroker.config.events import EventSource
from restbroker.config.load import load
from restbroker.events import registry as sources
from restbroker.servers import registry
from tests.events.conftest import Hall, Open
from tools.pages import ROOT, blocks

RECORDED: Final = ROOT / "tests" / "recorded" / "webhook"
SECRET: Final = "a-secret-of-at-least-16-letters"
PAGE: Final = ROOT / "docs" / "servers" / "webhook.md"


def source_of(name: str, folder: Path) -> EventSource:
    """The source of this name, as the page has it."""
    (block,) = (
        one for one in map(json.loads, blocks(PAGE, "json")) if name in one.get("Events", {}).get("Sources", {})
    )
    (folder / "secret").write_text(SECRET)
    text = json.dumps(block).replace("/run/credentials/restbroker/jitsi", str(folder / "secret"))
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
    own = {name: value for name, value in request["headers"].items() if name.lower() not in ("host", "connection")}
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
    told = [(event["type"], event["from"], event["room"], event["id"], event["body"]) for event in events]
    ann, bob, room = "ann@example.org/res-ann", "bob@example.org/res-bob", "tea@conference.example.org"
    assert told == [
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
