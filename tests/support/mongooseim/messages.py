"""Operations of the stand-in on messages, rosters and rooms, refused as MongooseIM refuses them."""

import secrets
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from tests.support.mongooseim.accounts import Operation
from tests.support.mongooseim.scalars import Jid
from tests.support.mongooseim.world import Contact, Refusal, Room, Sent, World


def _sender(world: World, sender: Jid) -> None:
    if not world.is_account(sender) or not world.is_served(sender.domain):
        raise Refusal("unknown_user", "User does not exist", {"jid": sender.bare})


def _sent(world: World, sender: Jid, to: Jid, body: str, kind: str = "chat") -> Any:
    # The server says success for a receiver that does not exist or cannot be reached, and for an empty body.
    _sender(world, sender)
    world.route(Sent(sender, to, body, kind))
    return {"id": f"{secrets.randbits(64)}-{secrets.randbits(32)}"}


def send_message(world: World, to: Jid, body: str, **more: Any) -> Any:
    return _sent(world, more["from"], to, body)


def send_headline(world: World, to: Jid, body: str | None = None, subject: str | None = None, **more: Any) -> Any:
    del subject
    return _sent(world, more["from"], to, body or "", "headline")


def send_stanza(world: World, stanza: str | None = None) -> Any:
    element = ET.fromstring(stanza or "<message/>")  # noqa: S314 # what a test sends
    sender, receiver = element.get("from"), element.get("to")
    if not sender:
        raise Refusal("no_sender", "Missing from field")
    body = element.find("{*}body")
    text = "" if body is None else body.text or ""
    return _sent(world, Jid.read(sender), Jid.read(receiver or sender), text, element.get("type", "normal"))


def last_messages(world: World, caller: Jid, **more: Any) -> Any:
    other, limit = more.get("with"), more.get("limit", 50)
    mine = [one for one in world.messages if caller.bare in (one.sender.bare, one.receiver.bare)]
    found = [one for one in mine if other is None or other.bare in (one.sender.bare, one.receiver.bare)]
    stanzas = [{"sender": str(one.sender), "stanza_id": "1", "stanza": _xml(one)} for one in found[-limit:]]
    return {"stanzas": stanzas, "limit": limit}


def _xml(sent: Sent) -> str:
    element = ET.Element("message", {"from": str(sent.sender), "to": str(sent.receiver), "type": sent.kind})
    ET.SubElement(element, "body").text = sent.body
    return ET.tostring(element, encoding="unicode")


def _known(world: World, *users: Jid) -> None:
    for user in users:
        if not world.is_account(user):
            raise Refusal("user_not_exist", f"The user {user.bare} does not exist", {"jid": user.bare})


def add_contact(world: World, user: Jid, contact: Jid, name: str = "", groups: Sequence[str] = ()) -> Any:
    _known(world, user, contact)
    roster = world.rosters.setdefault(user.bare, {})
    before = roster.get(contact.bare, Contact(contact.bare))
    # Whoever is in the roster already gets this name and these groups, none if none were given.
    roster[contact.bare] = attrs.evolve(before, name=name or "", groups=tuple(groups or ()))
    return "Contact added successfully"


def add_contacts(world: World, user: Jid, contacts: Sequence[Mapping[str, Any]]) -> Any:
    return [_each(add_contact, world, user=user, contact=one["jid"], **_details(one)) for one in contacts]


def _details(contact: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": contact["name"], "groups": contact.get("groups") or ()}


def _each(operation: Operation, world: World, **arguments: Any) -> Any:
    """One entry of a list: its refusal is an error at its index and a null in the list."""
    try:
        return operation(world, **arguments)
    except Refusal as refusal:
        return refusal


def delete_contact(world: World, user: Jid, contact: Jid) -> Any:
    _known(world, user)
    if world.rosters.get(user.bare, {}).pop(contact.bare, None) is None:
        raise Refusal("contact_not_found", "Contact not found", {"contact": contact.bare})
    return "Contact deleted successfully"


def delete_contacts(world: World, user: Jid, contacts: Sequence[Jid]) -> Any:
    return [_each(delete_contact, world, user=user, contact=one) for one in contacts]


def _befriend(world: World, user_a: Jid, user_b: Jid, a: Mapping[str, Any], b: Mapping[str, Any]) -> Any:
    add_contact(world, user_a, user_b, **b)
    add_contact(world, user_b, user_a, **a)
    _mutual(world, user_a, user_b)
    return "Subscription established"


def _mutual(world: World, user_a: Jid, user_b: Jid) -> None:
    for one, other in ((user_a, user_b), (user_b, user_a)):
        roster = world.rosters.setdefault(one.bare, {})
        before = roster.get(other.bare, Contact(other.bare))
        roster[other.bare] = attrs.evolve(before, subscription="BOTH")


def mutual_subscription(world: World, userA: Jid, userB: Jid, action: str) -> Any:  # noqa: N803
    _known(world, userA, userB)
    if action == "CONNECT":
        _mutual(world, userA, userB)
        return "Mutual subscription successfully set"
    for one, other in ((userA, userB), (userB, userA)):
        world.rosters.get(one.bare, {}).pop(other.bare, None)
    return "Mutual subscription successfully removed"


def subscribe_to_all(world: World, user: Mapping[str, Any], contacts: Sequence[Mapping[str, Any]]) -> Any:
    return [
        _each(_befriend, world, user_a=user["jid"], user_b=one["jid"], a=_details(user), b=_details(one))
        for one in contacts
    ]


def subscribe_all_to_all(world: World, contacts: Sequence[Mapping[str, Any]]) -> Any:
    pairs = [(a, b) for at, a in enumerate(contacts) for b in contacts[at + 1 :]]
    return [_each(_befriend, world, user_a=a["jid"], user_b=b["jid"], a=_details(a), b=_details(b)) for a, b in pairs]


def list_contacts(world: World, user: Jid) -> Any:
    _known(world, user)
    return [attrs.asdict(one) for _, one in sorted(world.rosters.get(user.bare, {}).items())]


def get_contact(world: World, user: Jid, contact: Jid) -> Any:
    found = world.rosters.get(user.bare, {}).get(contact.bare)
    if found is None:
        raise Refusal("contact_not_found", "Contact not found", {"contact": contact.bare})
    return attrs.asdict(found)


def create_light_room(world: World, mucDomain: str, owner: Jid, **more: Any) -> Any:  # noqa: N803
    _known(world, owner)
    jid = f"{more.get('id') or secrets.token_hex(6)}@{mucDomain}"
    if jid in world.rooms:
        raise Refusal("already_exist", "Room already exists", {"room": jid})
    room = Room(jid, more.get("name") or "", more.get("subject") or "", {owner.bare: "OWNER"})
    world.rooms[jid] = room
    return _light(room)


def _light(room: Room) -> Any:
    participants = [{"jid": jid, "affiliation": one} for jid, one in sorted(room.affiliations.items())]
    named = {"jid": room.jid, "name": room.name, "subject": room.subject}
    return {**named, "participants": participants, "options": []}


def _room(world: World, jid: Jid) -> Room:
    if jid.bare not in world.rooms:
        raise Refusal("room_not_found", "Room not found", {"room": jid.bare})
    return world.rooms[jid.bare]


def light_config(world: World, room: Jid) -> Any:
    return _light(_room(world, room))


def light_invite(world: World, room: Jid, sender: Jid, recipient: Jid) -> Any:
    _known(world, sender)
    _room(world, room).affiliations.setdefault(recipient.bare, "MEMBER")
    return "User invited successfully"


def delete_room(world: World, room: Jid, reason: str | None = None) -> Any:
    del reason
    _room(world, room)
    del world.rooms[room.bare]
    return "Room deleted successfully"


def create_muc_room(world: World, room: Jid, owner: Jid, nick: str) -> Any:
    _known(world, owner)
    made = world.rooms.setdefault(room.bare, Room(room.bare))
    made.affiliations[owner.bare] = "OWNER"
    made.nicks[nick] = str(owner)
    return {"jid": room.bare, "title": room.node, "private": False, "usersNumber": len(made.nicks)}


def say_in_room(world: World, room: Jid, body: str, **more: Any) -> Any:
    # Also to a room that does not exist.
    world.route(Sent(more["from"], room, body, "groupchat"))
    return "Message sent successfully"


def set_private(world: World, user: Jid, elementString: str) -> Any:  # noqa: N803
    _known(world, user)
    world.kept["private", user.bare] = elementString
    return elementString


OPERATIONS: Final[Mapping[str, Operation]] = {
    "stanza.sendMessage": send_message,
    "stanza.sendMessageHeadLine": send_headline,
    "stanza.sendStanza": send_stanza,
    "stanza.getLastMessages": last_messages,
    "roster.addContact": add_contact,
    "roster.addContacts": add_contacts,
    "roster.deleteContact": delete_contact,
    "roster.deleteContacts": delete_contacts,
    "roster.setMutualSubscription": mutual_subscription,
    "roster.subscribeToAll": subscribe_to_all,
    "roster.subscribeAllToAll": subscribe_all_to_all,
    "roster.listContacts": list_contacts,
    "roster.getContact": get_contact,
    "muc_light.createRoom": create_light_room,
    "muc_light.getRoomConfig": light_config,
    "muc_light.inviteUser": light_invite,
    "muc_light.deleteRoom": delete_room,
    "muc_light.sendMessageToRoom": say_in_room,
    "muc.createInstantRoom": create_muc_room,
    "muc.deleteRoom": delete_room,
    "muc.sendMessageToRoom": say_in_room,
    "private.setPrivate": set_private,
}
