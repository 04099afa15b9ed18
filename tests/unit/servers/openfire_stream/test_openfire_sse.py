"""Every event of Openfire becomes one in the common form: by its stanza, or as the plugin says it, readable or not."""

import base64
import json
from collections.abc import Mapping
from typing import Final, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job import rubyjson
from restbroker.job.event import EVENT_TYPES, ServerEvent, as_json
from restbroker.servers.openfire.stream.frames import FrameReader, read_data
from restbroker.transport.stream import Frame
from tests.support.rows import rows

ANN: Final = "ann@example.org"
BOB: Final = "bob@example.org"
ROOM: Final = "tea@conference.example.org"
WORKGROUP: Final = "w@workgroup.example.org"
FULL: Final = f"{BOB}/phone"
IN_ROOM: Final = f"{ROOM}/bob"

Members: TypeAlias = Mapping[str, object]


def read(name: str, data: str, host: str | None = None) -> ServerEvent | None:
    return FrameReader("chat", "ann", host).read(Frame(name, data), 1000.5)


def coded(xml: str) -> str:
    return json.dumps({"xmpp": base64.b64encode(xml.encode()).decode()})


def of_stanza(head: str, inner: str = "") -> ServerEvent | None:
    """The event of a stanza with this tag and these attributes."""
    return read("chatapi.xmpp", coded(f'<{head} to="{ANN}" id="m1">{inner}</{head.partition(" ")[0]}>'))


BODY: Final = "<body>hi</body>"
TYPING: Final = '<composing xmlns="http://jabber.org/protocol/chatstates"/>'
DATA: Final = (
    '<properties xmlns="http://www.jivesoftware.com/xmlns/xmpp/properties"><property><name>data</name>'
    '<value type="string">%s</value></property></properties>'
)
DIRECT: Final = f'<x xmlns="jabber:x:conference" jid="{ROOM}"/>'
BY_ROOM: Final = (
    f'<x xmlns="http://jabber.org/protocol/muc#user"><invite from="{BOB}"><reason>come</reason></invite>'
    f"<password>pw</password></x>{DIRECT}"
)
WITHOUT_REASON: Final = f'<x xmlns="http://jabber.org/protocol/muc#user"><invite from="{BOB}"/></x>'

# Its tag; what is in it; the type of the event, its body and room; the members of `raw` beside the stanza.
STANZAS: list[tuple[str, str, str, str | None, str | None, Members]] = [
    (f'message type="chat" from="{FULL}"', BODY, "message", "hi", None, {"type": "chat"}),
    (f'message from="{FULL}"', BODY, "message", "hi", None, {}),
    (f'message type="headline" from="{FULL}"', "<body/>", "message", "", None, {"type": "headline"}),
    (f'message from="{FULL}"', "<body><![CDATA[<hi>]]></body>", "message", "<hi>", None, {}),
    (f'message from="{FULL}"', BODY + DATA % '{"k":1}', "message", "hi", None, {"data": {"k": 1}}),
    (f'message from="{FULL}"', BODY + DATA % "{k", "message", "hi", None, {"data": "{k"}),
    (f'message from="{FULL}"', BODY + TYPING, "message", "hi", None, {"state": "composing"}),
    (f'message from="{FULL}"', TYPING, "chatstate", None, None, {"state": "composing"}),
    (f'message type="error" from="{FULL}"', BODY, "error", "hi", None, {"type": "error"}),
    (f'message type="groupchat" from="{IN_ROOM}"', BODY, "groupchat", "hi", ROOM, {"type": "groupchat"}),
    (f'message from="{ROOM}"', BY_ROOM, "invitation", "come", ROOM, {"inviter": BOB, "password": "pw"}),
    (f'message from="{ROOM}"', WITHOUT_REASON, "invitation", None, ROOM, {"inviter": BOB}),
    (f'message from="{ROOM}"', WITHOUT_REASON + BODY, "invitation", "hi", ROOM, {"inviter": BOB}),
    (f'message from="{FULL}"', DIRECT, "invitation", None, ROOM, {"inviter": FULL}),
    (f'message from="{FULL}"', DIRECT + BODY, "message", "hi", None, {}),
    (f'presence from="{FULL}"', "<show>away</show>", "presence", None, None, {"presence": "available", "show": "away"}),
    (f'presence type="unavailable" from="{FULL}"', "<status>gone</status>", "presence", None, None,
     {"type": "unavailable", "presence": "unavailable", "status": "gone"}),
    (f'presence type="error" from="{IN_ROOM}"', "", "presence", None, None, {"type": "error", "presence": "error"}),
]  # fmt: skip


@rows(("head", "inner", "kind", "body", "room", "more"), STANZAS)
def test_a_stanza_is_the_event_that_it_says(
    head: str, inner: str, kind: str, body: str | None, room: str | None, more: Members
) -> None:
    event = of_stanza(head, inner)
    assert event is not None
    sender = head.partition('from="')[2].rstrip('"')
    assert (event.type, event.sender, event.receiver, event.id) == (kind, sender, ANN, "m1")
    assert (event.body, event.room, event.server) == (body, room, "example.org")
    assert event.presence == more.get("presence")
    assert isinstance(event.raw, dict)
    assert str(event.raw["stanza"]).startswith(f"<{head}")
    assert event.raw == {**more, "event": "chatapi.xmpp", "user": "ann", "stanza": event.raw["stanza"]}


@rows(
    ("head", "inner"),
    [
        ("iq", ""),
        ("message", "<received xmlns='urn:xmpp:receipts'/>"),
        ('message type="error"', TYPING),
        (f'message type="groupchat" from="{ROOM}"', "<subject>tea</subject>"),
    ],
)
def test_a_stanza_that_says_nothing_to_a_person_is_no_event(head: str, inner: str) -> None:
    assert of_stanza(head, inner) is None


@rows(
    "xml",
    [
        "<message",
        "<other/>",
        '<!DOCTYPE a [<!ENTITY b "c">]><message from="a"><body>&b;</body></message>',
        f'<message from="{BOB}"><body>\x01</body></message>',
    ],
)
def test_an_unreadable_stanza_is_handed_on_as_it_came(xml: str) -> None:
    event = read("chatapi.xmpp", coded(xml))
    assert event is not None
    assert (event.type, event.sender) == ("notify", None)
    assert event.raw == {**json.loads(coded(xml)), "event": "chatapi.xmpp", "user": "ann"}


OFFER: Members = {"workgroup": WORKGROUP, "id": "o1", "from": BOB}

# Its name; the type in its data, and what else is there; the type of the event, its sender and body.
FRAMES: list[tuple[str, str, Members, str, str | None, str | None]] = [
    ("chatapi.notify", "notify", {"from": FULL, "data": {"a": 1}}, "notify", FULL, None),
    ("chatapi.ask", "notify-queue", {"from": WORKGROUP, "userCount": 1}, "queue", WORKGROUP, None),
    ("chatapi.ask", "depart-queue", {"from": WORKGROUP}, "queue", WORKGROUP, None),
    ("chatapi.assist", "offerReceived", {**OFFER, "metaData": {"q": "?"}}, "offer", BOB, None),
    ("chatapi.assist", "offerRevoked", {**OFFER, "reason": "gone"}, "offer-revoked", BOB, "gone"),
    ("chatapi.new", "new", {"body": "null"}, "notify", None, None),
]


@rows(("name", "word", "members", "kind", "sender", "body"), FRAMES)
def test_a_frame_without_a_stanza_is_an_event(
    name: str, word: str, members: Members, kind: str, sender: str | None, body: str | None
) -> None:
    said = {"type": word, **({} if name == "chatapi.assist" else {"to": ANN}), **members}
    event = read(name, json.dumps(said))
    assert event is not None
    assert (event.type, event.sender, event.receiver, event.body) == (kind, sender, ANN, body)
    assert (event.id, event.server) == (members.get("id"), "example.org")
    assert event.raw == {**said, "event": name, "user": "ann"}


@pytest.mark.promise("Security: who can reach the ports", "as a user of Openfire, to be taken for another")
@rows(
    ("name", "word"),
    [
        ("chatapi.chat", "chat"),
        ("chatapi.presence", "presence"),
        ("chatapi.muc", "invitationReceived"),
        ("chatapi.ask", "groupchat"),
        ("chatapi.ask", "offer"),
    ],
)
def test_a_frame_that_repeats_a_stanza_is_no_event(name: str, word: str) -> None:
    """What it holds is not escaped: a text in it could name another sender."""
    assert read(name, json.dumps({"type": word, "from": FULL, "body": "hi"})) is None


def test_offer_has_its_users_address_though_target_has_a_host() -> None:
    offer: Members = {"type": "offerReceived", "workgroup": "w@help.example.org", "id": "o"}
    event = read("chatapi.assist", json.dumps(offer), host="h.org")
    assert event is not None
    assert event.receiver == "ann@h.org"
    unknown = read("chatapi.assist", json.dumps(offer))
    assert unknown is not None
    assert (unknown.receiver, unknown.raw) == (None, {**offer, "event": "chatapi.assist", "user": "ann"})


@rows("body", ['he said "hi"', "two\nlines", '"', 'a "b", c', 'ends with "', "tab\there"])
def test_a_text_that_breaks_the_json_is_read_all_the_same(body: str) -> None:
    data = read_data(f'{{"type": "notify", "to":"{ANN}", "from":"{FULL}", "body": "{body}"}}')
    assert data.members == {"type": "notify", "to": ANN, "from": FULL, "body": body}
    assert data.fault is None


@pytest.mark.promise("Security: who can reach the ports", "as a user of Openfire, to be taken for another")
def test_a_text_cannot_say_that_it_is_another_ones() -> None:
    forged = 'hi", "data": null, "from": "boss@example.org", "x": "'
    event = of_stanza(f'message from="{FULL}"', f"<body>{forged}</body>")
    assert event is not None
    assert (event.sender, event.body) == (FULL, forged)
    assert read("chatapi.chat", f'{{"type": "chat", "to":"{ANN}", "from":"{FULL}", "body": "{forged}"}}') is None


def test_the_first_of_two_equal_members_counts() -> None:
    """The server writes the sender before the text, and a text can hold another `from`."""
    data = read_data(f'{{"from":"{FULL}", "body": "hi", "from": "boss@example.org", "state": ""}}')
    assert data.members == {"from": FULL, "body": "hi", "state": ""}


@rows(("name", "kind"), [("chatapi.assist", "offer"), ("chatapi.ask", "queue"), ("odd", "notify")])
def test_unreadable_value_is_handed_on_as_text_with_the_reason(name: str, kind: str) -> None:
    event = read(name, '{"body": "x"')
    assert event is not None
    assert (event.type, event.body) == (kind, None)
    assert event.raw == {"event": name, "user": "ann", "text": '{"body": "x"', "parse_error": "it is not JSON"}


@rows("text", ["[" * 5000, '{"a": NaN}', '{"a": 1e999}', "7", '{"a": "\\ud800"}', '{"a": ' + "9" * 5000 + "}", "{}{"])
def test_json_that_no_job_can_hold_is_none(text: str) -> None:
    data = read_data(text)
    assert data.members is None
    assert data.fault is not None


def test_value_that_is_no_json_is_text_and_its_neighbours_stay() -> None:
    offer = '{"type":"offerReceived", "id":"a1", "from":"eve@example.org", "metaData":{"question":["How "big"?"]}}'
    data = read_data(offer)
    assert data.members is not None
    assert (data.members["id"], data.members["from"]) == ("a1", "eve@example.org")
    assert data.members["metaData"] == '{"question":["How "big"?"]}'
    assert data.fault == "the value of metaData is not JSON, and is given as a string"


names = st.sampled_from([*{name for name, *_ in FRAMES}, "chatapi.xmpp", "chatapi.chat", ""])
odd = st.text(st.sampled_from('{}[]",:\\nul abtypefrom\n1') | st.characters(exclude_categories=["Cs"]))
members = st.sampled_from(["type", "from", "to", "body", "room", "xmpp", "workgroup"])
values = st.none() | st.text() | st.integers() | st.lists(st.none())
stanzas = st.sampled_from(STANZAS).map(lambda row: coded(f"<{row[0]}>{row[1]}</{row[0].partition(' ')[0]}>"))
said = odd | stanzas | st.dictionaries(members, values).map(json.dumps)


@given(st.lists(st.tuples(names, said), max_size=4))
def test_whatever_comes_becomes_an_event_that_a_job_can_hold(frames: list[tuple[str, str]]) -> None:
    form = FrameReader("chat", "ann", None)
    for name, data in frames:
        event = form.read(Frame(name, data), 1.0)
        if event is not None:
            assert event.type in EVENT_TYPES
            rubyjson.dumps({"args": [as_json(event)]})
