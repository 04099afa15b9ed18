"""Who is let into a room of the stand-in, and who has to leave it: what the plugin says of it, and what events tell.

Used by the handlers of both APIs. Always holds: the plugin remembers each room that a stream asked for, whatever the
room answered, and from then on says 200 to what is said there (measured).
"""

import time
from typing import Final
from xml.sax.saxutils import quoteattr

import attrs

from tests.support.openfire import talk
from tests.support.openfire.world import Room, Stream, World

_HISTORY: Final = 25
_IN_ROOMS: Final = "http://jabber.org/protocol/muc#user"


def join(world: World, stream: Stream, service: str, name: str) -> bool:
    """A user comes into a room, which is made when it is not there, and then is his alone until he leaves. Everybody in
    it is told, and he hears the last.

    False: it does not let him in, or tells nobody that he is, for which the plugin waits. Who is in it leaves it first,
    as others see.
    """
    # The plugin's memory has the name as it was given, and rooms have it in small letters.
    stream.joined.add(f"{name}@{service}.{world.domain}")
    service, name = service.casefold(), name.casefold()
    rooms = world.services.setdefault(service, {})
    if name in rooms:
        talk.leave(world, rooms[name], stream.username)
    room = rooms.get(name)
    if room is None:
        owner = stream.jid.partition("/")[0]
        people: dict[str, list[str]] = {"owners": [owner], "admins": [], "members": [], "outcasts": []}
        room = rooms[name] = Room(service, name, {"publicRoom": True}, people, is_locked=True)
    where = talk.address(world, room)
    refusal = _refusal(room, stream.jid.partition("/")[0])
    if refusal is not None:
        _refused(world, stream, f"{where}/{stream.username}", refusal)
        return False
    who = talk.occupant(world, stream)
    talk.enter(world, room, stream.username, who)
    for speaker, body, data in room.told[-_HISTORY:]:
        who.hears(speaker, body, data)
    if room.role(stream.jid) in room.shown_roles:
        return True
    until_s = time.monotonic() + world.join_timeout_s
    while (left_s := until_s - time.monotonic()) > 0:
        world.changed.wait(left_s)
    return False


def _refusal(room: Room, jid: str) -> tuple[str, str, str] | None:
    """Why a room does not let somebody in, as code, type and condition of the error."""
    people = room.affiliated
    if room.is_locked and jid not in people["owners"]:
        return "404", "cancel", "item-not-found"
    if jid in people["outcasts"]:
        return "403", "auth", "forbidden"
    if room.settings.get("membersOnly") and not any(jid in people[kind] for kind in ("owners", "admins", "members")):
        return "407", "auth", "registration-required"
    return None


def _refused(world: World, stream: Stream, sender: str, refusal: tuple[str, str, str]) -> None:
    """The room's answer; the typed event does not tell it from somebody who is there (recorded)."""
    ends = f"to={quoteattr(stream.jid)} from={quoteattr(sender)}"
    talk.stanza(world, stream.username, f'<presence {ends} type="error">{_error(refusal)}</presence>')
    world.tell(stream.username, "chatapi.presence", _presence(stream, sender))


def _presence(stream: Stream, sender: str) -> str:
    fields = {"type": "presence", "to": stream.jid, "from_": sender, "status": "null", "show": "available"}
    return talk.joined(**fields)


def _error(refusal: tuple[str, str, str]) -> str:
    code, kind, condition = refusal
    return f'<error code="{code}" type="{kind}"><{condition} xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>'


def expel(world: World, room: Room, nick: str, code: str) -> None:
    """The room has somebody leave: kicked (307), banned (301), no member any more (321), or the room ends (332).

    That it is himself he is told by his name alone (read).
    """
    who, stream = room.occupants.get(nick), world.of_user.get(nick)
    if who is None:
        return
    if stream is not None:

        def sees(address: str, _: bool) -> None:
            ends = f"to={quoteattr(stream.jid)} from={quoteattr(address)}"
            inner = f'<item role="none"/><status code="{code}"/>'
            raw = f'<presence {ends} type="unavailable"><x xmlns="{_IN_ROOMS}">{inner}</x></presence>'
            talk.stanza(world, stream.username, raw)
            world.tell(stream.username, "chatapi.presence", _presence(stream, address))

        room.occupants[nick] = attrs.evolve(who, sees=sees)
    talk.leave(world, room, nick)
