"""The bodies that Openfire's plugins read: their members, and how they are written; the tables of both kinds.

The tables of both kinds make arguments of them, and their requests call `xml`. Always holds: a body is XML, which all
versions of the plugin read alike, while each generation silently drops or refuses the JSON of another (measured); a
member that is not here is in no version of the REST API plugin, of which the Chat API has a copy. Names of elements
were read in its source; those of users, rosters, groups and rooms were measured on 1.2.5 and 1.3.10.
"""

import re
from collections.abc import Callable, Mapping
from html import escape
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar

from restbroker.job.json_types import Json
from restbroker.servers.api.table import (
    FLAG,
    TEXT,
    TEXTS,
    WHOLE,
    Argument,
    ArgumentForm,
    Arguments,
    InvalidArguments,
    fit,
    rows_of,
    wrong_value,
)
from restbroker.servers.api.texts import read_toml
from restbroker.servers.openfire.forms import (
    ADDRESSES,
    DATE,
    FILLED,
    GROUP,
    JID,
    LONG,
    NAME,
    PROPERTIES,
    ROOM,
    SHORT,
    SUBSCRIPTION,
    VCARD,
)

T = TypeVar("T")


class Entity(NamedTuple):
    """A body that a plugin reads. `root`: its outermost element, "" if its only member is the XML itself.

    `as_attributes`: its members are attributes of that element.
    """

    root: str
    members: tuple[Argument, ...]
    as_attributes: bool = False


AFFILIATIONS: Final[Mapping[str, str]] = MappingProxyType(
    {"owners": "owner", "admins": "admin", "members": "member", "outcasts": "outcast"}
)
"""The lists of a room's affiliations, each with the element around one entry."""
ROOM_FLAGS: Final = (
    *("persistent", "publicRoom", "registrationEnabled", "canAnyoneDiscoverJID", "canOccupantsChangeSubject"),
    *("canOccupantsInvite", "canChangeNickname", "logEnabled", "loginRestrictedToNickname", "membersOnly", "moderated"),
)
ROOM_LISTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "broadcastPresenceRoles": "broadcastPresenceRole",
        **AFFILIATIONS,
        **{f"{rank}Groups": f"{rank}Group" for rank in AFFILIATIONS.values()},
    }
)
ELEMENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **ROOM_LISTS,
        "properties": "property",
        "groups": "group",
        "groupnames": "groupname",
        "jidsToInvite": "jid",
        "chatRooms": "chatRoom",
    }
)
"""The members that are lists, each with the element around one entry."""
ROOM_DEFAULTS: Final[Mapping[str, Json]] = MappingProxyType(
    {"broadcastPresenceRoles": ["moderator", "participant", "visitor"]}
)
"""The roles whose presence a room broadcasts if the job does not say: all.

Without this member the plugin takes no role at all, and a room that does not tell users of their own presence cannot be
joined by the Chat API (measured).
"""
PASSWORD: Final = Argument("password", FILLED, secret=True)
"""A user's password, which must not be empty; a room's may be."""

_COLUMNS: Final[Mapping[str, int]] = MappingProxyType(
    {"roomName": 50, "naturalName": 255, "description": 255, "password": 50}
)
"""The width of the columns for a room in Openfire's schema for PostgreSQL (read).

A subject is not here: newer schemas have no limit for it.
"""


def check_room(given: Mapping[str, Json]) -> None:
    """Raise `InvalidArguments` if a persistent room has a text that is longer than its column.

    Openfire logs the database's error, and the plugin answers 201: the room is gone after Openfire's restart (read).
    """
    if given.get("persistent") is not True:
        return
    for name, most in _COLUMNS.items():
        value = given.get(name)
        if isinstance(value, str) and len(value) > most:
            raise InvalidArguments(
                f'the argument "{name}" is longer than the {most} characters that Openfire stores of a persistent room'
            )


def _rooms(name: str, value: Json, host: str | None) -> Json:
    if not isinstance(value, list):
        return value
    rooms = [_room(f"{name}[{index}]", room, host) for index, room in enumerate(value)]
    if len({str(room["roomName"]).casefold() for room in rooms}) < len(rooms):
        # The plugin would reset the first one with the second.
        raise InvalidArguments(f'two rooms in "{name}" have the same roomName')
    return rooms


def _room(place: str, value: Json, host: str | None) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise wrong_value(place, value, ROOMS)
    try:
        given = fit(_OF_ROOM, "a room", value, host)
        check_room(given)
    except InvalidArguments as error:
        raise InvalidArguments(f"in {place}, {error}") from None
    return {**ROOM_DEFAULTS, **given}


ROOMS: Final = ArgumentForm(
    "a list of objects, each a room",
    lambda value: isinstance(value, list) and bool(value),
    "list",
    "object",
    is_text=False,
    convert=_rooms,
)

_FORMS: Final[Mapping[str, ArgumentForm]] = {
    "": TEXT,
    "addresses": ADDRESSES,
    "date": DATE,
    "filled": FILLED,
    "flag": FLAG,
    "group": GROUP,
    "jid": JID,
    "long": LONG,
    "name": NAME,
    "properties": PROPERTIES,
    "room": ROOM,
    "rooms": ROOMS,
    "short": SHORT,
    "subscription": SUBSCRIPTION,
    "texts": TEXTS,
    "vcard": VCARD,
    "whole": WHOLE,
}
_LISTS: Final = {
    "flags": " ".join(f"{name}:flag" for name in ROOM_FLAGS),
    "lists": " ".join(f"{name}:{'addresses' if name in AFFILIATIONS else 'texts'}" for name in ROOM_LISTS),
}
ENTITIES: Final[Mapping[str, Entity]] = {
    name: Entity(row["root"], rows_of(row["takes"], _FORMS, _LISTS), as_attributes=row.get("as_attributes", False))
    for name, row in read_toml(__file__, "entities.toml").items()
}
GROUPNAMES: Final = ENTITIES["UserGroupsEntity"].members[0]
_OF_ROOM: Final = Arguments(ENTITIES["MUCRoomEntity"].members)
_ALONE: Final = frozenset({"groupnames", "chatRooms"})
"""Lists whose own element is the outermost one."""
_SPECIAL: Final = re.compile("[&<>\"'\r]")


def xml(entity: Entity, given: Mapping[str, Json]) -> bytes:
    """Return the body as XML. `given` has what fits the entity; other members in it are ignored."""
    if not entity.root:
        return "".join(str(given[row.name]) for row in entity.members).encode()
    if entity.as_attributes:
        return _pair(entity.root, given).encode()
    return _element(entity.root, _members(entity, given)).encode()


def _members(entity: Entity, given: Mapping[str, Json]) -> str:
    return "".join([_member(row.name, given[row.name]) for row in entity.members if row.name in given])


def _member(name: str, value: Json) -> str:
    if not isinstance(value, list):
        return f"<{name}>{_text(value)}</{name}>"
    entries = "".join(_one(ELEMENTS[name], part) for part in value)
    return entries if name in _ALONE else _element(name, entries)


def _one(element: str, value: Json) -> str:
    """Return one entry of a list as an element of this name."""
    match value:
        case dict() if element == ELEMENTS["properties"]:
            return _pair(element, value)
        case dict():
            return _element(element, _members(ENTITIES["MUCRoomEntity"], value))
        case _:
            return _element(element, _text(value))


def _element(name: str, inner: str) -> str:
    return f"<{name}>{inner}</{name}>"


def _pair(name: str, given: Mapping[str, Json]) -> str:
    key, value = (_text(given[part]).replace("\n", "&#10;").replace("\t", "&#9;") for part in ("key", "value"))
    return f'<{name} key="{key}" value="{value}"/>'


def _text(value: Json) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    # What reads XML takes a bare carriage return for the end of a line.
    return text if _SPECIAL.search(text) is None else escape(text).replace("\r", "&#13;")


def read_entries(
    module: str,
    entry: Callable[..., T],
    own: Mapping[str, tuple[Argument, ...]],
    defaults: Mapping[str, Mapping[str, Json]],
) -> Mapping[str, T]:
    """Return the commands in the catalogue beside this module, some of which have more arguments or defaults."""
    rows = read_toml(module, "catalogue.toml").items()
    found = {name: entry(name, own=own.get(name, ()), defaults=defaults.get(name, {}), **row) for name, row in rows}
    return MappingProxyType(found)
