"""What becomes an event of a component's copies: what a user sends, once, whatever a client writes into it."""

from collections.abc import Sequence
from typing import Any, Final
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job.event import ServerEvent
from restbroker.servers.component.derive import Deriver
from restbroker.servers.component.options import TAKES
from restbroker.servers.component.stanzas import Direct, Stanza

ANN: Final = "ann@example.org/phone"
BOB: Final = "bob@example.org"
TEAM: Final = "team@conference.example.org"
CARBON: Final = "sent xmlns='urn:xmpp:carbons:2'"
RECEIVED: Final = "received xmlns='urn:xmpp:carbons:2'"
ARCHIVED: Final = "result xmlns='urn:xmpp:mam:2'"
DELAY: Final = "delay xmlns='urn:xmpp:delay'"
COMPOSING: Final = "composing xmlns='http://jabber.org/protocol/chatstates'"
READ: Final = "displayed xmlns='urn:xmpp:chat-markers:0' id='m1'"
ARRIVED: Final = "received xmlns='urn:xmpp:receipts' id='m1'"
INVITED: Final = "<x xmlns='http://jabber.org/protocol/muc#user'><invite to='bob@example.org'/></x>"
DERIVER: Final = Deriver(
    "ejabberd", "events.example.org", frozenset({"example.org"}), frozenset({TEAM}), frozenset(TAKES)
)


def stanza(
    kind: str = "message",
    sender: str = ANN,
    receiver: str = BOB,
    *,
    children: Sequence[str] = (),
    body: str | None = "hi",
    **more: str | None,
) -> Stanza:
    """Such a stanza; `children`: empty elements before its body; `more`: its attributes."""
    element = ET.Element(f"{{jabber:client}}{kind}", {"from": sender, "to": receiver})
    element.attrib.update({name: value for name, value in more.items() if value is not None})
    element.extend(ET.fromstring(f"<{child}/>") for child in children)  # noqa: S314  the test wrote it
    if body is not None:
        ET.SubElement(element, "{jabber:client}body").text = body
    return Stanza(element, sender, receiver, ET.tostring(element, "unicode"))


def event(one: Stanza, deriver: Deriver = DERIVER) -> ServerEvent | None:
    return deriver.event_of_copy("example.org", one, 1.5, 1.0)


def kind(one: Stanza) -> str | None:
    found = event(one)
    return None if found is None else found.type


def is_delayed(one: Stanza) -> bool:
    found = event(one)
    assert found is not None
    assert isinstance(found.raw, dict)
    return bool(found.raw.get("delayed"))


def test_a_message_has_the_members_of_every_event() -> None:
    one = stanza(type="chat", id="m1")
    found = event(one)
    assert found is not None
    assert found.digest
    assert found == ServerEvent(
        "message",
        ANN,
        BOB,
        id="m1",
        body="hi",
        room=None,
        server="example.org",
        source="ejabberd",
        received_at_s=1.5,
        raw={"kind": "message", "type": "chat", "xml": one.xml},
        digest=found.digest,
    )


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (stanza(type="chat"), "message"),
        (stanza(type="headline"), "message"),
        (stanza(type="error"), "error"),
        (stanza("presence", type="error"), "error"),
        (stanza(sender="rob@remote.example/r", type="chat"), "message"),
        (stanza(sender="bot@example.org", type="chat"), "message"),
        (stanza(body=None, children=("encrypted xmlns='urn:omemo'", "store xmlns='urn:xmpp:hints'")), "message"),
        (stanza(body=None, children=(COMPOSING,)), None),
        (stanza(body=None, children=("received xmlns='urn:xmpp:receipts'", "store xmlns='urn:xmpp:hints'")), None),
        (stanza(children=(COMPOSING,)), "message"),
        # A contact's avatar or device list, as the server sends it.
        (
            stanza(
                sender=BOB, receiver=ANN, body=None, children=("event xmlns='http://jabber.org/protocol/pubsub#event'",)
            ),
            None,
        ),
        # To a room that is not subscribed to, and what it sends its occupants.
        (stanza(receiver="other@conference.example.org", type="groupchat"), "groupchat"),
        (stanza(receiver="other@conference.example.org", type="groupchat", body=None, children=(COMPOSING,)), None),
        (stanza(sender="other@conference.example.org/Ann", receiver=ANN, type="groupchat"), None),
        (stanza(sender="other@conference.example.org", receiver=ANN, type="groupchat"), None),
        # To a room of `Rooms`, which sends an event itself.
        (stanza(receiver=TEAM, type="groupchat"), None),
        # Between users it is a message like others.
        (stanza(receiver=f"{BOB}/pad", type="groupchat"), "groupchat"),
        # To all, to one, and what a contact gets.
        (stanza("presence", receiver="ann@example.org"), "presence"),
        (stanza("presence", receiver="ann@example.org", type="unavailable"), "presence"),
        (stanza("presence", receiver=ANN), None),
        (stanza("presence", receiver=BOB), None),
        (stanza("presence", receiver=f"{TEAM}/Ann"), None),
        (stanza("presence", receiver="ann@example.org", type="probe"), None),
        # As the user sends it, and as it is passed on.
        (stanza("presence", type="subscribe"), "subscription"),
        (stanza("presence", type="unsubscribed"), "subscription"),
        (stanza("presence", sender="ann@example.org", type="subscribe"), None),
        (stanza("iq", type="set"), None),
    ],
)
def test_each_kind_of_copy_is_its_event_or_none(one: Stanza, expected: str | None) -> None:
    assert kind(one) == expected


@pytest.mark.promise
@pytest.mark.parametrize("children", [(CARBON,), (RECEIVED,), (ARCHIVED,), (DELAY,), (CARBON, ARCHIVED, DELAY)])
@pytest.mark.parametrize("body", [None, "hi"])
def test_message_delayed_by_a_client_counts_as_delayed(children: tuple[str, ...], body: str | None) -> None:
    for receiver in (BOB, "ann@example.org", ANN, "example.org", "x@events.example.org"):
        one = stanza(receiver=receiver, type="chat", children=children, body=body)
        assert kind(one) == "message"
        assert is_delayed(one)


@pytest.mark.promise
@pytest.mark.parametrize("children", [(CARBON,), (RECEIVED,), (ARCHIVED,)])
def test_the_servers_own_carbons_and_archive_are_no_events(children: tuple[str, ...]) -> None:
    assert kind(stanza(sender="ann@example.org", receiver=ANN, children=children, body=None)) is None


@pytest.mark.parametrize("sender", [TEAM, "other@conference.example.org"])
def test_archive_of_a_room_here_is_no_event_unlike_elsewhere(sender: str) -> None:
    assert kind(stanza(sender=sender, receiver=ANN, children=(ARCHIVED,), body=None)) is None
    for other in ("team@conference.example.com", "conference.example.org", "ann@example.com", f"{sender}/Ann"):
        assert is_delayed(stanza(sender=other, receiver=ANN, children=(ARCHIVED,), body=None))


def test_carbon_from_another_address_is_an_event() -> None:
    for sender in ("bob@example.org", "rob@remote.example", "example.org"):
        assert is_delayed(stanza(sender=sender, receiver=ANN, children=(CARBON,), body=None))
    foreign = stanza(sender="rob@remote.example", receiver="rob@remote.example/r", children=(CARBON,), body=None)
    assert is_delayed(foreign)


def test_message_kept_for_an_absent_user_counts_as_delayed() -> None:
    assert not is_delayed(stanza(type="chat"))
    assert is_delayed(stanza(type="chat", children=(DELAY,)))


@pytest.mark.promise
def test_copies_are_equal_by_what_their_sender_wrote() -> None:
    def digest(**more: Any) -> str | None:
        found = event(stanza(type="chat", id="m1", **more))
        return None if found is None else found.digest

    assert digest() == digest()
    # mod_mam adds these, and takes away what a client wrote, between one copy and the next.
    assert digest() == digest(children=("stanza-id xmlns='urn:xmpp:sid:0' by='bob@example.org' id='1'",))
    assert digest() == digest(children=("archived xmlns='urn:xmpp:mam:tmp' by='bob@example.org' id='1'",))
    assert len({digest(), digest(body="ho"), digest(children=(DELAY,)), digest(receiver="eve@example.org")}) == 4


def test_message_with_one_copy_is_never_a_double() -> None:
    for message in (
        stanza("presence", receiver="ann@example.org", id="always"),
        stanza("presence", type="subscribe"),
        stanza(receiver="other@conference.example.org", type="groupchat", id="always"),
    ):
        found = event(message)
        assert found is not None
        assert found.digest == ""


def test_types_that_are_not_taken_are_no_events() -> None:
    few = Deriver("ejabberd", "events.example.org", DERIVER.hosts, DERIVER.rooms, frozenset({"presence"}))
    assert event(stanza(), few) is None
    assert event(stanza("presence", receiver="ann@example.org"), few) is not None
    assert few.event_of_room(_room_event(), 1.5) is None


def _room_event(room: str = TEAM, receiver: str = "rooms@events.example.org", said: Stanza | None = None) -> Direct:
    inside = stanza(sender=f"{room}/Rob", receiver=receiver, type="groupchat", id="r2", body="all")
    return Direct(stanza(sender=room, receiver=receiver), said or inside)


def test_rooms_own_message_reaches_the_subscriber() -> None:
    found = DERIVER.event_of_room(_room_event(receiver="rooms@events.example.org/x"), 1.5)
    assert found is not None
    assert (found.type, found.sender, found.receiver, found.room) == ("groupchat", f"{TEAM}/Rob", TEAM, TEAM)
    assert (found.body, found.id, found.server, found.digest) == ("all", "r2", "conference.example.org", "")


@pytest.mark.promise
@pytest.mark.parametrize(
    "one",
    [
        _room_event("other@conference.example.org"),
        _room_event(f"{TEAM}/Rob"),
        _room_event(receiver="other@events.example.org"),
        _room_event(receiver="rooms@example.org"),
        _room_event(said=stanza(sender=ANN, type="groupchat")),
        _room_event(said=stanza(sender=f"{TEAM}/Rob", type="chat")),
        Direct(stanza(sender=TEAM, receiver="rooms@events.example.org"), None),
    ],
)
def test_lookalike_of_a_rooms_message_is_none(one: Direct) -> None:
    assert DERIVER.event_of_room(one, 1.5) is None


_SILENT: Final = [COMPOSING, READ, ARRIVED, "received xmlns='urn:xmpp:chat-markers:0' id='m1'"]
_BESIDE: Final = [
    (),
    ("thread xmlns='jabber:client'",),
    (DELAY,),
    ("x xmlns='jabber:x:delay'",),
    ("store xmlns='urn:xmpp:hints'", "origin-id xmlns='urn:xmpp:sid:0' id='o1'"),
    ("x xmlns='http://jabber.org/protocol/muc#user'", "occupant-id xmlns='urn:xmpp:occupant-id:0' id='1'"),
    ("private xmlns='urn:xmpp:carbons:2'",),
]


@pytest.mark.parametrize("silent", _SILENT)
@pytest.mark.parametrize("beside", _BESIDE)
def test_what_is_silent_is_no_event_wherever_it_is_said(silent: str, beside: tuple[str, ...]) -> None:
    """Neither of a copy nor of a room, whatever stands beside it: a bot would answer it."""
    children = (silent, *beside)
    assert kind(stanza(type="chat", body=None, children=children)) is None
    assert kind(stanza(sender=f"{TEAM}/Ann", receiver=BOB, type="chat", body=None, children=children)) is None
    assert kind(stanza(receiver="other@conference.example.org", type="groupchat", body=None, children=children)) is None
    in_room = stanza(sender=f"{TEAM}/Ann", type="groupchat", body=None, children=children)
    assert DERIVER.event_of_room(_room_event(said=in_room), 1.5) is None


@pytest.mark.promise
@pytest.mark.parametrize("silent", _SILENT)
def test_what_is_silent_hides_nothing_beside_it(silent: str) -> None:
    assert kind(stanza(type="chat", body=None, children=(silent, "encrypted xmlns='urn:omemo'"))) == "message"
    invitation = stanza(body=None, children=(silent,))
    invitation.element.append(ET.fromstring(INVITED))  # noqa: S314  the test wrote it
    assert kind(invitation) == "message"
    said = stanza(sender=f"{TEAM}/Ann", type="groupchat", children=(silent,))
    assert DERIVER.event_of_room(_room_event(said=said), 1.5) is not None


_TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF), max_size=5)
_NAMES = st.sampled_from([CARBON, RECEIVED, ARCHIVED, DELAY, "x xmlns='jabber:x:delay'", "y xmlns='urn:x'", COMPOSING])


@pytest.mark.promise
@given(
    st.sampled_from([None, "chat", "normal", "headline", "groupchat", "error", "nonsense"]),
    st.sampled_from([BOB, f"{BOB}/x", "ann@example.org", ANN, "a@b", "example.org", "events.example.org", "x@y/z"]),
    st.lists(_NAMES, max_size=5),
    _TEXTS,
    st.one_of(st.none(), _TEXTS),
)
def test_nothing_that_a_client_writes_beside_a_body_hides_it(
    word: str | None, receiver: str, children: list[str], body: str, number: str | None
) -> None:
    found = event(stanza(receiver=receiver, type=word, children=children, body=body, id=number))
    assert found is not None
    assert (found.sender, found.receiver, found.body) == (ANN, receiver, body)
