"""Turns the frames of a user's stream into events. Called by `listener`, for one frame after the other.

Always holds: every frame becomes an event, unless its mode leaves it out; `raw` has the whole frame. The names of
frames and the members of their data, as the plugin's source has them:

| frame | type in its data | event |
|---|---|---|
| chatapi.xmpp | none; the stanza in base64 | `stanza`, or the truth about a frame that follows |
| chatapi.chat | chat, normal, headline; error | `message`, or `chatstate` with a `state`; `error` |
| chatapi.presence | presence | `presence` |
| chatapi.muc | groupchat; invitationReceived | `groupchat`; `invitation` |
| chatapi.ask | offer; groupchat; all else | `invitation`: the room is there; `groupchat`; `queue` |
| chatapi.assist | offerReceived; offerRevoked | `offer`; `offer-revoked` |
| chatapi.notify, any other | | `notify` |
"""

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from restbroker.job.event import PRESENCE, EventType, ServerEvent, bare, domain
from restbroker.job.json_types import Json
from restbroker.servers.openfire.stream.data import read_data
from restbroker.servers.openfire.stream.options import RawMode
from restbroker.servers.openfire.stream.pairs import Pair, Pairs
from restbroker.servers.openfire.stream.stanza import Stanza, read_stanza
from restbroker.transport.stream import Frame

_STANZAS: Final = "chatapi.xmpp"
_UNREAD: Final[Mapping[str, EventType]] = {
    "chatapi.chat": "message",
    "chatapi.presence": "presence",
    "chatapi.muc": "groupchat",
    "chatapi.ask": "queue",
    "chatapi.assist": "offer",
}
"""The type of an event that cannot be read, by the name of its frame."""
_WORKGROUPS: Final = "workgroup."
_NULL: Final = "null"
"""What the plugin writes for a text that is not there (measured)."""
_UNKNOWN: Final = "unknown"
"""A presence without its stanza, or with two that may be its own."""


def _ignore_room(room: str) -> None:
    del room


@attrs.define(eq=False)
class Form:
    """The reader of one stream's frames. `host`: the domain of its user, None if that is not configured.

    `on_out` is called with each room (`balcony@conference`) that has the user leave, or says that they are not in it.
    """

    source: str
    user: str
    host: str | None
    mode: RawMode
    on_out: Callable[[str], None] = _ignore_room
    is_ending: bool = False
    """Whether a stanza said that the user's session may be over; what was on its way may still come after it."""
    _pairs: Pairs = attrs.field(factory=Pairs)

    def read(self, frame: Frame, now_s: float) -> ServerEvent | None:
        """Return the event of a frame; None if `mode` leaves such frames out. `now_s`: epoch seconds."""
        if frame.name == _STANZAS:
            return self._of_stanza(frame, now_s)
        if self.mode == "stanzas":
            return None
        pair = self._pairs.of(frame)
        # Invitations come twice, and so does what someone hears who asks an expert (measured).
        return None if pair is not None and pair.is_repeated else self._event_of_type(frame, pair, now_s)

    def _of_stanza(self, frame: Frame, now_s: float) -> ServerEvent | None:
        data = read_data(frame.data)
        coded = (data.members or {}).get("xmpp")
        stanza = read_stanza(coded) if isinstance(coded, str) else None
        if stanza is not None:
            self.is_ending = self.is_ending or stanza.ends
            self._pairs.add(stanza)
            if stanza.expels is not None:
                self.on_out(stanza.expels)
        if self.mode == "typed":
            return None
        raw = self._raw(frame, data.members, data.fault)
        if stanza is None:
            return self._event("stanza", raw, now_s)
        is_room = stanza.word == "groupchat" and stanza.sender is not None
        return self._event(
            "stanza",
            {**raw, "stanza": stanza.xml},
            now_s,
            sender=stanza.sender,
            receiver=stanza.receiver,
            id=stanza.id,
            body=stanza.body,
            room=bare(stanza.sender or "") if is_room else None,
        )

    def _event_of_type(self, frame: Frame, pair: Pair | None, now_s: float) -> ServerEvent:
        data = read_data(frame.data)
        members = data.members or {}
        kind = _type(frame.name, members) if data.members is not None else _UNREAD.get(frame.name, "notify")
        raw = self._raw(frame, data.members, data.fault)
        sender, receiver, body = _text(members, "from"), _text(members, "to"), _body(kind, members)
        presence = None
        named = _text(members, "id") if kind in ("offer", "offer-revoked") else None
        if pair is not None and pair.says != "presence":
            stanza = pair.stanza
            sender, receiver, named = stanza.sender, stanza.receiver, stanza.id
            if pair.says == "message":
                kind, body = _message_type(stanza.word), stanza.body
                raw.setdefault("data", _data(stanza.data))
            else:
                kind = "invitation"
                raw |= _invitation_fields(stanza)
                body = stanza.invitation.reason if stanza.invitation is not None else body
        if kind == "presence":
            # The plugin does not say whether someone comes or goes (measured).
            presence = pair.stanza.word or PRESENCE[True] if pair is not None and pair.is_certain else None
            raw["presence"] = presence or _UNKNOWN
        return self._event(
            kind,
            raw,
            now_s,
            sender=sender or _text(members, "inviter"),
            receiver=receiver or self._workgroup_user(_text(members, "workgroup")),
            id=named,
            body=body,
            room=_room(kind, members, sender),
            presence=presence,
        )

    def _event(self, kind: EventType, raw: Json, now_s: float, **said: str | None) -> ServerEvent:
        receiver = said.get("receiver") or self._workgroup_user(None)
        return ServerEvent(
            type=kind,
            sender=said.get("sender"),
            receiver=receiver,
            id=said.get("id"),
            body=said.get("body"),
            room=said.get("room"),
            server=None if receiver is None else domain(receiver),
            source=self.source,
            received_at_s=now_s,
            raw=raw,
            presence=said.get("presence"),
        )

    def _raw(self, frame: Frame, members: Mapping[str, Json] | None, fault: str | None) -> dict[str, Json]:
        raw: dict[str, Json] = {"event": frame.name, "user": self.user}
        if members is None:
            return {**raw, "text": frame.data, "parse_error": fault}
        return {**members, **raw} if fault is None else {**members, **raw, "parse_error": fault}

    def _workgroup_user(self, workgroup: str | None) -> str | None:
        """Return the user's JID if the server does not say it, or None; an offer names only its workgroup."""
        host = self.host
        if host is None and workgroup is not None and domain(workgroup).startswith(_WORKGROUPS):
            host = domain(workgroup).removeprefix(_WORKGROUPS)
        return None if host is None else f"{self.user}@{host}"


def _type(name: str, members: Mapping[str, Json]) -> EventType:
    match name, members.get("type"):
        case "chatapi.chat", "error":
            return "error"
        case "chatapi.chat", _:
            return "chatstate" if "state" in members and "body" not in members else "message"
        case "chatapi.presence", _:
            return "presence"
        case "chatapi.muc", "invitationReceived":
            return "invitation"
        case ("chatapi.muc", _) | ("chatapi.ask", "groupchat"):
            return "groupchat"
        case "chatapi.ask", "offer":
            return "invitation"
        case "chatapi.ask", _:
            return "queue"
        case "chatapi.assist", "offerRevoked":
            return "offer-revoked"
        case "chatapi.assist", _:
            return "offer"
        case _:
            return "notify"


def _data(text: str | None) -> Json:
    """Parse `data` as the frames that have it are parsed: the first frame of those who ask an expert has none."""
    return None if text is None else (read_data(f'{{"data": {text}}}').members or {}).get("data", text)


def _invitation_fields(stanza: Stanza) -> dict[str, Json]:
    """Return what the plugin's two frames of an invitation say together, whichever of them came first."""
    invitation = stanza.invitation
    if invitation is None:
        return {}
    said = {"inviter": invitation.inviter, "reason": invitation.reason, "password": invitation.password}
    return {"room": stanza.sender, **{name: _NULL if text is None else text for name, text in said.items()}}


def _message_type(word: str | None) -> EventType:
    match word:
        case "groupchat" | "error":
            return word
        case _:
            return "message"


def _body(kind: EventType, members: Mapping[str, Json]) -> str | None:
    if kind in ("invitation", "offer-revoked"):
        return _text(members, "reason")
    body = members.get("body")
    return body if isinstance(body, str) else None


def _room(kind: EventType, members: Mapping[str, Json], sender: str | None) -> str | None:
    match kind:
        case "groupchat":
            return None if sender is None else bare(sender)
        case "invitation":
            room = _text(members, "room") or _text(members, "mucRoom")
            return None if room is None else bare(room)
        case _:
            return None


def _text(members: Mapping[str, Json], name: str) -> str | None:
    value = members.get(name)
    return value if isinstance(value, str) and value != _NULL else None
