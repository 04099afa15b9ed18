"""A private message in a room is one event, whichever of its two copies comes first, and to whichever process."""

from collections.abc import Sequence
from itertools import count, permutations
from typing import Final

import attrs
import pytest

from restbroker.config.events import EventSource, Filter, Route
from restbroker.events.deliver import incoming_event
from restbroker.servers.component.derive import Deriver
from restbroker.servers.component.options import TAKES
from restbroker.servers.component.stanzas import StanzaCopy, StreamParser
from restbroker.store import events
from restbroker.store.client import Client
from restbroker.store.events import IncomingEvent, PushResult
from restbroker.store.server import time_s
from tests.events.component.conftest import HEADER, HOST, NAME, wrapped
from tests.events.conftest import QUEUE, events_in
from tests.support.store_calls import run_each

ROOM: Final = f"tea@conference.{HOST}"
ANN: Final = f"ann@{HOST}/desk"
BOB: Final = f"bob@{HOST}/phone"
EVE: Final = f"eve@{HOST}/x"
REMOTE: Final = "rob@remote.example/r"
BY_ROOM: Final = "<x xmlns='http://jabber.org/protocol/muc#user'/>"
OCCUPANT: Final = "<occupant-id id='g20=' xmlns='urn:xmpp:occupant-id:0'/>"
SOURCE: Final = EventSource("ejabberd", "ejabberd-component", None, QUEUE, "XmppEvent", window_s=60.0)
_numbers: Final = count()


def copy(sender: str, receiver: str, more: str = "", number: str | None = "pm2", body: str = "ok") -> str:
    given = "" if number is None else f" id='{number}'"
    return (
        f"<message to='{receiver}' from='{sender}' type='chat'{given} xmlns='jabber:client'>"
        f"{more}<body>{body}</body></message>"
    )


def got(sender: str = "Ann", receiver: str = BOB, **more: str | None) -> str:
    """As a room passes it on, and ejabberd 26.07 copies it."""
    return copy(f"{ROOM}/{sender}", receiver, BY_ROOM + OCCUPANT, **more)  # type: ignore[arg-type]


SENT: Final = copy(ANN, f"{ROOM}/Bob")


def arrival(stanza: str, source: EventSource = SOURCE) -> IncomingEvent:
    """As a process of its own makes it of this copy."""
    parser = StreamParser(NAME, (HOST,), 1 << 20)
    parser.feed(HEADER.format(1).encode())
    (found,) = parser.feed(wrapped(stanza).encode())
    assert isinstance(found, StanzaCopy)
    event = Deriver("ejabberd", NAME, (HOST,), (), TAKES).event_of_copy(found.host, found.stanza, 1000.0, 999.0)
    assert event is not None
    made = incoming_event(source, event, f"{next(_numbers):024x}")
    assert made is not None
    return made


def push(store: Client, *arrivals: IncomingEvent) -> list[PushResult]:
    return events.read_push(run_each(store, [events.push_call(store.keys, arrivals)])[0])


def told(store: Client, copies: Sequence[str]) -> list[tuple[str, str]]:
    """The events of these copies, each read and pushed by another process."""
    for copy in copies:
        push(store, arrival(copy))
    return [(job["from"], job["to"]) for job in events_in(store)]


@pytest.mark.promise
@pytest.mark.parametrize("sent", [SENT, copy(ANN, f"{ROOM}/Bob", BY_ROOM.replace("/>", "><item jid='x@y'/></x>"))])
def test_the_copy_that_comes_first_is_the_event(store: Client, sent: str) -> None:
    """Also where the client writes `muc#user` itself."""
    assert told(store, [sent, got()]) == [(ANN, sent.split("'")[1])]
    store.command("FLUSHALL")
    assert told(store, [got(), sent]) == [(f"{ROOM}/Ann", BOB)]


def test_copies_for_further_devices_are_no_events(store: Client) -> None:
    assert told(store, [SENT, got(), got(receiver=f"bob@{HOST}/pad"), SENT, got()]) == [(ANN, f"{ROOM}/Bob")]


@pytest.mark.promise
def test_one_id_to_two_occupants_is_two_events(store: Client) -> None:
    for copies in permutations([SENT, copy(ANN, f"{ROOM}/Eve"), got(), got(receiver=EVE)]):
        store.command("FLUSHALL")
        assert len(told(store, copies)) == 2


@pytest.mark.promise
@pytest.mark.parametrize(
    "copies",
    [
        # One each: without an id, to somebody of another server, from one, of another text, id and room.
        (copy(ANN, f"{ROOM}/Bob", number=None), got(number=None)),
        (SENT, copy(ANN, f"{ROOM}/Rob")),
        (got("Rob"), got("Rob", EVE)),
        (SENT, got(body="ko")),
        (SENT, got(number="pm3")),
        (copy(ANN, f"pub@conference.{HOST}/Bob"), got()),
        # What nobody has said, in the same words.
        (copy(ANN, f"{ROOM}/Bob", "<x xmlns='jabber:x:oob'><url>http://a</url></x>"), got()),
        # Clients that write as a room does: a user here, and one of another server, which may have rooms.
        (copy(ANN, BOB), copy(BOB, EVE, BY_ROOM)),
        (copy(ANN, REMOTE), copy(REMOTE, EVE, BY_ROOM)),
        (copy(BOB, EVE, BY_ROOM), copy(EVE, BOB, BY_ROOM)),
        (copy(ANN, f"{ROOM}/Bob", BY_ROOM), copy(ANN, f"{ROOM}/Eve", BY_ROOM)),
    ],
)
def test_nothing_that_a_client_writes_hides_another_message(store: Client, copies: Sequence[str]) -> None:
    for order in (copies, copies[::-1]):
        store.command("FLUSHALL")
        assert len(told(store, order)) == 2


def test_a_copy_pairs_once_however_often_it_is_pushed(store: Client) -> None:
    sent, first, second = arrival(SENT), arrival(got()), arrival(got(receiver=EVE))
    assert push(store, sent) == push(store, sent) == ["pushed"]
    assert push(store, first) == ["duplicate"]
    push(store, first)
    assert push(store, second, second) == ["pushed", "pushed"]
    assert len(events_in(store)) == 2


def test_what_was_sent_here_is_no_event_from_the_room_either(store: Client) -> None:
    source = attrs.evolve(SOURCE, own_s=60.0)
    sent = arrival(SENT, source)
    assert sent.sent_mark is not None
    events.remember(store, [sent.sent_mark], 60_000)
    assert push(store, sent, sent, arrival(got(), source)) == ["own", "own", "duplicate"]
    assert push(store, arrival(got(receiver=EVE), source)) == ["pushed"]


def test_each_route_has_its_copy(store: Client) -> None:
    """A route may want what a user gets, and another what users send."""
    to_bob = Route("bobs", "XmppEvent", Filter(receiver=(f"bob@{HOST}",)))
    routed = attrs.evolve(SOURCE, routes=(to_bob, Route(QUEUE, "XmppEvent")))
    assert push(store, *(arrival(copy, routed) for copy in (SENT, got(), got()))) == ["pushed", "pushed", "duplicate"]
    assert [job["to"] for job in events_in(store)] == [f"{ROOM}/Bob"]


@pytest.mark.parametrize(("ago_ms", "result"), [(59_000, "duplicate"), (61_000, "pushed")])
def test_copies_pair_within_the_window_of_doubles(store: Client, ago_ms: int, result: str) -> None:
    received = attrs.evolve(arrival(got()), read_ms=100_000)
    assert received.pair is not None
    now_ms = int(time_s(store) * 1000)
    entry = f"sent:x {now_ms - ago_ms} {100_000 - ago_ms}"
    store.command("RPUSH", store.keys.copies(received.pair[0]), entry)
    assert push(store, received) == [result]


@pytest.mark.promise
def test_an_answer_in_the_words_of_its_question_is_an_event(store: Client) -> None:
    """A bot repeats text and id of a remote user, whose message has one copy; one to oneself looks the same."""
    rob = f"{ROOM}/Rob"
    assert told(store, [got("Rob", ANN), copy(ANN, rob)]) == [(rob, ANN), (ANN, rob)]
