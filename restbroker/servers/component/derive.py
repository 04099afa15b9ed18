"""Makes events of what a server sends a component, and answers it. Called by `reader`.

Events are made of the copies of ejabberd's mod_service_log, of rooms' own messages, and of notifications (XEP-0357), of
which a server sends one for each stanza whose receiver cannot be reached. Always holds: pure; one event for what a user
sends, however many copies there are, but for those that are equal, which `ServerEvent.digest` names, and the two of a
private message in a room, which `ServerEvent.pair` names: `deliver` drops the one that comes second. Nothing that a
client writes makes an event vanish: what is dropped here is dropped for its `from` or `to`, which the server sets, and
a client's address always has a resource (measured on 23.01). ejabberd passes on the rest as it was written: `<delay>`,
`<result>`, `<sent>`, an `id` that was used before.

Of a receipt or marker only `from` is proven: anyone may name any message, and tell anyone. What one device tells of one
message is one event: the copies, what reaches the component's own name, and what an app repeats.

A notification is answered by `result` or by an error of type `wait`, whoever sends it and whatever is in it, since the
server takes of any other error that the device is gone for good, and drops its registration.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Final, Literal
from xml.etree import ElementTree as ET
from xml.sax.saxutils import quoteattr

import attrs

from restbroker.job.event import PRESENCE, EventType, ServerEvent, bare, domain
from restbroker.job.json_types import Json, as_text
from restbroker.job.names import NODE
from restbroker.light import frozen
from restbroker.servers.component.options import SUBSCRIBER
from restbroker.servers.component.stanzas import Direct, Stanza

_SUBSCRIPTIONS: Final = frozenset({"subscribe", "subscribed", "unsubscribe", "unsubscribed"})
_CARBONS: Final = frozenset({"{urn:xmpp:carbons:2}sent", "{urn:xmpp:carbons:2}received"})
_ARCHIVED: Final = frozenset({"{urn:xmpp:mam:1}result", "{urn:xmpp:mam:2}result"})
_DELAYS: Final = frozenset({"{urn:xmpp:delay}delay", "{jabber:x:delay}x"})
_LATE: Final = _CARBONS | _ARCHIVED | _DELAYS
_BODY: Final = "{jabber:client}body"
_NOTICE: Final = "{http://jabber.org/protocol/pubsub#event}event"
_SILENT: Final = frozenset({"http://jabber.org/protocol/chatstates", "urn:xmpp:receipts", "urn:xmpp:chat-markers:0"})
_ADDED: Final = frozenset({"{urn:xmpp:sid:0}stanza-id", "{urn:xmpp:mam:tmp}archived"})
"""What mod_mam adds and takes away, whoever wrote it: not every copy has it."""
_TOLD: Final[Mapping[str, EventType]] = {
    "{urn:xmpp:chat-markers:0}displayed": "displayed",
    "{urn:xmpp:receipts}received": "receipt",
    "{urn:xmpp:chat-markers:0}received": "receipt",
}
_HINTS: Final = frozenset({"urn:xmpp:hints", "urn:xmpp:sid:0", "urn:xmpp:mam:tmp", "urn:xmpp:occupant-id:0"})
_BESIDE: Final = _DELAYS | {"{jabber:client}thread", "{jabber:component:accept}thread", "{urn:xmpp:carbons:2}private"}
"""What clients, servers and rooms add to messages, by namespace or name: it tells a person nothing."""
_IN_ROOM: Final = "{http://jabber.org/protocol/muc#user}x"
_OF_ROOM: Final = _ADDED | {_IN_ROOM, "{urn:xmpp:occupant-id:0}occupant-id"}
"""What a room adds to a private message and takes away, whoever wrote it (measured on 23.01 and 26.07)."""
_UNNAMED_S: Final = 2.0
"""Seconds within which equal stanzas without an id are one event: a user may well send such a text again."""
_PUBSUB: Final = "{http://jabber.org/protocol/pubsub}"
_PUSH: Final = "urn:xmpp:push:0"
_FORM: Final = "{jabber:x:data}"
_PING: Final = "{urn:xmpp:ping}ping"
_INFO: Final = "http://jabber.org/protocol/disco#info"
_STANZAS: Final = "urn:ietf:params:xml:ns:xmpp-stanzas"
_FEATURES: Final = (_INFO, "urn:xmpp:ping", _PUSH)

Kind = Literal["result", "wait", "cancel"]
"""How an iq is answered: by a result, or by an error of this type."""


@frozen
class Deriver:
    """Makes the events of one source: those of the types in `takes`. `hosts`: the server's own; `rooms`: `Rooms`."""

    source: str
    name: str
    hosts: Collection[str]
    rooms: Collection[str]
    takes: Collection[str]

    def event_of_copy(self, host: str, stanza: Stanza, now_s: float, beat_s: float) -> ServerEvent | None:
        """Return the event of a stanza that a user of this host sends or receives; None if it makes none.

        In epoch seconds: `now_s`, and when the last heartbeat was sent that came back. What comes may have waited since
        then, so that an equal stanza without an id that was read since then is the same.
        """
        kind = self._kind(stanza)
        if kind in ("message", "groupchat") and _is_silent(stanza.element):
            return self._told(stanza, host, now_s)
        if kind is None or kind not in self.takes:
            return None
        # Of the others there is one copy: each is another event, even where it has the same bytes.
        is_copied = kind in ("message", "error") or (kind == "groupchat" and "/" in stanza.receiver)
        digest = digest_of(repr(_content(stanza.element))) if is_copied else ""
        window_s = None if "id" in stanza.element.attrib else max(_UNNAMED_S, now_s - beat_s)
        event = self.event(kind, stanza, host, now_s, digest, window_s)
        return self._with_pair(event, stanza.element) if kind == "message" and event.id else event

    def _with_pair(self, event: ServerEvent, element: ET.Element) -> ServerEvent:
        """Return the event with its pair if it is one copy of a private message in a room here.

        The addresses say so, which the server sets; of other servers anyone may send what looks like a room's.
        """
        sender, receiver = event.sender or "", event.receiver or ""
        is_sent = self._is_nick_here(receiver) and domain(sender) in self.hosts
        is_received = self._is_nick_here(sender) and domain(receiver) in self.hosts
        if not (is_sent or (is_received and element.find(_IN_ROOM) is not None)):
            return event
        attributes = {name: value for name, value in element.attrib.items() if name not in ("from", "to")}
        children = [_content(child) for child in element if child.tag not in _OF_ROOM]
        pair = digest_of(repr((bare(receiver if is_sent else sender), attributes, element.text, children)))
        if is_sent:
            return attrs.evolve(event, pair=(pair, f"sent:{digest_of(receiver)}"))
        # Each device of the receiver has a copy.
        return attrs.evolve(
            event, pair=(pair, f"received:{digest_of(sender)}"), digest=digest_of(f"{sender} {bare(receiver)} {pair}")
        )

    def _is_nick_here(self, jid: str) -> bool:
        return "/" in jid and self.is_room(jid)

    def is_room(self, jid: str) -> bool:
        """Tell whether this may be a room of the hosts' server, or an occupant of one: no user has such an address."""
        place = domain(jid)
        is_below = place not in self.hosts and any(place.endswith(f".{host}") for host in self.hosts)
        return bare(jid) in self.rooms or ("@" in jid and is_below)

    def event_of_room(self, direct: Direct, now_s: float) -> ServerEvent | None:
        """Return the event of a room of `Rooms` that tells our subscriber of a message; None if it is none."""
        said, room = direct.said, direct.stanza.sender
        if said is None or said.element.get("type") != "groupchat" or not is_of_room(direct, self):
            return None
        stanza = Stanza(said.element, said.sender, room, said.xml)
        if _is_silent(said.element):
            return self._told(stanza, domain(room), now_s)
        return self.event("groupchat", stanza, domain(room), now_s) if "groupchat" in self.takes else None

    def event_of_answer(self, stanza: Stanza, now_s: float) -> ServerEvent | None:
        """Return the event of a receipt or marker that a person sends the component itself; None if it is none."""
        is_meant = stanza.kind == "message" and domain(stanza.receiver) == self.name
        is_private = stanza.element.get("type") not in ("error", "groupchat")
        return self._told(stanza, self.name, now_s) if is_meant and is_private and _is_silent(stanza.element) else None

    def _told(self, stanza: Stanza, host: str, now_s: float) -> ServerEvent | None:
        """Return the event of a silent message; None if it is none, or the same as its sender's own copy."""
        element, sender, receiver = stanza.element, stanza.sender, stanza.receiver
        named = {_TOLD[child.tag]: child.get("id") for child in element if child.tag in _TOLD}
        kind: EventType = "displayed" if "displayed" in named else "receipt"
        number, names = named.get(kind), {child.tag for child in element}
        is_late = domain(sender) in self.hosts and not names.isdisjoint(_DELAYS)
        # A room passes a private one on in its own name.
        is_passed_on = _IN_ROOM in names and self._is_nick_here(sender) and element.get("type") != "groupchat"
        if not number or kind not in self.takes or is_late or is_passed_on:
            return None
        event = self.event(kind, stanza, host, now_s, digest_of(repr((sender, receiver, number))))
        return attrs.evolve(event, id=number)

    def event_of_push(self, stanza: Stanza, now_s: float) -> ServerEvent | None:
        """Return the event of a notification from one of the hosts; None if it is none. `now_s`: epoch seconds."""
        sender, number, element = stanza.sender, stanza.element.get("id"), stanza.element
        if "push" not in self.takes or not is_notification(stanza) or element.get("type") != "set":
            return None
        if sender not in self.hosts or stanza.receiver != self.name or not number:
            return None
        publish = element.find(f"{_PUBSUB}pubsub/{_PUBSUB}publish")
        notification = None if publish is None else publish.find(f"{_PUBSUB}item/{{{_PUSH}}}notification")
        if publish is None or notification is None:
            return None
        summary = _fields(notification)
        options = _fields(element.find(f"{_PUBSUB}pubsub/{_PUBSUB}publish-options"))
        return ServerEvent(
            type="push",
            sender=as_text(summary.get("last-message-sender")),
            receiver=None,
            id=number,
            body=as_text(summary.get("last-message-body")),
            room=None,
            server=sender,
            source=self.source,
            received_at_s=now_s,
            raw={"kind": "push", "node": publish.get("node"), "options": options, "summary": summary},
            digest=digest_of(f"{sender} {number}"),
            more={NODE: publish.get("node")},
        )

    def event(
        self, kind: EventType, stanza: Stanza, host: str, now_s: float, digest: str = "", window_s: float | None = None
    ) -> ServerEvent:
        """Return the event of this type, with what the stanza has."""
        element = stanza.element
        word = element.get("type")
        raw: dict[str, Json] = {"kind": stanza.kind, "type": word, "xml": stanza.xml}
        if any(child.tag in _LATE for child in element):
            raw["delayed"] = True
        body = element.find(_BODY)
        return ServerEvent(
            type=kind,
            sender=stanza.sender,
            receiver=stanza.receiver,
            id=element.get("id"),
            body=None if body is None else body.text or "",
            room=bare(stanza.receiver) if word == "groupchat" else None,
            server=host,
            source=self.source,
            received_at_s=now_s,
            raw=raw,
            presence=word or PRESENCE[True] if kind in ("presence", "subscription") else None,
            digest=digest,
            window_s=window_s,
        )

    def _kind(self, stanza: Stanza) -> EventType | None:
        match stanza.kind, stanza.element.get("type"):
            case "message" | "presence", "error":
                return "error"
            case "message", "groupchat":
                # What a room tells its occupants comes from none of `hosts`.
                is_said = domain(stanza.sender) in self.hosts and stanza.receiver not in self.rooms
                return "groupchat" if is_said else None
            case "message", _:
                return "message" if self._is_message(stanza) else None
            case "presence", (None | "unavailable"):
                # As the user sends it to all; what reaches others has another `from` or `to`.
                return "presence" if "/" in stanza.sender and bare(stanza.sender) == stanza.receiver else None
            case "presence", str(word) if word in _SUBSCRIPTIONS:
                # The server takes the resource away from what it passes on.
                return "subscription" if "/" in stanza.sender else None
            case _:
                return None

    def _is_message(self, stanza: Stanza) -> bool:
        sender = stanza.sender
        if "/" not in sender:
            names = {child.tag for child in stanza.element}
            is_own = sender == bare(stanza.receiver) and domain(sender) in self.hosts
            if is_own and names & _CARBONS:
                return False
            if names & _ARCHIVED and (is_own or self.is_room(sender)):
                return False
            if _NOTICE in names and _BODY not in names:
                return False
        return True


def is_of_room(direct: Direct, deriver: Deriver) -> bool:
    """Tell whether one of `Rooms` brings our subscriber what an occupant says."""
    said, room = direct.said, direct.stanza.sender
    is_ours = room in deriver.rooms and bare(direct.stanza.receiver) == f"{SUBSCRIBER}@{deriver.name}"
    return is_ours and said is not None and bare(said.sender) == room


def _is_silent(element: ET.Element) -> bool:
    """Tell whether a message tells only that somebody types, or has received or read one: nobody is to answer it."""
    tells = False
    for child in element:
        space = child.tag[1:].partition("}")[0]
        if space in _SILENT:
            tells = True
        # An invitation is in the element by which a room marks a private message.
        elif not (space in _HINTS or child.tag in _BESIDE or (child.tag == _IN_ROOM and not len(child))):
            return False
    return tells


def _content(element: ET.Element) -> tuple[object, ...]:
    """Return what two copies of one stanza have in common."""
    children = [(_content(child), child.tail) for child in element if child.tag not in _ADDED]
    return element.tag, element.attrib, element.text, children


def digest_of(text: str) -> str:
    """Return what names this text among the marks of events."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def is_notification(stanza: Stanza) -> bool:
    """Tell whether the stanza is an iq that is answered as a notification, even if it is a wrong one."""
    asks = stanza.kind == "iq" and stanza.element.get("type") in ("get", "set")
    return asks and stanza.element.find(f"{_PUBSUB}pubsub") is not None


def has_text(event: ServerEvent) -> bool:
    """Tell whether a notification says anything of a message: of a receipt or a call it does not."""
    return event.sender is not None or event.body is not None


def answer_to_push(event: ServerEvent, name: str, kind: Kind) -> str:
    """Return the answer of the component `name` to the notification that became this event."""
    return _answer(name, event.server or "", event.id or "", kind)


def answer_to(stanza: Stanza, name: str, *, takes_push: bool) -> str | None:
    """Return the answer to an iq that asks and is no event; None for any other stanza, and for one to another name."""
    element = stanza.element
    if stanza.kind != "iq" or element.get("type") not in ("get", "set") or domain(stanza.receiver) != name:
        return None
    kind: Kind = "cancel"
    content = ""
    if is_notification(stanza):
        kind = "wait"
    elif element.get("type") == "get" and element.find(_PING) is not None:
        kind = "result"
    elif element.get("type") == "get" and (query := element.find(f"{{{_INFO}}}query")) is not None:
        # The component has no nodes.
        kind = "cancel" if query.get("node") else "result"
        content = _identity(takes_push=takes_push)
    return _answer(stanza.receiver, stanza.sender, element.get("id", ""), kind, content)


def _answer(sender: str, receiver: str, number: str, kind: Kind, content: str = "") -> str:
    addresses = f"from={quoteattr(sender)} to={quoteattr(receiver)} id={quoteattr(number)}"
    if kind == "result":
        return f"<iq type='result' {addresses}>{content}</iq>"
    error = f"<error type='{kind}'><service-unavailable xmlns='{_STANZAS}'/></error>"
    return f"<iq type='error' {addresses}>{error}</iq>"


def _identity(*, takes_push: bool) -> str:
    identity = "category='pubsub' type='push'" if takes_push else "category='component' type='generic'"
    features = (f"<feature var='{name}'/>" for name in _FEATURES if takes_push or name != _PUSH)
    return f"<query xmlns='{_INFO}'><identity {identity} name='restbroker'/>{''.join(features)}</query>"


def _fields(parent: ET.Element | None) -> dict[str, Json]:
    """Return the fields of the form in this element; one without a text is None, one with several texts a list."""
    found: dict[str, list[Json]] = {}
    for field in () if parent is None else parent.iterfind(f"{_FORM}x/{_FORM}field"):
        name = field.get("var", "")
        if name != "FORM_TYPE":
            texts = found.setdefault(name, [])
            texts += (value.text for value in field.iterfind(f"{_FORM}value") if value.text)
    return {name: texts if len(texts) > 1 else next(iter(texts), None) for name, texts in found.items()}
