"""Whoever knows the secret of a source with `Arguments` says what they like to whom the file names, and nothing more.

Each is posted as strangers do, and the job that it becomes is looked at.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import pytest

from restbroker.console.load_config import load_with_notices
from restbroker.job.event_command import LONGEST, MOST_BYTES
from restbroker.operate.handovers import CommandJobs
from tests.events.conftest import Hall, Open
from tests.support.rows import rows

QUEUE: Final = "alerts"
TO: Final = {"type": "chat", "from": "alerts@example.org", "to": "ops@example.org", "subject": ""}
STANZA: Final = {"from": TO["from"], "to": TO["to"], "stanza": "<message><body>{title}</body></message>"}


def source(path: str, body: str, options: dict[str, Any], **more: Any) -> dict[str, Any]:
    handed = {"Target": "chat", "Command": "send_message", "Arguments": {**TO, "body": body}}
    return {"Kind": "webhook", "Path": path, **handed, "Options": options} | more


@pytest.fixture
async def door(hall: Open, tmp_path: Path) -> AsyncIterator[Hall]:
    map_, of_list = {"title": "/title"}, {"lines": "/alerts/*/annotations/summary"}
    allowed = {"Allow": ["send_message", "send_stanza"], "Targets": ["chat"], "Signed": True}
    document = {
        "Targets": {"chat": {"Kind": "ejabberd", "URL": "http://127.0.0.1:5280/api", "Queues": [QUEUE]}},
        "Tokens": {"alerts": {"Secret": "a-secret-of-many-letters", **allowed}},
        "Events": {
            "Listen": "127.0.0.1:8081",
            "Sources": {
                "plain": source("/plain", "{title}", {"Map": map_}),
                "list": source("/list", "{lines}", {"Map": of_list}),
                "slack": source("/slack", "{body}", {"Shape": "slack"}),
                "xml": source("/xml", "", {"Map": map_}, Command="send_stanza", Arguments=STANZA),
                "room": source(
                    "/room",
                    "{title}",
                    {"Map": {**map_, "team": "/team"}},
                    Arguments={**TO, "type": "groupchat", "to": "{team}@rooms.example.org", "body": "{title}"},
                ),
            },
        },
    }
    (tmp_path / "env.json").write_text(json.dumps(document))
    config = load_with_notices(tmp_path / "env.json").config
    assert config.events is not None
    async with hall(*config.events.sources, commands=CommandJobs(config)) as opened:
        yield opened


@rows(
    "text",
    [
        "</body><x xmlns='urn:evil'/><body>",
        "<![CDATA[ <b/> ]]>",
        '<!DOCTYPE x [<!ENTITY e "e">]> &e; &#27; &lt; &amp;lt;',
        "{raw} {title} {to} {{title}} {",
        "/me is here",
        "?OTRv2?",
        "https://evil.example",
        '"}, "token": "x", {"',
    ],
)
async def test_markup_and_placeholders_are_texts(door: Hall, text: str) -> None:
    door.redis.flush()
    assert (await door.post({"title": text}, "/plain")).status_code == 202
    assert (await door.post({"title": text}, "/xml")).status_code == 202
    plain, xml = door.jobs(QUEUE)
    assert plain["args"][:2] == ["send_message", {**TO, "body": text}]
    message = ET.fromstring(xml["args"][1]["stanza"])  # noqa: S314  the claim
    assert [(child.tag, child.text, len(child)) for child in message] == [("body", text, 0)]


async def test_what_else_is_posted_chooses_nothing(door: Hall) -> None:
    chosen = {"to": "eve@evil.example", "from": "ceo@example.org", "command": "unregister", "host": "evil.example"}
    chosen |= {
        "token": "t",
        "queue": "other",
        "class": "Evil",
        "jid": "j",
        "type": "error",
        "subject": "s",
        "body": "b",
    }
    await door.post({"title": "plain"}, "/plain")
    answer = await door.post({"title": "t", **chosen, "args": ["x"]}, "/plain/eve?to=eve@evil.example", To="eve")
    usual, job = door.jobs(QUEUE)
    assert answer.headers["Restbroker-Job"] == job["jid"]
    assert job["args"][:2] == ["send_message", {**TO, "body": "t"}]
    assert {name for name in job if job[name] != usual[name]} <= {"args", "jid", "created_at", "enqueued_at"}
    assert door.store.command("SMEMBERS", "queues") == [QUEUE.encode()]


@rows(
    ("word", "said"),
    [
        *((word, None) for word in ("x@evil.example", "x＠evil.example", "x﹫evil.example", "@evil.example", "")),
        *(
            (word, None)
            for word in ("x/y", "x／y", "x y", "x\u00a0y", "<x>", "x'", 'x"', "x:y", "x\\y", "x&amp;y", "x\ny")
        ),
        ("x\u202e\x00\x1b[31m", "x"),
        # To servers it is "fine", which is another room than it looks like.
        ("\ufb01ne", None),
    ],
)
async def test_the_name_of_a_room_is_one_word(door: Hall, word: str, said: str | None) -> None:
    """Also as servers read it, to whom a full-width @ is an @."""
    door.redis.flush()
    answer = await door.post({"title": "very-own", "team": word}, "/room")
    assert answer.status_code == (422 if said is None else 202)
    assert [job["args"][1]["to"] for job in door.jobs(QUEUE)] == ([] if said is None else [f"{said}@rooms.example.org"])
    assert "very-own" not in answer.text


MEGABYTE: Final = 1024 * 1024
ALERT: Final = {"annotations": {"summary": "down"}}


def title(text: str) -> bytes:
    return json.dumps({"title": text}, ensure_ascii=False).encode()


@rows(
    ("path", "body", "status", "begins"),
    [
        ("/plain", title("x" * (MEGABYTE - 100)), 202, "x" * LONGEST + "…"),
        ("/plain", title("&" * (MEGABYTE - 100)), 202, "&" * 1500),
        ("/plain", title("\x1b[31m" * 100_000 + "red"), 202, "red"),
        ("/plain", title("\x1b]" * 140_000), 422, None),
        ("/list", json.dumps({"alerts": [ALERT] * 20_000}).encode(), 202, "down\n" * 700),
        ("/slack", json.dumps({"attachments": [{"text": "<a|b>"}] * 25_000}).encode(), 200, "<a|b>\n" * 100 + "…"),
        ("/plain", b'{"title":' + b"[" * 5000 + b"]" * 5000 + b"}", 400, None),
        ("/plain", b'{"title": "t", "x": ' + b'{"a":' * 5000 + b"1" + b"}" * 5001, 400, None),
    ],
)
async def test_what_is_too_much_is_cut_or_refused(
    door: Hall, path: str, body: bytes, status: int, begins: str | None
) -> None:
    """More than a megabyte is refused unread: test_webhook."""
    door.redis.flush()
    answer = await door.post(body, path)
    assert (answer.status_code, len(answer.text) < 300) == (status, True), answer.text[:300]
    said = [job["args"][1]["body"] for job in door.jobs(QUEUE)]
    assert len(said) == (begins is not None)
    assert begins is None or said[0].startswith(begins)
    assert all(len(escape(text).encode()) <= MOST_BYTES for text in said)


async def test_a_flood_is_said_and_each_job_can_be_done(door: Hall) -> None:
    """Only `RateLimit` protects people from it: the page says so."""
    texts = [f"t{number}" for number in range(300)]
    for text in texts:
        assert (await door.post({"title": text}, "/plain")).status_code == 202
    assert [job["args"][1]["body"] for job in door.jobs(QUEUE)] == texts
