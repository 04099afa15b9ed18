"""Every event of Openfire becomes one in the common form; what is put together as text is read, or handed on so."""

import base64
import json
from collections.abc import Iterable, Mapping
from random import Random
from typing import TypeAlias
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.events.openfire_sse.data import read_data
from restbroker.events.openfire_sse.form import Form
from restbroker.events.openfire_sse.pairs import MOST
from restbroker.events.openfire_sse.settings import RawMode
from restbroker.rules import rubyjson
from restbroker.rules.event import EVENT_TYPES, EventType, ServerEvent, as_json
from restbroker.transport.stream import Frame

ANN, BOB = "ann@example.org", "bob@example.org"
ROOM = "tea@conference.example.org"
FULL = f"{BOB}/phone"


def read(name: str, data: str, mode: RawMode = "typed", host: str | None = None) -> ServerEvent | None:
    """What becomes of one frame."""
    return Form("chat", "ann", host, mode).read(Frame(name, data), 1000.5)


def found(name: str, members: Mapping[str, object]) -> ServerEvent:
    """What becomes of one with these members."""
    event = read(name, json.dumps(members))
    assert event is not None
    return event


def concatenated(body: str, sender: str = FULL) -> str:
    """A message's data as the plugin writes it."""
    return f'{{"type": "chat", "to":"{ANN}", "from":"{sender}", "data":null, "body": "{body}"}}'


def coded(xml: str) -> Frame:
    """The frame of a stanza."""
    return Frame("chatapi.xmpp", f'{{"xmpp": "{base64.b64encode(xml.encode()).decode()}"}}')


def stanza(body: str, sender: str = FULL, ident: str = "m1", word: str = "chat") -> Frame:
    """What the plugin sends before it."""
    head = f"<message type={quoteattr(word)} from={quoteattr(sender)} to={quoteattr(ANN)} id={quoteattr(ident)}"
    return coded(f"{head}><body>{escape(body)}</body></message>")


def message(body: str, sender: str = FULL) -> Frame:
    """What the plugin makes of it."""
    return Frame("chatapi.chat", concatenated(body, sender))


def presence(word: str | None = None, sender: str = FULL) -> tuple[Frame, Frame]:
    """A presence's stanza, and what the plugin makes of it: the same whether its user comes or leaves."""
    kind = "" if word is None else f' type="{word}"'
    data = f'{{"type": "presence", "to":"{ANN}", "from":"{sender}", "status":"null", "show": "available"}}'
    return coded(f'<presence from="{sender}" to="{ANN}"{kind}/>'), Frame("chatapi.presence", data)


def all_of(form: Form, frames: Iterable[Frame]) -> list[ServerEvent]:
    """What becomes of frames that come one after the other."""
    return [event for frame in frames if (event := form.read(frame, 1.0)) is not None]


def presences(events: Iterable[ServerEvent]) -> list[object]:
    """Whether their users came or left."""
    return [event.raw.get("presence") for event in events if isinstance(event.raw, dict)]


Members: TypeAlias = Mapping[str, object]
WORKGROUP = "w@workgroup.example.org"
IN_ROOM = f"{ROOM}/bob"
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


@pytest.mark.parametrize(("name", "word", "members", "kind", "sender", "body", "room"), CASES)
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


@pytest.mark.parametrize(
    "body", ['he said "hi"', "two\nlines", r"C:\temp", '"', 'a "b", c', 'ends with "', "tab\there"]
)
def test_a_text_that_breaks_the_json_is_read_all_the_same(body: str) -> None:
    event = read("chatapi.chat", concatenated(body))
    assert event is not None
    assert (event.type, event.sender, event.receiver) == ("message", FULL, ANN)
    assert event.body == body or "\\" in body  # of a backslash only its stanza tells what it was
    assert isinstance(event.raw, dict)
    assert "parse_error" not in event.raw


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters='"\\\n{}:,'), min_size=1)


@given(texts, texts)
def test_a_message_with_its_stanza_is_what_the_stanza_says(body: str, resource: str) -> None:
    form = Form("chat", "ann", None, "typed")
    # No address has a line break.
    sender = f"{BOB}/{resource}".replace("\n", "")
    (event,) = all_of(form, [stanza(body, sender), message(body, sender)])
    assert (event.type, event.sender, event.body, event.id) == ("message", sender, body, "m1")


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
    assert event.raw["parse_error"] == "a member stands there twice, and the first counts"


@given(st.lists(st.tuples(texts, st.sampled_from([FULL, IN_ROOM])), min_size=1, max_size=12), st.randoms())
def test_messages_that_come_at_once_have_each_its_own_stanza(said: list[tuple[str, str]], chance: Random) -> None:
    wanted = sorted((body, sender, f"m{number}") for number, (body, sender) in enumerate(said))
    stanzas = [stanza(body, sender, ident) for body, sender, ident in wanted]
    made = [message(body, sender) for body, sender, _ in wanted]
    chance.shuffle(stanzas)
    chance.shuffle(made)
    events = all_of(Form("chat", "ann", None, "typed"), [*stanzas, *made])
    assert sorted((event.body, event.sender, event.id) for event in events) == wanted


def test_of_a_thousand_messages_of_twelve_threads_none_is_without_its_id() -> None:
    chance, late, frames = Random(7), list[Frame](), list[Frame]()
    for number in range(1000):
        frames.append(stanza(f"text {number}", ident=f"m{number}"))
        late.append(message(f"text {number}"))
        # Now and then comes something that the plugin makes nothing of, or a second one like it.
        frames.append(coded("<iq/>") if number % 2 else stanza("never", ident="n"))
        if len(late) == 12:
            frames.append(late.pop(chance.randrange(12)))
    events = all_of(Form("chat", "ann", None, "typed"), [*frames, *late])
    assert sorted((event.body, event.id) for event in events) == sorted((f"text {n}", f"m{n}") for n in range(1000))


def test_a_stanza_counts_for_the_message_that_is_made_of_it_and_for_no_other() -> None:
    form = Form("chat", "ann", None, "typed")
    more = message('say "one')
    other, first, again = all_of(form, [stanza("one"), more, message("one"), message("one")])
    assert (other.body, other.id) == ('say "one', None)
    assert (first.body, first.id) == ("one", "m1")
    assert (again.body, again.id) == ("one", None)


def test_what_is_kept_of_stanzas_is_bounded_and_a_large_one_is_paired_all_the_same() -> None:
    form = Form("chat", "ann", None, "typed")
    large = "x" * 3_000_000
    events = all_of(form, [stanza("first", ident="a"), stanza(large, ident="b"), message(large), message("first")])
    assert [event.id for event in events] == ["b", None]
    many = [stanza(f"{number}", ident=f"{number}") for number in range(MOST + 1)]
    events = all_of(form, [*many, message("0"), message("1")])
    assert [event.id for event in events] == [None, "1"]


@pytest.mark.parametrize(("word", "wanted"), [(None, "available"), ("unavailable", "unavailable"), ("error", "error")])
def test_a_presence_says_whether_somebody_comes_or_leaves_as_its_stanza_does(word: str | None, wanted: str) -> None:
    form = Form("chat", "ann", None, "typed")
    came, left = presence(word), presence("unavailable", f"{BOB}/other")
    assert presences(all_of(form, [came[0], left[0], left[1], came[1]])) == ["unavailable", wanted]


def test_a_presence_that_may_be_either_says_so() -> None:
    form = Form("chat", "ann", None, "typed")
    came, left = presence(), presence("unavailable")
    assert presences(all_of(form, [came[0], left[0], left[1], came[1]])) == ["unknown", "unknown"]
    # Neither does one that comes before both are told.
    third = presence()
    frames = [came[0], left[0], left[1], third[0], came[1], third[1]]
    assert presences(all_of(form, frames)) == ["unknown"] * 3
    assert presences(all_of(form, [came[0], came[1], left[0], left[1], came[1]])) == [
        "available", "unavailable", "unknown",
    ]  # fmt: skip


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


@pytest.mark.parametrize(
    "xml", ["<message", "<other/>", '<!DOCTYPE a [<!ENTITY b "c">]><message from="a">&b;</message>', "\xff"]
)
def test_what_is_no_stanza_is_handed_on_as_it_came(xml: str) -> None:
    written = base64.b64encode(xml.encode("latin-1")).decode()
    event = read("chatapi.xmpp", json.dumps({"xmpp": written}), "both")
    assert event is not None
    assert (event.type, event.sender, event.raw) == (
        "stanza", None, {"xmpp": written, "event": "chatapi.xmpp", "user": "ann"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [("chatapi.chat", "message"), ("chatapi.assist", "offer"), ("chatapi.ask", "queue"), ("odd", "notify")],
)
def test_what_cannot_be_read_is_handed_on_as_text_with_the_reason(name: str, kind: str) -> None:
    event = read(name, '{"body": "x"')
    assert event is not None
    assert (event.type, event.body) == (kind, None)
    assert event.raw == {"event": name, "user": "ann", "text": '{"body": "x"', "parse_error": "it is no JSON"}


@pytest.mark.parametrize(
    "text", ["[" * 5000, '{"a": NaN}', '{"a": 1e999}', "7", '{"a": "\\ud800"}', '{"a": ' + "9" * 5000 + "}", "{}{"]
)
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
    assert data.fault == "the value of metaData is no JSON, and stands there as text"
