"""What Prosody's mod_rest posts becomes an event, and what it is answered is what it can read."""

import json
from typing import Any
from unittest.mock import ANY

import pytest

from restbroker.config.events import EventSource
from restbroker.servers.event_contract import HookRequest, MalformedEvent, PostedEvent
from restbroker.servers.prosody.events import Options, open_hook
from tests.support.rows import rows

MESSAGE = {
    "kind": "message", "type": "chat", "from": "ann@example.org/phone", "to": "bot@bots.example.org", "id": "m1",
    "body": "hello",
}  # fmt: skip


def arrival(**stanza: Any) -> Any:
    return read(json.dumps(stanza).encode(), 1.5)


def read(body: bytes, now_s: float = 1.0) -> PostedEvent:
    return read_by(Options(), body, now_s)


def read_by(options: Options, body: bytes, now_s: float = 1.0) -> PostedEvent:
    hook = open_hook(EventSource(options=options))
    return hook.read(HookRequest("POST", "/", b"/", b"", {}, body), "prosody", now_s)


def test_a_message_has_each_member_and_the_whole_stanza() -> None:
    event = arrival(**MESSAGE).event
    assert (event.type, event.sender, event.receiver) == ("message", "ann@example.org/phone", "bot@bots.example.org")
    assert (event.id, event.body, event.room, event.server) == ("m1", "hello", None, "bots.example.org")
    assert (event.source, event.received_at_s, event.raw) == ("prosody", 1.5, MESSAGE)


def test_a_message_of_a_room_names_the_room() -> None:
    event = arrival(**MESSAGE | {"type": "groupchat", "from": "room@muc.example.org/Ann"}).event
    assert (event.type, event.room, event.sender) == ("groupchat", "room@muc.example.org", "room@muc.example.org/Ann")


@rows(
    ("kind", "word", "type_", "presence", "asks"),
    [
        ("message", None, "message", None, False),
        ("message", "headline", "message", None, False),
        ("message", "error", "error", None, False),
        ("presence", None, "presence", "available", False),
        ("presence", "available", "presence", "available", False),
        ("presence", "unavailable", "presence", "unavailable", False),
        ("presence", "subscribe", "presence", "subscribe", False),
        ("presence", "error", "error", None, False),
        ("iq", "get", "iq", None, True),
        ("iq", "set", "iq", None, True),
        ("iq", None, "iq", None, True),
        ("iq", "result", "iq", None, False),
        ("iq", "error", "error", None, False),
    ],
)
def test_type_presence_and_question_of_an_event_are_known(
    kind: str, word: str | None, type_: str, presence: str | None, asks: bool
) -> None:
    found = arrival(kind=kind, **({} if word is None else {"type": word}))
    assert (found.event.type, found.event.presence, found.asks) == (type_, presence, asks)


def test_source_with_a_name_answers_questions() -> None:
    hook = open_hook(EventSource(options=Options(name="Tea bot", version="1")))
    identity = {"category": "client", "type": "bot", "name": "Tea bot"}
    answered: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"version": {}}, {"version": {"name": "Tea bot", "version": "1"}}),
        ({"disco": True}, {"disco": {"identities": [identity], "features": ANY}}),
    ]
    for question, payload in answered:
        answer = hook.answers.refused(arrival(kind="iq", type="get", **question))
        assert (answer.status, json.loads(answer.body)) == (200, {"kind": "iq", "type": "result", **payload})
    assert hook.answers.refused(arrival(kind="iq", type="get", ping=True)).status == 202
    for stranger in ({"type": "set", "version": {}}, {"type": "get", "disco": "node"}, {"type": "get"}):
        assert (
            json.loads(hook.answers.refused(arrival(kind="iq", **stranger)).body)["error"]["condition"]
            == "service-unavailable"
        )


@rows(
    "body",
    [b"", b"{", b"[]", b'"x"', b"null", b"{}", b'{"kind":"stream"}', b'{"kind":["iq"]}', b'{"kind":NaN}', b"\xff"],
)
def test_invalid_stanza_is_refused_without_repeating_it(body: bytes) -> None:
    with pytest.raises(MalformedEvent):
        read(body)


def test_members_of_another_type_are_left_to_the_raw_stanza() -> None:
    event = arrival(**MESSAGE | {"body": 5, "id": None, "from": ["x"]}).event
    assert (event.body, event.id, event.sender) == (None, None, None)
    assert event.raw == MESSAGE | {"body": 5, "id": None, "from": ["x"]}


@rows("kind", ["message", "presence", "iq"])
def test_refused_event_comes_back_as_an_error_to_wait_for(kind: str) -> None:
    answer = open_hook(EventSource(options=Options())).answers.not_now(arrival(kind=kind), 2)
    stanza = json.loads(answer.body)
    assert (answer.status, answer.headers["Retry-After"], stanza["kind"]) == (503, "2", kind)
    assert (stanza["error"]["type"], stanza["error"]["condition"]) == ("wait", "recipient-unavailable")
    # Prosody replies to no stanza of the type error.
    assert "type" not in stanza


POSTED = (
    "<message to='bot@bots.example.org' from='ann@example.org/phone' type='chat' id='m1' xml:lang='en'>"
    "<body>hello &amp; more</body><odd xmlns='urn:example:odd'><inner a='1'/></odd></message>"
)


def test_stanza_as_xml_is_the_same_event_with_every_element() -> None:
    event = read_by(Options(xml=True), POSTED.encode()).event
    assert (event.type, event.sender, event.receiver) == ("message", "ann@example.org/phone", "bot@bots.example.org")
    assert (event.id, event.body, event.server) == ("m1", "hello & more", "bots.example.org")
    members = {"kind": "message", "type": "chat", "lang": "en", "body": "hello & more", "xml": POSTED}
    assert members.items() <= event.raw.items() if isinstance(event.raw, dict) else False


def test_name_is_given_to_those_who_ask_in_xml() -> None:
    hook = open_hook(EventSource(options=Options(name="Tea bot", version="1", xml=True)))

    def status(query: str) -> tuple[int, bool]:
        stanza = f"<iq type='get' id='q' to='bot@b.example.org' from='a@example.org'>{query}</iq>"
        posted = HookRequest("POST", "/", b"/", b"", {}, stanza.encode())
        answer = hook.answers.refused(hook.read(posted, "prosody", 1.0))
        return answer.status, b"error" in answer.body

    disco = "http://jabber.org/protocol/disco#info"
    assert status("<ping xmlns='urn:xmpp:ping'/>") == (202, False)
    for query in ("<query xmlns='jabber:iq:version'/>", f"<query xmlns='{disco}'/>"):
        assert status(query) == (200, False)
    for other in (f"<query xmlns='{disco}' node='x'/>", "<ping xmlns='urn:other'/>"):
        assert status(other) == (200, True)


@rows("body", [b"", b"<message", b"<other/>", b"{}", b"\xff", b"<!DOCTYPE x><iq/>", b"<message>" + b"<a>" * 200])
def test_xml_that_is_no_stanza_is_refused_without_repeating_it(body: bytes) -> None:
    with pytest.raises(MalformedEvent):
        read_by(Options(xml=True), body)
