"""What goes from user to user at the stand-in: messages, presence and rooms, as events of the Chat API.

Used by the handlers. Each thing is told twice, as the raw stanza (`chatapi.xmpp`) and then as its typed event, whose
JSON is put together from strings without escaping, as in the sources. Always holds: only the last-opened event stream
of a user is told anything.
"""

import base64
import json
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from tests.support.openfire.world import Account, Occupant, Room, Stream, World

_KICKED = (
    '<stream:error xmlns:stream="http://etherx.jabber.org/streams">'
    '<not-authorized xmlns="urn:ietf:params:xml:ns:xmpp-streams"/></stream:error>'
)
_SPACED = ("body", "state", "show", "reason", "oldestEntry", "timestamp", "position", "mucRoom", "metaData")


def address(world: World, room: Room) -> str:
    return f"{room.name}@{room.service}.{world.domain}"


def joined(**fields: Any) -> str:
    """JSON as the Chat API puts it together: texts as they are, `data` without quotes; the spaces are its own."""
    first, *rest = [(name.removesuffix("_"), value) for name, value in fields.items()]
    parts = [f'"{first[0]}": "{first[1]}"']
    for name, value in rest:
        said = value if name in ("data", "metaData") else f'"{value}"'
        parts.append(f'"{name}":{" " if name in _SPACED else ""}{said}')
    return "{" + ", ".join(parts) + "}"


def stanza(world: World, username: str, raw: str) -> None:
    coded = base64.b64encode(raw.replace("<message ", '<message xmlns="jabber:client" ', 1).encode()).decode()
    world.tell(username, "chatapi.xmpp", f'{{"xmpp": "{coded}"}}')


def _message(kind: str | None, to: str | None, sender: str, inner: str, ident: str | None = None) -> str:
    given = {"to": to, "id": ident, "type": kind, "from": sender}
    written = " ".join(f"{name}={quoteattr(value)}" for name, value in given.items() if value is not None)
    return f"<message {written}>{inner}</message>"


def _id(world: World) -> str:
    return f"XyyJN-{next(world.ids)}"


def _properties(data: str) -> str:
    if data == "null":
        return ""
    return (
        '<properties xmlns="http://www.jivesoftware.com/xmlns/xmpp/properties"><property><name>data</name>'
        f'<value type="string">{escape(data)}</value></property></properties>'
    )


def _body(body: str | None) -> str:
    return "" if body is None else f"<body>{escape(body)}</body>"


def understood(text: str) -> tuple[str | None, str]:
    """A posted message as its body and its data: a JSON object travels as data, its `body` is the text."""
    try:
        given = json.loads(text)
    except ValueError:
        return text, "null"
    if not isinstance(given, dict):
        return text, "null"
    return (str(given["body"]) if "body" in given else None), text


def message(world: World, sender: Stream, to: str, text: str) -> None:
    """A chat message to a bare address; to something else, or nobody, it is swallowed, and its sender is not told."""
    node, at, host = to.partition("/")[0].partition("@")
    if not at or host != world.domain:
        return
    body, data = understood(text)
    account = world.account(node)
    if account is None:
        return
    ident = _id(world)

    def told(stream: Stream) -> None:
        stanza(world, stream.username, _message("chat", to, sender.jid, _body(body) + _properties(data), ident))
        _typed(world, stream.username, ("chat", to, sender.jid), body, data)

    _given(world, account, told)


def _typed(world: World, username: str, said: tuple[str, str, str], body: str | None, data: str) -> None:
    kind, to, sender = said
    if body is not None:
        world.tell(username, "chatapi.chat", joined(type=kind, to=to, from_=sender, data=data, body=body))
    elif data != "null":
        world.tell(username, "chatapi.notify", joined(type="notify", to=to, from_=sender, data=data))


def _given(world: World, account: Account, told: Any) -> None:
    stream = world.of_user.get(account.username)
    if stream is None or stream.is_anonymous or stream.is_kicked:
        account.offline.append(told)
    else:
        told(stream)


def presence(world: World, stream: Stream, show: str | None, status: str | None) -> None:
    """Tells the contacts that may know, and himself; who was away hears who is there."""
    if stream.is_kicked:
        return
    was_away = stream.show is None
    stream.show, stream.status = None if show == "offline" else show or "available", status
    for contact in _contacts(world, stream.username, (2, 3)):
        other = world.of_user.get(contact)
        if other is not None:
            _seen(world, other.username, f"{contact}@{world.domain}", stream.jid, stream)
    if not (was_away and stream.show is None):
        _seen(world, stream.username, stream.jid, stream.jid, stream)
    if stream.show is None or not was_away:
        return
    for contact in _contacts(world, stream.username, (1, 3)):
        other = world.of_user.get(contact)
        if other is not None and other.show is not None:
            _seen(world, stream.username, stream.jid, other.jid, other)


def arrive(world: World, stream: Stream) -> None:
    """A login makes the user available: what was kept for him is handed out, before he can have an event stream."""
    stream.contacts = frozenset(world.rosters.get(stream.username, {}))
    account = world.account(stream.username)
    if stream.is_anonymous:
        return
    presence(world, stream, None, None)
    if account is not None:
        kept, account.offline = account.offline, []
        for told in kept:
            told(stream)


def _contacts(world: World, username: str, subscriptions: tuple[int, ...]) -> list[str]:
    roster = world.rosters.get(username, {})
    ours = [one.jid for one in roster.values() if one.subscription in subscriptions]
    return [jid.partition("@")[0] for jid in ours if jid.endswith(f"@{world.domain}")]


def _seen(world: World, username: str, to: str, sender: str, of: Stream | None) -> None:
    """Somebody's presence; `of` is None (or away) when he left. Only the raw stanza tells that (measured)."""
    show = None if of is None else of.show
    status = None if of is None else of.status
    mode = f"<show>{show}</show>" if show not in (None, "available") else ""
    text = f"<status>{escape(status)}</status>" if status is not None else ""
    kind = ' type="unavailable"' if show is None else ""
    stanza(world, username, f"<presence to={quoteattr(to)} from={quoteattr(sender)}{kind}>{mode}{text}</presence>")
    fields = {"type": "presence", "to": to, "from_": sender, "status": status or "null", "show": show or "available"}
    world.tell(username, "chatapi.presence", joined(**fields))


def occupant(world: World, stream: Stream) -> Occupant:
    def hears(speaker: str, body: str, data: str) -> None:
        _heard(world, stream, speaker, body, data)

    def sees(who: str, is_there: bool) -> None:
        there = Stream("", "", who, is_anonymous=False, show="available") if is_there else None
        _seen(world, stream.username, stream.jid, who, there)

    return Occupant(stream.jid, hears, sees)


def _heard(world: World, stream: Stream, speaker: str, body: str, data: str) -> None:
    stanza(world, stream.username, heard_as(world, stream.jid, speaker, body, data))
    fields = {"type": "groupchat", "to": stream.jid, "from_": speaker, "data": data, "body": body}
    world.tell(stream.username, "chatapi.muc", joined(**fields))


def heard_as(world: World, to: str, speaker: str, body: str, data: str) -> str:
    return _message("groupchat", to, speaker, _body(body) + _properties(data), _id(world))


def enter(world: World, room: Room, nick: str, who: Occupant) -> None:
    """Somebody is in the room from now on: he is told who is there, and everybody that he came."""
    where = address(world, room)
    for other in room.occupants:
        who.sees(f"{where}/{other}", True)
    room.occupants[nick] = who
    for one in list(room.occupants.values()):
        one.sees(f"{where}/{nick}", True)


def leave(world: World, room: Room, nick: str) -> None:
    """Somebody is no longer in the room; everybody is told, he too. An empty room that is not kept is gone."""
    who = room.occupants.pop(nick, None)
    if who is None:
        return
    for one in (*room.occupants.values(), who):
        one.sees(f"{address(world, room)}/{nick}", False)
    if not room.occupants and not room.is_persistent:
        world.services[room.service].pop(room.name, None)


def say(world: World, room: Room, nick: str, text: str) -> None:
    body, data = understood(text) if text.startswith("{") and text.endswith("}") else (text, "null")
    if body is None:
        return
    speaker = f"{address(world, room)}/{nick}"
    room.told.append((speaker, body, data))
    for one in list(room.occupants.values()):
        one.hears(speaker, body, data)


def turn_away(world: World, stream: Stream, where: str, text: str) -> None:
    """A room sends back what somebody says who is not in it."""
    body, data = understood(text)
    why = '<error code="406" type="modify"><not-acceptable xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>'
    raw = _message("error", stream.jid, where, _body(body) + _properties(data) + why, _id(world))
    stanza(world, stream.username, raw)
    _typed(world, stream.username, ("error", stream.jid, where), body, data)


def invite(world: World, room: Room, to: str, reason: str, inviter: str | None = None) -> None:
    """An invitation, which waits for somebody who is not there. It is told twice (measured), in either order."""
    where = address(world, room)
    by = inviter or where
    account = world.account(to.partition("/")[0])
    if account is None:
        return

    def told(stream: Stream) -> None:
        stanza(world, stream.username, invitation(where, to, by, reason))
        url = f"https://{world.domain}:7443/meet/{room.name}"
        more = {"to": to, "from_": where, "url": url}
        seen_by_room = joined(type="invitationReceived", room=where, inviter=where, **more, reason="null")
        world.tell(stream.username, "chatapi.muc", seen_by_room)
        whole = {"type": "invitationReceived", "password": "null", "room": where, "inviter": by, **more}
        world.tell(stream.username, "chatapi.muc", joined(**whole, reason=reason))

    _given(world, account, told)


def invitation(where: str, to: str, by: str, reason: str) -> str:
    inner = (
        f'<x xmlns="http://jabber.org/protocol/muc#user"><invite from={quoteattr(by)}>'
        f"<reason>{escape(reason)}</reason></invite></x>"
        f'<x xmlns="jabber:x:conference" jid={quoteattr(where)}/>'
    )
    return f"<message from={quoteattr(where)} to={quoteattr(to)}>{inner}</message>"


def broadcast(world: World, body: str) -> None:
    for stream in list(world.of_user.values()):
        stanza(world, stream.username, _message(None, None, world.domain, _body(body)))
        _typed(world, stream.username, ("normal", "null", world.domain), body, "null")


def end(world: World, stream: Stream) -> None:
    """A stream is over, and the plugin forgets it. Who reads its events is not told, and gets heartbeats for ever."""
    if not stream.is_kicked:
        _end_session(world, stream)
    world.streams.pop(stream.id, None)
    if world.of_user.get(stream.username) is stream:
        del world.of_user[stream.username]


def _end_session(world: World, stream: Stream) -> None:
    for where in list(stream.joined):
        room = world.room(where)
        if room is not None:
            leave(world, room, stream.username)
    stream.joined.clear()
    for told in world.at_end:
        told(stream)
    presence(world, stream, "offline", None)
    if stream.is_mapped:
        stream.is_mapped = False
        world.unmapped(stream.username)


def kick(world: World, username: str) -> None:
    """Ends a user's session, as also a lock does. The plugin does not notice: his stream stays, and is nobody's.

    The last that it tells is the stanza that ends the session (recorded).
    """
    stream = world.of_user.get(username)
    if stream is not None and not stream.is_kicked:
        stanza(world, username, _KICKED)
        if stream.is_mapped:
            world.unmapped(username)
        _end_session(world, stream)
        stream.is_kicked = True
