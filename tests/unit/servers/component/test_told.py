"""Receipts and markers: one event for each message, however many copies; `from` is whom the server says it is."""

from typing import Any, Final

import attrs
import pytest

from restbroker.config.events import EventSource
from restbroker.events.deliver import incoming_event
from restbroker.job.event import ServerEvent
from restbroker.servers.component.derive import Deriver
from restbroker.servers.component.options import TAKES
from restbroker.servers.component.stanzas import Direct, Stanza
from tests.unit.servers.component.test_derive import ANN, BOB, CARBON, COMPOSING, DELAY, DERIVER, TEAM, stanza

ARRIVED: Final = "received xmlns='urn:xmpp:receipts' id='m1'"
READ: Final = "displayed xmlns='urn:xmpp:chat-markers:0' id='m1'"
MARKED: Final = "received xmlns='urn:xmpp:chat-markers:0' id='m1'"
THREAD: Final = "thread xmlns='jabber:client'"
IN_ROOM: Final = "x xmlns='http://jabber.org/protocol/muc#user'"
STORE: Final = "store xmlns='urn:xmpp:hints'"
OTHER: Final = "other@conference.example.org"
EVE: Final = "eve@example.org/x"
TELLS: Final = attrs.evolve(DERIVER, takes=frozenset({*TAKES, "receipt", "displayed"}))
SOURCE: Final = EventSource("ejabberd", "ejabberd-component", None, "q", "Event", window_s=60.0)


def silent(*children: str, **more: Any) -> Stanza:
    return stanza(children=children, **{"body": None, "type": "chat", **more})


def told(*children: str, deriver: Deriver = TELLS, **more: Any) -> ServerEvent | None:
    return deriver.event_of_copy("example.org", silent(*children, **more), 1.5, 1.0)


def kind(*children: str, **more: Any) -> str | None:
    found = told(*children, **more)
    return None if found is None else found.type


def mark(event: ServerEvent | None) -> str | None:
    assert event is not None
    made = incoming_event(SOURCE, event, "a")
    assert made is not None
    return made.mark


def test_an_event_of_a_receipt_names_the_message_and_not_its_stanza() -> None:
    found = told(ARRIVED, id="r7")
    assert found is not None
    assert (found.type, found.sender, found.receiver, found.id, found.body) == ("receipt", ANN, BOB, "m1", None)
    assert found.room is None
    assert isinstance(found.raw, dict)
    assert "r7" in str(found.raw["xml"])


@pytest.mark.parametrize(
    ("children", "expected"),
    [
        ((READ,), "displayed"),
        ((MARKED,), "receipt"),
        ((ARRIVED, MARKED), "receipt"),
        ((ARRIVED, READ, STORE), "displayed"),
        ((READ, THREAD), "displayed"),
        ((COMPOSING,), None),
        ((COMPOSING, THREAD), None),
        (("received xmlns='urn:xmpp:receipts'",), None),
        (("received xmlns='urn:xmpp:receipts' id=''",), None),
        (("acknowledged xmlns='urn:xmpp:chat-markers:0' id='m1'",), None),
        ((CARBON,), "message"),
    ],
)
def test_each_form_of_a_receipt_is_its_event(children: tuple[str, ...], expected: str | None) -> None:
    assert kind(*children) == expected


def test_without_a_word_in_take_receipts_are_no_events() -> None:
    assert told(ARRIVED, deriver=DERIVER) is None
    assert told(READ, deriver=attrs.evolve(TELLS, takes=frozenset({"receipt"}))) is None
    few = attrs.evolve(TELLS, takes=frozenset({"receipt"}))
    assert kind(ARRIVED, deriver=few) == "receipt"
    assert kind(ARRIVED, body="by the way", deriver=few) is None


def test_a_receipt_beside_a_text_or_in_an_error_stays_what_it_was() -> None:
    assert kind(ARRIVED, body="and by the way") == "message"
    assert kind(ARRIVED, type="error") == "error"


@pytest.mark.promise
def test_copies_and_repetitions_of_a_receipt_have_one_mark() -> None:
    first = mark(told(ARRIVED, id="r1"))
    assert first == mark(told(ARRIVED, id="r2"))
    assert first == mark(told(ARRIVED, STORE))
    others = [
        told(ARRIVED, sender=f"{ANN}2"),
        told(ARRIVED, sender=EVE),
        told(ARRIVED, receiver=EVE),
        told(ARRIVED.replace("m1", "m2")),
        told(READ),
    ]
    assert len({first, *map(mark, others)}) == 1 + len(others)


@pytest.mark.promise
def test_nobody_elses_receipt_stands_for_ones_own() -> None:
    """A forged one has its writer as `from`, and its mark is another: it takes no other's place."""
    forged, own = told(ARRIVED, sender=EVE), told(ARRIVED)
    assert forged is not None
    assert forged.sender == EVE
    assert mark(forged) != mark(own)
    within = silent("sent xmlns='urn:xmpp:carbons:2'", sender=EVE)
    for child in (CARBON, "result xmlns='urn:xmpp:mam:2'", "forwarded xmlns='urn:xmpp:forward:0'"):
        for receiver in (BOB, "events.example.org", "shop@events.example.org"):
            within = silent(child, ARRIVED, sender=EVE, receiver=receiver)
            found = TELLS.event_of_copy("example.org", within, 1.5, 1.0)
            assert found is not None
            assert (found.type, found.sender) == ("message", EVE)
            assert TELLS.event_of_answer(within, 1.5) is None


def test_late_copies_are_told_only_of_people_elsewhere() -> None:
    assert kind(ARRIVED, DELAY) is None
    assert kind(ARRIVED, DELAY, sender="rob@remote.example/r") == "receipt"


def test_a_room_passes_markers_on_and_tells_none_twice() -> None:
    found = told(READ, receiver=OTHER, type="groupchat")
    assert found is not None
    assert (found.type, found.room, found.sender) == ("displayed", OTHER, ANN)
    assert kind(READ, sender=f"{OTHER}/Ann", receiver=ANN, type="groupchat") is None
    assert kind(READ, receiver=TEAM, type="groupchat") is None
    assert kind(READ, IN_ROOM, sender=f"{OTHER}/Ann", receiver=BOB) is None
    assert kind(READ, IN_ROOM, receiver=f"{OTHER}/Bob") == "displayed"
    # A gateway's user has such an address, too.
    assert kind(READ, sender="+123@sms.example.org/x") == "displayed"


@pytest.mark.promise
def test_a_room_of_rooms_tells_a_marker_itself() -> None:
    said = silent(READ, IN_ROOM, sender=f"{TEAM}/Rob", receiver="rooms@events.example.org", type="groupchat")
    direct = Direct(stanza(sender=TEAM, receiver="rooms@events.example.org"), said)
    found = TELLS.event_of_room(direct, 1.5)
    assert found is not None
    assert (found.type, found.room, found.sender, found.id) == ("displayed", TEAM, f"{TEAM}/Rob", "m1")
    assert DERIVER.event_of_room(direct, 1.5) is None


@pytest.mark.promise
def test_what_reaches_our_own_name_is_the_same_as_its_copy() -> None:
    def sent(receiver: str, *children: str, **more: Any) -> Stanza:
        return silent(*children, receiver=receiver, id="r1", **more)

    shop = "shop@events.example.org"
    copied = TELLS.event_of_copy("example.org", sent(shop, ARRIVED), 1.5, 1.0)
    assert mark(copied) == mark(TELLS.event_of_answer(sent(shop, ARRIVED), 1.5))
    assert TELLS.event_of_answer(sent(shop, ARRIVED, sender="rob@remote.example/r"), 1.5) is not None
    for none in (
        sent("shop@example.com", ARRIVED),
        sent(shop, ARRIVED, type="error"),
        sent(shop, READ, type="groupchat"),
        sent(shop, ARRIVED, body="hi"),
        sent(shop, COMPOSING),
    ):
        assert TELLS.event_of_answer(none, 1.5) is None
