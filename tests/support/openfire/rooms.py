"""The REST API plugin's chat rooms, their services and the people who belong to them.

Used by the stand-in's server. Always holds: as rest.py says.
"""

from typing import Any, Final

from tests.support.openfire import doors, talk
from tests.support.openfire.calls import CREATED, DONE, XML, Answer, Bare, Call, Failed, Routes, broken
from tests.support.openfire.forms import listed
from tests.support.openfire.reading import ROOM, ROOMS
from tests.support.openfire.world import AFFILIATIONS, ROLES, Room, World

ROUTES: Final = Routes()
CHAT: Final = Routes()
"""What the Chat API has beside them, which may be asked without a stream."""
_ROOM: Final = "/chatrooms/{room}"
_PAGE: Final = b"<html><body><h2>HTTP ERROR 500</h2></body></html>"


def _service(call: Call) -> dict[str, Room]:
    name = call.asks("servicename", "conference")
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
    return listed("chatRooms", [one.entity() for one in found])


@ROUTES.add("POST", "/chatrooms")
def _create_room(call: Call) -> Answer:
    given = call.read(ROOM)
    _made(call, given)
    return CREATED


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
        results[str(result["resultType"]).lower()].append(result)
    return results


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
        raise broken()
    _service(call)
    make_room(call.world, call.asks("servicename", "conference"), call["room"], given)
    return DONE


@ROUTES.add("DELETE", _ROOM)
def _delete_room(call: Call) -> Answer:
    room = _room(call, "Could not remove the channel")
    for nick in list(room.occupants):
        doors.expel(call.world, room, nick, "332")
    _service(call).pop(room.name, None)
    return DONE


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
        return CREATED

    def none(call: Call) -> Answer:
        room = _within(call)
        jid = _address(call.world, call["jid"])
        room.affiliated[plural] = [other for other in room.affiliated[plural] if other != jid]
        return DONE

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
            return DONE
        names.append(call["group"])
        return CREATED

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
