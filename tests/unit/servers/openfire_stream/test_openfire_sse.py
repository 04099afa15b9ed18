"""Every event of Openfire becomes one in the common form; what is put together as text is read, or handed on so."""

import base64
import json
from collections.abc import Mapping
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job import rubyjson
from restbroker.job.event import EVENT_TYPES, EventType, ServerEvent, as_json
from restbroker.servers.openfire.stream.data import read_data
from restbroker.servers.openfire.stream.form import Form
from restbroker.servers.openfire.stream.options import RawMode
from restbroker.transport.stream import Frame
from tests.support.rows import rows
from tests.unit.servers.openfire_stream.openfire_frames import (
    ANN,
    BOB,
    FULL,
    IN_ROOM,
    ROOM,
    WORKGROUP,
    concatenated,
    stanza,
)


def read(name: str, data: str, mode: RawMode = "typed", host: str | None = None) -> ServerEvent | None:
    return Form("chat", "ann", host, mode).read(Frame(name, data), 1000.5)


def found(name: str, members: Mapping[str, object]) -> ServerEvent:
    event = read(name, json.dumps(members))
    assert event is not None
    return event


Members: TypeAlias = Mapping[str, object]
INVITED: Members = {"room": ROOM, "inviter": BOB, "url": "u", "password": "null"}
OFFER: Members = {"workgroup": WORKGROUP, "id": "o1", "from": BOB}

# Its name; the type in its data, and what else is there; the type of the event, its sender, body and room.
CASES: list[tuple[str, str, Members, EventType, str | None, str | None, str | None]] = [
    ("chatapi.chat", "chat", {"from": FULL, "body": "hi", "data": None}, "message", FULL, "hi", None),
    ("chatapi.chat", "headline", {"from": FULL, "body": "null"}, "message", FULL, "null", None),
    ("chatapi.chat", "error", {"from": FULL, "body": "hi"}, "error", FULL, "hi", None),
    ("chatapi.chat", "chat", {"from": FULL, "state": "composing"}, "chatstate", FULL, None, None),
    ("chatapi.presence", "presence", {"from": FULL, "status": "null", "show": "away"}, "presence", FULL, None, None),
    ("chatapi.muc", "groupchat", {"from": IN_ROOM, "body": "hi"}, "groupchat", IN_ROOM, "hi", ROOM),
    (
        "chatapi.muc",
        "invitationReceived",
        {**INVITED, "from": FULL, "reason": "come"},
        "invitation",
        FULL,
        "come",
        ROOM,
    ),
    ("chatapi.muc", "invitationReceived", {**INVITED, "reason": "null"}, "invitation", BOB, None, ROOM),
    ("chatapi.notify", "notify", {"from": FULL, "data": {"a": 1}}, "notify", FULL, None, None),
    ("chatapi.ask", "offer", {"from": WORKGROUP, "url": "u", "mucRoom": ROOM}, "invitation", WORKGROUP, None, ROOM),
    ("chatapi.ask", "notify-queue", {"from": WORKGROUP, "userCount": 1}, "queue", WORKGROUP, None, None),
    ("chatapi.ask", "depart-queue", {"from": WORKGROUP}, "queue", WORKGROUP, None, None),
    ("chatapi.ask", "groupchat", {"from": IN_ROOM, "body": "hi"}, "groupchat", IN_ROOM, "hi", ROOM),
    ("chatapi.assist", "offerReceived", {**OFFER, "metaData": {"q": "?"}}, "offer", BOB, None, None),
    ("chatapi.assist", "offerRevoked", {**OFFER, "reason": "gone"}, "offer-revoked", BOB, "gone", None),
    ("chatapi.new", "new", {}, "notify", None, None, None),
]


@rows(("name", "word", "members", "kind", "sender", "body", "room"), CASES)
def test_each_event_of_the_table_becomes_one_in_the_common_form(
    name: str, word: str, members: Members, kind: EventType, sender: str | None, body: str | None, room: str | None
) -> None:
    to = {} if name == "chatapi.assist" else {"to": ANN}
    event = found(name, {"type": word, **to, **members})
    assert (event.type, event.sender, event.receiver, event.body, event.room) == (kind, sender, ANN, body, room)
    # Without its stanza nobody can tell whether somebody comes or leaves.
    more = {"presence": "unknown"} if kind == "presence" else {}
    assert event.raw == {"type": word, **to, **members, "event": name, "user": "ann", **more}
    assert event.server == "example.org"
    assert event.id == members.get("id")


def test_an_offer_has_its_users_address_also_where_the_target_names_the_host() -> None:
    offer: Members = {"type": "offerReceived", "workgroup": "w@help.example.org", "id": "o"}
    event = read("chatapi.assist", json.dumps(offer), host="h.org")
    assert event is not None
    assert event.receiver == "ann@h.org"
    unknown = read("chatapi.assist", json.dumps(offer))
    assert unknown is not None
    assert (unknown.receiver, unknown.raw) == (None, {**offer, "event": "chatapi.assist", "user": "ann"})


@rows("body", ['he said "hi"', "two\nlines", r"C:\temp", '"', 'a "b", c', 'ends with "', "tab\there"])
def test_a_text_that_breaks_the_json_is_read_all_the_same(body: str) -> None:
    event = read("chatapi.chat", concatenated(body))
    assert event is not None
    assert (event.type, event.sender, event.receiver) == ("message", FULL, ANN)
    assert event.body == body or "\\" in body  # of a backslash only its stanza tells what it was
    assert isinstance(event.raw, dict)
    assert "parse_error" not in event.raw


@pytest.mark.promise("Security: who can reach the ports", "as a user of Openfire, to be taken for another")
def test_a_text_cannot_say_that_it_is_another_ones() -> None:
    forged = 'hi", "data": null, "from": "boss@example.org", "x": "'
    event = read("chatapi.chat", concatenated(forged))
    assert event is not None
    assert event.sender == FULL
    form = Form("chat", "ann", None, "typed")
    form.read(stanza(forged), 1.0)
    event = form.read(Frame("chatapi.chat", concatenated(forged)), 1.0)
    assert event is not None
    assert (event.sender, event.body) == (FULL, forged)
    assert isinstance(event.raw, dict)
    assert event.raw["parse_error"] == "a member appears twice, and the first one is used"


def test_stanzas_are_events_where_they_are_wanted() -> None:
    frame = stanza("hi", f"{ROOM}/bob", word="groupchat")
    modes: tuple[RawMode, ...] = ("stanzas", "both")
    for mode in modes:
        form = Form("chat", "ann", None, mode)
        event = form.read(frame, 1.0)
        assert event is not None
        assert (event.type, event.sender, event.receiver) == ("stanza", f"{ROOM}/bob", ANN)
        assert (event.id, event.body, event.room) == ("m1", "hi", ROOM)
        assert isinstance(event.raw, dict)
        assert str(event.raw["stanza"]).startswith("<message ")
        typed = form.read(Frame("chatapi.chat", concatenated("hi")), 1.0)
        assert (typed is None) == (mode == "stanzas")


@rows("xml", ["<message", "<other/>", '<!DOCTYPE a [<!ENTITY b "c">]><message from="a">&b;</message>', "\xff"])
def test_what_is_no_stanza_is_handed_on_as_it_came(xml: str) -> None:
    written = base64.b64encode(xml.encode("latin-1")).decode()
    event = read("chatapi.xmpp", json.dumps({"xmpp": written}), "both")
    assert event is not None
    assert (event.type, event.sender, event.raw) == (
        "stanza", None, {"xmpp": written, "event": "chatapi.xmpp", "user": "ann"},
    )  # fmt: skip


@rows(
    ("name", "kind"),
    [("chatapi.chat", "message"), ("chatapi.assist", "offer"), ("chatapi.ask", "queue"), ("odd", "notify")],
)
def test_what_cannot_be_read_is_handed_on_as_text_with_the_reason(name: str, kind: str) -> None:
    event = read(name, '{"body": "x"')
    assert event is not None
    assert (event.type, event.body) == (kind, None)
    assert event.raw == {"event": name, "user": "ann", "text": '{"body": "x"', "parse_error": "it is not JSON"}


@rows("text", ["[" * 5000, '{"a": NaN}', '{"a": 1e999}', "7", '{"a": "\\ud800"}', '{"a": ' + "9" * 5000 + "}", "{}{"])
def test_json_that_no_job_can_hold_is_none(text: str) -> None:
    data = read_data(text)
    assert data.members is None
    assert data.fault is not None


names = st.sampled_from([name for name, *_ in CASES] + ["chatapi.xmpp", ""])
odd = st.text(st.sampled_from('{}[]",:\\nul abtypefrom\n1') | st.characters(exclude_categories=["Cs"]))
members = st.sampled_from(["type", "from", "to", "body", "room", "xmpp", "workgroup"])
values = st.none() | st.text() | st.integers() | st.lists(st.none())
said = odd | st.dictionaries(members, values).map(json.dumps)


@given(st.lists(st.tuples(names, said), max_size=4), st.sampled_from(["typed", "stanzas", "both"]))
def test_whatever_comes_becomes_an_event_that_a_job_can_hold(told: list[tuple[str, str]], mode: RawMode) -> None:
    form = Form("chat", "ann", None, mode)
    for name, data in told:
        event = form.read(Frame(name, data), 1.0)
        if event is not None:
            assert event.type in EVENT_TYPES
            rubyjson.dumps({"args": [as_json(event)]})


def test_a_value_that_is_no_json_is_given_as_text_and_the_members_beside_it_are_kept() -> None:
    offer = '{"type":"offerReceived", "id":"a1", "from":"eve@example.org", "metaData":{"question":["How "big"?"]}}'
    data = read_data(offer)
    assert data.members is not None
    assert (data.members["id"], data.members["from"]) == ("a1", "eve@example.org")
    assert data.members["metaData"] == '{"question":["How "big"?"]}'
    assert data.fault == "the value of metaData is not JSON, and is given as a string"
