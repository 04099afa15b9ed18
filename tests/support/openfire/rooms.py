"""The REST API plugin's chat rooms, their services and the people who belong to them.

Used by the stand-in's server. Always holds: as rest.py says.
"""

from typing import Any, Final

from tests.support.openfire import doors, talk
from tests.support.openfire.calls import XML, Answer, Bare, Call, Failed, Routes, broken
from tests.support.openfire.forms import Entity, listed
from tests.support.openfire.http import Said
from tests.support.openfire.reading import INVITATION, INVITATIONS, ROOM, ROOMS, SERVICE
from tests.support.openfire.world import AFFILIATIONS, ROLES, Room, World

ROUTES: Final = Routes()
CHAT: Final = Routes()
"""What the Chat API has beside them, which may be asked without a stream."""
_CREATED: Final = Said(201)
_DONE: Final = Said(200)
_ROOM: Final = "/chatrooms/{room}"
_PAGE: Final = b"<html><body><h2>HTTP ERROR 500</h2></body></html>"


def _service(call: Call) -> dict[str, Room]:
    name = call.asks("servicename", "conference")
    if name not in call.world.services:
        if call.dialect == "1.12":
            raise Failed(404, "MUCServiceNotFoundException", "Could not find the MUC service", name)
        call.world.services[name] = {}
    return call.world.services[name]


def _room(call: Call, message: str = "Could not find the chat room") -> Room:
    room = _service(call).get(call["room"])
    if room is None:
        raise Failed(404, "RoomNotFoundException", message, call["room"])
    return room


def _within(call: Call) -> Room:
    """The room, where the older generations break over one that is not there."""
    try:
        return _room(call)
    except Failed:
        if call.dialect == "1.12":
            raise
        raise broken(page=_PAGE if call.asked.port == "chat" else b"") from None


def make_room(world: World, service: str, name: str, settings: dict[str, Any]) -> Room:
    rooms = world.services.setdefault(service, {})
    # Whose presence is told is nobody's where that is not said.
    settings.setdefault("broadcastPresenceRoles", [])
    owners = settings.get("owners") or [f"admin@{world.domain}"]
    people = {kind: [_address(world, one) for one in settings.get(kind, [])] for kind in AFFILIATIONS}
    room = rooms.get(name)
    if room is None:
        room = rooms[name] = Room(service, name, settings, people)
    room.settings = settings
    room.affiliated = {**people, "owners": [_address(world, one) for one in owners]}
    return room


def open_room(world: World, name: str) -> Room:
    return make_room(
        world, "conference", name, {"persistent": True, "publicRoom": True, "broadcastPresenceRoles": [*ROLES]}
    )


def _address(world: World, name: str) -> str:
    return name if "@" in name else f"{name}@{world.domain}"


@CHAT.add("GET", "/chat/rooms")
@ROUTES.add("GET", "/chatrooms")
def _list_rooms(call: Call) -> Answer:
    is_all, wanted = call.asks("type") == "all", call.asks("search")
    found = [
        one
        for one in _service(call).values()
        if (is_all or one.settings.get("publicRoom")) and wanted.casefold() in one.name.casefold()
    ]
    return listed("chatRooms", [one.entity().fields for one in found])


@ROUTES.add("POST", "/chatrooms")
def _create_room(call: Call) -> Answer:
    given = call.read(ROOM)
    _made(call, given)
    return _CREATED


def _made(call: Call, given: dict[str, Any]) -> None:
    name = given.get("roomName")
    if not name:
        raise broken()
    rooms = _service(call)
    if call.dialect == "1.12" and name.casefold() in rooms:
        raise Failed(409, "AlreadyExistsException", "Could not create the channel", name)
    make_room(call.world, call.asks("servicename", "conference"), name.casefold(), given)


@ROUTES.add("POST", "/chatrooms/bulk", "1.12")
def _create_rooms(call: Call) -> Answer:
    results: dict[str, list[Any]] = {"success": [], "failure": [], "other": []}
    for given in call.read(ROOMS).get("chatRooms", []):
        result = {
            "roomName": given.get("roomName"),
            "resultType": "Success",
            "message": "Room was successfully created",
        }
        try:
            _made(call, given)
        except Failed as failed:
            # One that is there counts as made.
            is_there = failed.exception == "AlreadyExistsException"
            said = "Room already existed and therefore not created again" if is_there else failed.message
            result |= {"resultType": "Success" if is_there else "Failure", "message": said}
        except Bare:
            result |= {"resultType": "Failure", "message": "Room creation failed"}
        results[str(result["resultType"]).lower()].append(result)
    return Entity("results", results)


@CHAT.add("GET", "/chat/rooms/{room}")
@ROUTES.add("GET", _ROOM)
def _get_room(call: Call) -> Answer:
    if call.dialect != "1.12" and call.asks("servicename", "conference") not in call.world.services:
        raise broken()
    return _room(call).entity()


@ROUTES.add("PUT", _ROOM)
def _update_room(call: Call) -> Answer:
    given = call.read(ROOM)
    if given.get("roomName") != call["room"]:
        message = "Could not update the channel. The room name is different to the entity room name."
        raise Failed(400, "IllegalArgumentException", message, call["room"])
    _service(call)
    make_room(call.world, call.asks("servicename", "conference"), call["room"], given)
    return _DONE


@ROUTES.add("DELETE", _ROOM)
def _delete_room(call: Call) -> Answer:
    room = _room(call, "Could not remove the channel")
    for nick in list(room.occupants):
        doors.expel(call.world, room, nick, "332")
    _service(call).pop(room.name, None)
    return _DONE


@CHAT.add("GET", "/chat/rooms/{room}/participants")
@ROUTES.add("GET", _ROOM + "/participants")
def _participants(call: Call) -> Answer:
    return listed("participants", _people(call, _within(call), with_addresses=False))


@CHAT.add("GET", "/chat/rooms/{room}/occupants")
@ROUTES.add("GET", _ROOM + "/occupants")
def _occupants(call: Call) -> Answer:
    return listed("occupants", _people(call, _within(call), with_addresses=True))


def _people(call: Call, room: Room, *, with_addresses: bool) -> list[Any]:
    address = talk.address(call.world, room)
    return [
        {
            "jid": f"{address}/{nick}",
            "userAddress": one.jid if with_addresses else None,
            "role": room.role(one.jid),
            "affiliation": "owner" if one.jid.partition("/")[0] in room.affiliated["owners"] else "none",
        }
        for nick, one in room.occupants.items()
    ]


@CHAT.add("GET", "/chat/rooms/{room}/chathistory")
@CHAT.add("GET", "/chatrooms/{room}/chathistory")
@ROUTES.add("GET", _ROOM + "/chathistory", "1.5", "1.12")
def _history(call: Call) -> Answer:
    told = (_room(call) if call.asked.port == "chat" else _within(call)).told
    return listed(
        "messages", [{"to": None, "from": speaker, "type": "groupchat", "body": body} for speaker, body, _ in told]
    )


@ROUTES.add("POST", _ROOM + "/invite/{jid}", "1.12")
def _invite(call: Call) -> Answer:
    reason = call.read(INVITATION).get("reason", "")
    talk.invite(call.world, _room(call), _address(call.world, call["jid"]), reason)
    return _DONE


@ROUTES.add("POST", _ROOM + "/invite", "1.12")
def _invite_many(call: Call) -> Answer:
    given = call.read(INVITATIONS)
    for jid in given.get("jidsToInvite", []):
        talk.invite(call.world, _room(call), _address(call.world, jid), given.get("reason", ""))
    return _DONE


def _affiliation(plural: str) -> None:
    """The paths of one affiliation: lists came with 1.8.1."""
    path = f"{_ROOM}/{plural}"

    def people(call: Call) -> Answer:
        return listed(plural, list(_within(call).affiliated[plural]))

    def several(call: Call) -> Answer:
        """The class that it reads is abstract (measured on 1.10.2)."""
        raise Bare(415 if call.asked.content_type == XML else 400)

    def one(call: Call) -> Answer:
        _affiliate(call, plural, call["jid"])
        return _CREATED

    def none(call: Call) -> Answer:
        room = _within(call)
        jid = _address(call.world, call["jid"])
        if plural == "owners" and room.affiliated["owners"] == [jid]:
            raise Failed(409, "NotAllowedException", "Could not delete affiliation", jid)
        room.affiliated[plural] = [other for other in room.affiliated[plural] if other != jid]
        if plural == "members" and room.settings.get("membersOnly"):
            doors.expel(call.world, room, jid.partition("@")[0], "321")
        return _DONE

    ROUTES.add("GET", path, "1.12")(people)
    ROUTES.add("POST", path, "1.12")(several)
    ROUTES.add("PUT", path, "1.12")(several)
    ROUTES.add("POST", path + "/{jid}")(one)
    ROUTES.add("DELETE", path + "/{jid}")(none)
    _affiliated_groups(plural)


def _affiliated_groups(plural: str) -> None:
    def group(call: Call) -> Answer:
        names = _within(call).settings.setdefault(f"{plural[:-1]}Groups", [])
        names[:] = [name for name in names if name != call["group"]]
        if call.asked.method == "DELETE":
            return _DONE
        names.append(call["group"])
        return _CREATED

    for method in ("POST", "DELETE"):
        ROUTES.add(method, f"{_ROOM}/{plural}/group/{{group}}")(group)


def _affiliate(call: Call, plural: str, name: str) -> None:
    room = _within(call)
    jid = _address(call.world, name)
    # Somebody has one affiliation; the last owner keeps being it.
    for kind in AFFILIATIONS:
        if kind != plural and room.affiliated[kind] != [jid]:
            room.affiliated[kind] = [other for other in room.affiliated[kind] if other != jid]
    if jid not in room.affiliated[plural]:
        room.affiliated[plural].append(jid)
    if plural == "outcasts":
        doors.expel(call.world, room, jid.partition("@")[0], "301")


for _plural in AFFILIATIONS:
    _affiliation(_plural)


@ROUTES.add("GET", "/chatservices", "1.12")
def _list_services(call: Call) -> Answer:
    return listed(
        "chatServices", [{"serviceName": name, "description": "", "hidden": False} for name in call.world.services]
    )


@ROUTES.add("POST", "/chatservices", "1.12")
def _create_service(call: Call) -> Answer:
    name = call.read(SERVICE).get("serviceName")
    if not name:
        raise broken()
    if name in call.world.services:
        raise Failed(409, "AlreadyExistsException", "Could not create the MUC service", name)
    call.world.services[name] = {}
    return _CREATED
