"""Who comes into a room and leaves it, by what ejabberd 23.01 and 24.12 sent a component (recorded, shortened)."""

from collections.abc import Iterator, Sequence
from typing import Final

import pytest

from restbroker.config.events import EventSource
from restbroker.events.deliver import incoming_event
from restbroker.job.event import ServerEvent
from restbroker.servers.component.derive import Deriver
from restbroker.servers.component.options import ROOM_LIFE
from restbroker.servers.component.rooms import RoomLife
from restbroker.servers.component.stanzas import Direct, StanzaCopy, StreamParser

NAME: Final = "events.example.org"
TEA: Final = "tea@conference.example.org"
TEAM: Final = "team@conference.example.org"
ANN: Final = "ann@example.org/phone"
ROB: Final = "rob@remote.example/r"
MUC: Final = "http://jabber.org/protocol/muc"
HEAD: Final = "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' id='1'>"
ASK: Final = f"<x xmlns='{MUC}'/>"
SOURCE: Final = EventSource("ejabberd", "ejabberd-component", None, "q", "Event", window_s=60.0)
Told = tuple[str, str | None, str, str]


def x(*codes: int, jid: str | None = ANN, more: str = "") -> str:
    shown = "" if jid is None else f" jid='{jid}'"
    statuses = "".join(f"<status code='{code}'/>" for code in codes)
    return f"<x xmlns='{MUC}#user'>{more}<item{shown} role='participant' affiliation='none'/>{statuses}</x>"


def presence(sender: str, receiver: str, content: str = "", word: str = "", *, lang: bool = True) -> str:
    """A presence as the server writes it; `lang`: a client wrote it first."""
    given = (" xml:lang='en'" if lang else "") + (f" type='{word}'" if word else "")
    return f"<presence{given} to='{receiver}' from='{sender}' xmlns='jabber:client'>{content}</presence>"


def copied(inner: str) -> str:
    return (
        f"<message to='{NAME}' from='example.org'><forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></message>"
    )


def noticed(inner: str, node: str = "participants", room: str = TEAM, receiver: str = f"rooms@{NAME}") -> str:
    items = f"<items node='urn:xmpp:mucsub:nodes:{node}'><item id='1'>{inner}</item></items>"
    event = f"<event xmlns='http://jabber.org/protocol/pubsub#event'>{items}</event>"
    return f"<message to='{receiver}' from='{room}' id='1'>{event}</message>"


def life(*takes: str) -> RoomLife:
    return RoomLife(Deriver("ejabberd", NAME, {"example.org"}, {TEAM}, frozenset(takes or ROOM_LIFE)))


def events(
    *stanzas: str, teller: RoomLife | None = None, now_s: float = 1.5, waited_s: float = 0.5
) -> Iterator[ServerEvent]:
    """What these make, read `waited_s` after the last heartbeat was sent that came back."""
    teller = teller or life()
    for item in StreamParser(NAME, teller.deriver.hosts, 1024 * 1024).feed((HEAD + "".join(stanzas)).encode()):
        if isinstance(item, StanzaCopy):
            yield from teller.events_of_copy(item.stanza, now_s, now_s - waited_s)
        elif isinstance(item, Direct):
            yield from teller.events_of_room(item, now_s, now_s - waited_s)


def told(*stanzas: str) -> list[Told]:
    found = []
    for event in events(*stanzas):
        assert event.room in (TEA, TEAM)
        assert event.server == "conference.example.org"
        assert event.more.keys() == {"nick", "why"}
        found.append((event.type, event.sender, str(event.more["nick"]), str(event.more["why"])))
    return found


def sent(room: str = TEA, nick: str = "Ann", content: str = ASK, word: str = "") -> str:
    return copied(presence(ANN, f"{room}/{nick}", content, word))


def answer(*codes: int, room: str = TEA, nick: str = "Ann", word: str = "", lang: bool = True, more: str = "") -> str:
    return copied(presence(f"{room}/{nick}", ANN, x(*codes, more=more), word, lang=lang))


REFUSED: Final = copied(presence(f"{TEA}/Ann", ANN, "<error type='auth'/>", "error"))
HERE: Final = copied(presence(TEA, ANN, "<c xmlns='http://jabber.org/protocol/caps'/>", lang=False))
JOINED: Final = ("joined", ANN, "Ann", "None")


@pytest.mark.parametrize(
    ("stanzas", "expected"),
    [
        ([sent(), HERE, answer(110)], [JOINED]),
        ([sent(), HERE, answer(100, 110, 170)], [JOINED]),
        ([sent(), HERE, answer(201, 110)], [("created", ANN, "Ann", "None"), JOINED]),
        # An own answer to nothing but a change: of a status, a role, an affiliation.
        ([sent(), HERE, answer(110), answer(110), answer(110)], [JOINED]),
        ([answer(110)], []),
        # Refused, and then the nickname is taken over by another way.
        ([sent(), REFUSED, answer(110)], []),
        ([sent(), REFUSED, sent(), HERE, answer(110)], [JOINED]),
        # As old clients join, and as a room shows all occupants that its configuration has changed.
        ([sent(content=""), HERE, answer(110)], [JOINED]),
        ([sent(content=""), answer(110)], []),
        ([HERE, answer(110)], []),
        ([HERE, sent(content=""), answer(110)], []),
        # Several at once hide none.
        ([sent(content=""), HERE, sent(content=""), answer(110), answer(110)], [JOINED]),
        ([sent(nick="Bob"), sent(), REFUSED, HERE, answer(110)], [JOINED]),
        ([sent(content=""), sent(), answer(110), HERE, answer(110)], [JOINED]),
        # What the others are told of it.
        ([copied(presence(f"{TEA}/Ann", "bob@example.org/pc", x()))], []),
        ([copied(presence(f"{TEA}/Ann", "bob@example.org/pc", x(), "unavailable"))], []),
        ([sent(content=""), answer(303, 110, word="unavailable"), answer(110, nick="Ann2")], []),
        ([answer(110, word="unavailable")], [("left", ANN, "Ann", "left")]),
        ([answer(110, word="unavailable", lang=False)], [("left", ANN, "Ann", "ended")]),
        ([answer(110, 307, word="unavailable", lang=False)], [("left", ANN, "Ann", "kicked")]),
        ([answer(110, 301, word="unavailable", lang=False)], [("left", ANN, "Ann", "banned")]),
        ([answer(110, 321, word="unavailable", lang=False)], [("left", ANN, "Ann", "removed")]),
        ([answer(110, 322, word="unavailable", lang=False)], [("left", ANN, "Ann", "removed")]),
        # The second stanza of `destroy_room`.
        ([answer(332, 110, word="unavailable", lang=False)], []),
        (
            [answer(word="unavailable", lang=False, more="<destroy/>")],
            [("destroyed", None, "None", "None"), ("left", ANN, "Ann", "destroyed")],
        ),
        # What a user writes to another user, as if it were a room's.
        ([copied(presence("eve@example.org/x", ANN, ASK + x(110, 201)))], []),
        ([copied(presence("eve@example.org/x", ANN, x(110, 307), "unavailable"))], []),
        # A room elsewhere, which may say what it likes.
        (
            [
                sent("x@rooms.example.com"),
                HERE.replace(TEA, "x@rooms.example.com"),
                answer(201, 110, room="x@rooms.example.com"),
            ],
            [],
        ),
        # Of a room in `Rooms` what ends without a word is told by itself.
        ([sent(TEAM), HERE.replace(TEA, TEAM), answer(110, room=TEAM)], [JOINED]),
        ([answer(110, room=TEAM, word="unavailable")], [("left", ANN, "Ann", "left")]),
        ([answer(110, room=TEAM, word="unavailable", lang=False)], []),
    ],
)
def test_each_thing_that_happens_in_a_room_is_told_once(stanzas: Sequence[str], expected: list[Told]) -> None:
    assert told(*stanzas) == expected


def at(nick: str, *codes: int, jid: str | None, word: str = "", lang: bool = False, more: str = "") -> str:
    """What a room of `Rooms` tells its subscriber."""
    return presence(f"{TEAM}/{nick}", f"rooms@{NAME}", x(*codes, jid=jid, more=more), word, lang=lang)


GONE: Final = at("Ann", jid=ANN, word="unavailable")


@pytest.mark.parametrize(
    ("stanza", "expected"),
    [
        # Whom a copy tells of.
        (noticed(at("Ann", jid=ANN, lang=True)), []),
        (noticed(at("Ann", jid=None, lang=True)), []),
        (noticed(at("Ann", jid=None, word="unavailable", lang=True)), []),
        (noticed(at("Ann", 303, jid=ANN, word="unavailable", lang=True)), []),
        # Whom one tells of, unless the session ends at once.
        (noticed(at("Ann", jid=ANN, word="unavailable", lang=True)), [("left", ANN, "Ann", "left")]),
        (noticed(at("Ann", 307, jid=ANN, word="unavailable")), [("left", ANN, "Ann", "kicked")]),
        # Whom none tells of.
        (noticed(GONE), [("left", ANN, "Ann", "ended")]),
        (noticed(at("Ann", jid=None, word="unavailable")), [("left", f"{TEAM}/Ann", "Ann", "ended")]),
        (noticed(at("Rob", jid=ROB)), [("joined", ROB, "Rob", "None")]),
        (noticed(at("Rob", jid=ROB, word="unavailable")), [("left", ROB, "Rob", "left")]),
        (noticed(at("Rob", 307, jid=ROB, word="unavailable")), [("left", ROB, "Rob", "kicked")]),
        (
            noticed(at("feed", jid=None, word="unavailable", more="<destroy/>"), "config"),
            [("destroyed", None, "None", "None")],
        ),
        (noticed(at("feed", 332, 110, jid=None, word="unavailable")), []),
        # The other nodes say the same once more.
        (noticed(GONE, "presence"), []),
        (noticed(GONE, "affiliations"), []),
        # Others than that room, and to others than our subscriber.
        (noticed(GONE, room="eve@example.org/x"), []),
        (noticed(GONE, room=TEA), []),
        (noticed(GONE, room=f"{TEAM}/Eve"), []),
        (noticed(GONE, receiver=NAME), []),
        (noticed(GONE.replace(TEAM, TEA)), []),
    ],
)
def test_a_room_tells_our_subscriber_what_no_copy_says(stanza: str, expected: list[Told]) -> None:
    assert told(stanza) == expected


@pytest.mark.promise
def test_all_that_is_said_of_one_end_of_a_room_has_one_mark() -> None:
    ends = [
        copied(presence(f"{TEAM}/Ann", ANN, x(more="<destroy/>"), "unavailable", lang=False)),
        copied(presence(f"{TEAM}/Bob", "bob@example.org/pc", x(more="<destroy/>"), "unavailable", lang=False)),
        noticed(at("feed", jid=None, word="unavailable", more="<destroy/>"), "config"),
    ]
    ended = [event for event in events(*ends) if event.type == "destroyed"]
    made = [incoming_event(SOURCE, event, "a") for event in ended]
    assert len(made) == len(ends)
    assert len({None if incoming is None else incoming.mark for incoming in made}) == 1
    assert {event.window_s for event in ended} == {2.0}
    # What waited while a process stood still is the same end.
    assert {event.window_s for event in events(ends[2], waited_s=40.0)} == {40.0}


@pytest.mark.promise
def test_two_tellers_of_one_leave_are_a_pair_and_each_its_own() -> None:
    gone = noticed(at("Ann", jid=ANN, word="unavailable", lang=True))
    twice = events(answer(110, room=TEAM, word="unavailable"), gone, answer(110, room=TEAM, word="unavailable"), gone)
    made = [incoming_event(SOURCE, event, f"j{number}") for number, event in enumerate(twice)]
    pairs = [one.pair for one in made if one is not None and one.pair is not None]
    assert len(pairs) == 4
    assert len({name for name, _ in pairs}) == 1
    assert len({copy for _, copy in pairs[:2]}) == 2
    assert len({one.mark for one in made if one is not None}) == 4, "leaving twice within a second is no repetition"


@pytest.mark.promise
def test_who_vanished_is_no_pair_with_who_leaves_later() -> None:
    ended, left = events(noticed(GONE), answer(110, room=TEAM, word="unavailable"))
    assert (ended.more["why"], ended.pair) == ("ended", None)
    assert left.pair is not None


def test_only_the_types_in_take_are_told() -> None:
    assert [event.type for event in events(sent(), HERE, answer(201, 110), teller=life("created"))] == ["created"]


def test_questions_without_an_answer_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restbroker.servers.component.rooms._MOST_ASKED", 3)
    teller = life()
    asked = [copied(presence(f"u{n}@example.org/x", f"{TEA}/n", ASK)) for n in range(9)]
    assert not list(events(*asked, sent(), teller=teller))
    assert [event.type for event in events(HERE, answer(110), teller=teller)] == ["joined"]
    first = (copied(presence(TEA, "u0@example.org/x")), copied(presence(f"{TEA}/n", "u0@example.org/x", x(110))))
    assert not list(events(*first, teller=teller))


@pytest.mark.parametrize(
    "later",
    [
        [sent(content=""), answer(110), HERE, sent(content=""), answer(110)],
        # The configuration changes, and so do roles.
        [HERE, answer(110)],
    ],
)
def test_an_old_question_does_not_count_for_the_next_session(later: Sequence[str]) -> None:
    teller = life()
    assert not list(events(sent(), sent(), teller=teller))
    assert not list(events(*later, teller=teller, now_s=60.0))


@pytest.mark.promise
def test_an_answer_that_waited_for_redis_is_still_to_a_join() -> None:
    teller = life()
    assert not list(events(sent(), teller=teller))
    found = events(HERE, answer(110), teller=teller, now_s=600.0, waited_s=599.0)
    assert [event.type for event in found] == ["joined"]
