"""Makes events of who comes into rooms and leaves them, by what a component is sent. Called by `reader`.

A room answers what an occupant does by a presence to them with status 110, which mod_service_log copies where they are
local. A leave has one such answer. But it says the same after each change of a status, a role or a name: what tells a
join is a presence of the room itself, which comes before the answer to it, and else only when the configuration
changes. So what a user sent and a room has not answered is remembered here, and one process must read all (`Lease`).
A session that ends without a word has no answer: of a room in `Rooms` its node `participants` (MUC/Sub) tells that, and
of people from elsewhere.

Always holds: only a room's own word counts, of a service below one of `hosts` or in `Rooms`. No user has such an
address, and a room replaces each `<x/>` of muc#user that a client writes. All is measured on 23.01, 24.12 and 26.07.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias
from xml.etree import ElementTree as ET

import attrs

from restbroker.job.event import EventType, ServerEvent, bare, domain
from restbroker.job.jid import fold_case
from restbroker.light import define, field
from restbroker.servers.component.derive import Deriver, digest_of, is_of_room
from restbroker.servers.component.stanzas import Direct, Stanza

_USER: Final = "{http://jabber.org/protocol/muc#user}"
_MOST_ASKED: Final = 10_000
_ANSWER_S: Final = 30.0
"""Seconds after which nothing answers a question any more: its session ended meanwhile, or there is no room."""
_AT_ONCE_S: Final = 2.0
"""Seconds within which all are told of one end of a room."""
_WHY: Final[Mapping[str, str]] = {"307": "kicked", "301": "banned", "321": "removed", "322": "removed"}
_OWN, _NEW, _RENAMED, _STOPPED = "110", "201", "303", "332"
"""Statuses: of the occupant's own, of a new room, of a new nickname, of a room that ends, behind its `<destroy/>`."""

_Told: TypeAlias = Mapping[EventType, str | None]
"""What happened, by the type of the event, and why."""


@define
class _Asked:
    """What a user sent a room: how many it has not answered, since when, and whether the next answer is to a join."""

    since_s: float
    count: int = 0
    joins: bool = False

    def is_over(self, beat_s: float) -> bool:
        # What comes now was sent after the heartbeat, however long it waited to be read.
        return beat_s > self.since_s + _ANSWER_S


@define(eq=False)
class RoomLife:
    """Makes the events of rooms' life of one source, of those types that its `deriver` takes."""

    deriver: Deriver
    _asked: dict[tuple[str, str], _Asked] = field(factory=dict)
    """By user and room. A room answers in the order of questions: several at once hide no join."""

    def events_of_copy(self, stanza: Stanza, now_s: float, beat_s: float) -> list[ServerEvent]:
        """Return the events of a stanza that a local user sends or receives; the times as `Deriver.event_of_copy`."""
        sender, receiver, word = stanza.sender, stanza.receiver, stanza.element.get("type")
        if not stanza.element.tag.endswith("}presence"):
            return []
        if domain(sender) in self.deriver.hosts:
            if word is None and "/" in receiver and self.deriver.is_room(bare(receiver)):
                self._ask((sender, bare(receiver)), now_s, beat_s)
        elif word == "error":
            self._takes_join((receiver, bare(sender)))
        elif "/" not in sender:
            if word is None and (asked := self._asked.get((receiver, sender))) and not asked.is_over(beat_s):
                asked.joins = True
        # Each occupant gets all others' presences: these end here, by their bytes.
        elif _OWN in stanza.xml or "destroy" in stanza.xml:
            return self._answered(stanza, now_s, beat_s)
        return []

    def events_of_room(self, direct: Direct, now_s: float, beat_s: float) -> list[ServerEvent]:
        """Return the events of what a room of `Rooms` tells our subscriber, and no copy tells."""
        said, own = direct.said, None if direct.said is None else direct.said.element.find(f"{_USER}x")
        if said is None or own is None or said.kind != "presence" or not is_of_room(direct, self.deriver):
            return []
        item, codes, why = own.find(f"{_USER}item"), _codes(own), _why(said.element, own)
        jid = None if item is None else item.get("jid")
        is_foreign = jid is not None and fold_case(domain(jid)) not in self.deriver.hosts
        told: _Told = {}
        match direct.stanza.element[0][0].get("node", "").rpartition(":")[2], said.element.get("type"):
            case "config", _ if own.find(f"{_USER}destroy") is not None:
                told = {"destroyed": None}
            case "participants", None if is_foreign:
                told = {"joined": None}
            case "participants", "unavailable" if codes.isdisjoint((_RENAMED, _STOPPED)) and (jid or why == "ended"):
                # Not all stanzas from elsewhere have a language.
                told = {"left": "left" if is_foreign and why == "ended" else why}
        # All else a copy tells, or another node.
        return self._events(said, jid or said.sender, told, now_s, beat_s)

    def _answered(self, stanza: Stanza, now_s: float, beat_s: float) -> list[ServerEvent]:
        """Return the events of a presence to a user that may be a room's about themselves."""
        own, room, user = stanza.element.find(f"{_USER}x"), bare(stanza.sender), stanza.receiver
        if own is None or not self.deriver.is_room(room):
            return []
        codes, why = _codes(own), _why(stanza.element, own)
        told: _Told = {}
        if stanza.element.get("type") is None:
            if _OWN in codes and self._takes_join((user, room)):
                told = {"created": None, "joined": None} if _NEW in codes else {"joined": None}
        elif own.find(f"{_USER}destroy") is not None:
            told = {"destroyed": None, "left": "destroyed"}
        elif _OWN in codes and codes.isdisjoint((_RENAMED, _STOPPED)):
            # Of a session that ended without a word a room of `Rooms` tells itself.
            told = {} if why == "ended" and room in self.deriver.rooms else {"left": why}
        return self._events(stanza, user, told, now_s, beat_s)

    def _ask(self, question: tuple[str, str], now_s: float, beat_s: float) -> None:
        if len(self._asked) >= _MOST_ASKED:
            del self._asked[next(iter(self._asked))]
        asked = self._asked.pop(question, None)
        self._asked[question] = asked = _Asked(now_s) if asked is None or asked.is_over(beat_s) else asked
        asked.count += 1

    def _takes_join(self, question: tuple[str, str]) -> bool:
        """Note that the room has answered once; tell whether that answers a join."""
        asked = self._asked.pop(question, None)
        if asked is not None and asked.count > 1:
            self._asked[question] = _Asked(asked.since_s, asked.count - 1)
        return asked is not None and asked.joins

    def _events(self, stanza: Stanza, who: str, told: _Told, now_s: float, beat_s: float) -> list[ServerEvent]:
        """Return the events of what an occupant's presence from a room told; all ends of the room have one mark.

        Of who leaves a room of `Rooms` that shows addresses there are two: what the `room` tells, and the copy of what
        it tells the `user`, which is missing if their session ends at once.
        """
        room, _, nick = stanza.sender.partition("/")
        copy = "user" if who == stanza.receiver else "room"
        window_s, found = max(_AT_ONCE_S, now_s - beat_s), []
        for kind, why in told.items():
            is_end = kind == "destroyed"
            event = self.deriver.event(kind, stanza, domain(room), now_s, digest_of(room) if is_end else "", window_s)
            sender, more = (None, {"nick": None, "why": None}) if is_end else (who, {"nick": nick, "why": why})
            # Of the others only a room of `Rooms`, or only the copy, tells that they are gone.
            is_paired = kind == "left" and why not in ("ended", "destroyed") and room in self.deriver.rooms
            pair = (digest_of(f"{who} {room}"), f"{copy}:{copy}") if is_paired else None
            found.append(attrs.evolve(event, sender=sender, receiver=None, id=None, room=room, more=more, pair=pair))
        return [event for event in found if event.type in self.deriver.takes]


def _codes(own: ET.Element) -> set[str]:
    return {status.get("code", "") for status in own.iterfind(f"{_USER}status")}


def _why(element: ET.Element, own: ET.Element) -> str:
    """Return why an occupant is gone: by a status; else by themselves, or without a word (`ended`)."""
    said = next((why for code, why in _WHY.items() if code in _codes(own)), None)
    # ejabberd adds a language to each stanza of a client, and none to what it says for one that is gone (measured).
    return said or ("left" if "xml:lang" in element.attrib else "ended")
