"""Turns the frames of a user's stream into events. Called by `listener`, for one frame after the other.

The plugin writes each stanza that reaches the user (`chatapi.xmpp`), and then frames of its own that repeat it, as JSON
without escaping. The stanza alone counts for what it says. Always holds: no frame makes it raise; a frame makes one
event at most; what cannot be read is an event, too. Any text is read, or found unreadable, in a time that grows as its
length does: anyone may send a user 3 MB. If a member stands there twice, the first counts: the server writes the sender
before the text, and a text can hold another `from`.

| frame | event |
|---|---|
| chatapi.xmpp | `message`, `groupchat`, `error`, `chatstate`, `invitation`, `presence`, by its stanza; or none |
| chatapi.chat, chatapi.presence, chatapi.muc; chatapi.ask of type groupchat, offer | none: they repeat a stanza |
| chatapi.ask of other types | `queue` |
| chatapi.assist | `offer`; `offer-revoked` |
| chatapi.notify, any other, a stanza that cannot be read | `notify` |
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from restbroker.job import rubyjson
from restbroker.job.event import PRESENCE, EventType, ServerEvent, bare, domain
from restbroker.job.json_types import Json
from restbroker.light import define, frozen
from restbroker.servers.openfire.stream.stanza import StreamStanza, read_stanza
from restbroker.transport.stream import Frame

_NAMES: Final = (
    *("type", "to", "from", "body", "data", "state", "status", "show", "room", "inviter", "url", "reason", "password"),
    *("mucRoom", "averageWaitTime", "userCount", "oldestEntry", "userid", "postion", "timeRemaining", "timestamp"),
    *("remaingTime", "position", "workgroup", "id", "metaData", "xmpp"),
)
"""The members of all events, as the plugin spells them (read)."""
_BEGINNING: Final = re.compile(rf'(?:\A\s*\{{|,)\s*"({"|".join(_NAMES)})"\s*:\s*')
_STANZAS: Final = "chatapi.xmpp"
_REPEATED: Final = frozenset({"chatapi.chat", "chatapi.presence", "chatapi.muc"})
_WORKGROUPS: Final = "workgroup."
_NULL: Final = "null"
"""What the plugin writes for a text that is not there (measured)."""


@frozen
class Data:
    """The data of an event. `members`: None if it cannot be read. `fault`: what is wrong with it, in words, or None."""

    members: dict[str, Json] | None
    fault: str | None = None


def _first(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """Return an object in which the first of two equal members counts."""
    return {**dict(pairs), **dict(reversed(pairs))}


def read_data(text: str) -> Data:
    """Return the members of an event's data; line breaks and quotes within a text count as part of it."""
    try:
        # Line breaks and other control characters within strings are no fault of who sent them.
        members = json.loads(text, strict=False, object_pairs_hook=_first, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _repair(text)
    return _writable(members) if isinstance(members, dict) else Data(None, "it is not a JSON object")


def _writable(members: dict[str, Json]) -> Data:
    """Return the members, or a fault if a job cannot contain them."""
    try:
        rubyjson.dumps({"args": [{"raw": members}]})
    except (ValueError, RecursionError):
        return Data(None, "it is JSON that a job cannot contain")
    return Data(members)


def _repair(text: str) -> Data:
    """Return the members of data that is not JSON: each value ends where the next known name begins.

    A value that is not JSON, such as an object with an unescaped text in it, is returned as the text that stands there.
    """
    begun, text = list(_BEGINNING.finditer(text)), text.rstrip()
    if not begun or begun[0].start() > 0 or not text.endswith("}"):
        return Data(None, "it is not JSON")
    ends = [*(match.start() for match in begun[1:]), len(text) - 1]
    members: dict[str, Json] = {}
    unread: list[str] = []
    for match, until in zip(begun, ends, strict=True):
        written = text[match.end() : until].strip()
        try:
            members.setdefault(match[1], _value(written))
        except (ValueError, RecursionError):
            unread.append(match[1])
            members.setdefault(match[1], written)
    found = _writable(members)
    if not unread or found.fault is not None:
        return found
    return Data(members, f"the value of {', '.join(unread)} is not JSON, and is given as a string")


def _value(written: str) -> Json:
    try:
        value: Json = json.loads(written, strict=False, object_pairs_hook=_first, parse_constant=_refuse)
    except ValueError:
        if len(written) > 1 and written[0] == written[-1] == '"':
            return written[1:-1]
        raise
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


@define(eq=False)
class FrameReader:
    """The reader of one stream's frames. `host`: the domain of its user, None if that is not configured.

    `on_out` is called with each room (`balcony@conference`) that has the user leave, or says that they are not in it.
    """

    source: str
    user: str
    host: str | None
    on_out: Callable[[str], None] = lambda _: None
    is_ending: bool = False
    """Whether a stanza said that the user's session may be over; what was on its way may still come after it."""

    def read(self, frame: Frame, now_s: float) -> ServerEvent | None:
        """Return the event of a frame; None if it repeats a stanza, or is one of no event. `now_s`: epoch seconds."""
        if frame.name in _REPEATED:
            return None
        data = read_data(frame.data)
        members = data.members or {}
        if frame.name == _STANZAS:
            coded = members.get("xmpp")
            stanza = read_stanza(coded) if isinstance(coded, str) else None
            if stanza is not None:
                self.is_ending = self.is_ending or stanza.ends
                if stanza.expels is not None:
                    self.on_out(stanza.expels)
                return self._event_of_stanza(stanza, now_s)
        kind = _frame_type(frame.name, members)
        if kind is None:
            return None
        raw: dict[str, Json] = {**members, "event": frame.name, "user": self.user}
        if data.members is None:
            raw["text"] = frame.data
        if data.fault is not None:
            raw["parse_error"] = data.fault
        receiver = _text(members, "to") or self._workgroup_user(_text(members, "workgroup"))
        return ServerEvent(
            type=kind,
            sender=_text(members, "from"),
            receiver=receiver,
            id=_text(members, "id") if kind in ("offer", "offer-revoked") else None,
            body=_text(members, "reason" if kind == "offer-revoked" else "body"),
            room=None,
            server=None if receiver is None else domain(receiver),
            source=self.source,
            received_at_s=now_s,
            raw=raw,
        )

    def _event_of_stanza(self, stanza: StreamStanza, now_s: float) -> ServerEvent | None:
        kind = _stanza_type(stanza)
        if kind is None:
            return None
        invitation, body, room, presence, inviter = stanza.invitation, stanza.body, None, None, None
        if kind == "presence":
            presence = stanza.word or PRESENCE[True]
        elif kind == "groupchat":
            room = stanza.sender
        elif kind == "invitation" and invitation is not None:
            # The room itself sends it.
            room, inviter, body = stanza.sender, invitation.inviter, invitation.reason or body
        elif kind == "invitation":
            room, inviter = stanza.conference, stanza.sender
        members: dict[str, Json] = {
            "type": stanza.word,
            "data": None if stanza.data is None else _parsed(stanza.data),
            "state": stanza.state,
            "show": stanza.show,
            "status": stanza.status,
            "presence": presence,
            "inviter": inviter,
            "password": None if invitation is None else invitation.password,
        }
        raw: dict[str, Json] = {"event": _STANZAS, "user": self.user, "stanza": stanza.xml}
        receiver = stanza.receiver or self._workgroup_user(None)  # a broadcast names nobody
        return ServerEvent(
            type=kind,
            sender=stanza.sender,
            receiver=receiver,
            id=stanza.id,
            body=body,
            room=None if room is None else bare(room),
            server=None if receiver is None else domain(receiver),
            source=self.source,
            received_at_s=now_s,
            raw=raw | {name: value for name, value in members.items() if value is not None},
            presence=presence,
        )

    def _workgroup_user(self, workgroup: str | None) -> str | None:
        """Return the user's JID if the server does not say it, or None; an offer names only its workgroup."""
        host = self.host
        if host is None and workgroup is not None and domain(workgroup).startswith(_WORKGROUPS):
            host = domain(workgroup).removeprefix(_WORKGROUPS)
        return None if host is None else f"{self.user}@{host}"


def _stanza_type(stanza: StreamStanza) -> EventType | None:
    has_body = stanza.body is not None
    match stanza.kind, stanza.word:
        case "presence", _:
            return "presence"
        case "message", "groupchat" | "error" as word:
            return word if has_body else None
        case "message", _ if stanza.invitation is not None or (stanza.conference is not None and not has_body):
            return "invitation"
        case "message", _ if has_body:
            return "message"
        case "message", _ if stanza.state is not None:
            return "chatstate"
        case _:
            return None


def _frame_type(name: str, members: Mapping[str, Json]) -> EventType | None:
    match name, members.get("type"):
        case "chatapi.ask", "groupchat" | "offer":
            return None
        case "chatapi.ask", _:
            return "queue"
        case "chatapi.assist", "offerRevoked":
            return "offer-revoked"
        case "chatapi.assist", _:
            return "offer"
        case _:
            return "notify"


def _parsed(text: str) -> Json:
    """Return the JSON that a message holds beside its body; as text if a job cannot contain it."""
    return (read_data(f'{{"data": {text}}}').members or {}).get("data", text)


def _text(members: Mapping[str, Json], name: str) -> str | None:
    value = members.get(name)
    return value if isinstance(value, str) and value != _NULL else None
