"""The things that Openfire's plugins read: their members, and how each is written.

The tables of both kinds make arguments of them, and `entity_writer` makes bodies. Always holds: a member that is not
here is in no version of the REST API plugin, of which the Chat API has a copy; 1.3 and newer answer 500 to an unknown
member (measured). Names of elements were read in its source; those of users, rosters, groups and rooms were measured
on 1.2.5 and 1.3.10.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from restbroker.job.json_types import Json
from restbroker.servers.api.arguments import InvalidArguments
from restbroker.servers.api.table import (
    FLAG,
    TEXT,
    TEXTS,
    WHOLE,
    Argument,
    Arguments,
    Form,
    fit,
    may,
    needs,
    wrong_value,
)
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


class Entity(NamedTuple):
    """A body that a plugin reads. `root`: its outermost element, "" if its only member is the XML itself.

    `as_attributes`: its members are attributes of that element. `xml_only`: its names in JSON changed between versions
    in a way that cannot be told from outside, so that it is always written as XML.
    """

    root: str
    members: tuple[Argument, ...]
    as_attributes: bool = False
    xml_only: bool = False


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
        **{f"{one}Groups": f"{one}Group" for one in AFFILIATIONS.values()},
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
NEWER: Final = frozenset({"allowPM", "shared"})
"""Members that came with 1.9.0 (`allowPM`) and 1.7.0 (`shared`) (read).

Older plugins answer 500 to JSON with such a member, and read XML without it (`shared` on 1.3.10, measured).
"""
PASSWORD: Final = Argument("password", FILLED, secret=True)
"""A user's password, which must not be empty; a room's may be."""
GROUPNAMES: Final = Argument("groupnames", TEXTS, required=True, aliases=("groupname",))
_ROOM: Final = (
    *needs(roomName=ROOM, naturalName=TEXT, description=TEXT),
    *may(subject=TEXT),
    PASSWORD._replace(form=TEXT),
    *may(creationDate=DATE, modificationDate=DATE, maxUsers=WHOLE),
    *may(**dict.fromkeys(ROOM_FLAGS, FLAG)),
    *may(allowPM=TEXT),
    *may(**{name: ADDRESSES if name in AFFILIATIONS else TEXTS for name in ROOM_LISTS}),
)
_OF_ROOM: Final = Arguments(_ROOM)

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
    rooms = [_room(f"{name}[{index}]", one, host) for index, one in enumerate(value)]
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


ROOMS: Final = Form(
    "a list of objects, each a room",
    lambda value: isinstance(value, list) and bool(value),
    "list",
    "object",
    is_text=False,
    convert=_rooms,
)

ENTITIES: Final[Mapping[str, Entity]] = MappingProxyType(
    {
        "UserEntity": Entity(
            "user", (*needs(username=NAME), *may(name=SHORT, email=SHORT), PASSWORD, *may(properties=PROPERTIES))
        ),
        "GroupEntity": Entity(
            "group", (*needs(name=GROUP, description=LONG), *may(admins=TEXTS, members=TEXTS, shared=FLAG))
        ),
        "UserGroupsEntity": Entity("groups", (GROUPNAMES,), xml_only=True),
        "RosterItemEntity": Entity(
            "rosterItem", (*needs(jid=JID), *may(nickname=LONG, subscriptionType=SUBSCRIPTION, groups=TEXTS))
        ),
        "MUCRoomEntity": Entity("chatRoom", _ROOM),
        "MUCRoomEntities": Entity("chatRooms", needs(chatRooms=ROOMS)),
        "MUCInvitationEntity": Entity("mucInvitation", may(reason=TEXT)),
        "MUCInvitationsEntity": Entity("mucInvitations", (*may(reason=TEXT), *needs(jidsToInvite=TEXTS))),
        "MUCServiceEntity": Entity("chatService", (*needs(serviceName=FILLED), *may(description=TEXT, hidden=FLAG))),
        "MessageEntity": Entity("message", needs(body=FILLED)),
        "SystemProperty": Entity(
            "property",
            (*needs(key=FILLED), Argument("value", TEXT, required=True, secret=True)),
            as_attributes=True,
        ),
        "VCard": Entity("", needs(vcard=VCARD), xml_only=True),
    }
)
USER_SERVICE: Final = (
    *needs(type=TEXT),
    Argument("secret", TEXT, secret=True),
    *may(username=TEXT),
    PASSWORD._replace(form=TEXT),
    *may(name=TEXT, email=TEXT, groups=TEXT, item_jid=TEXT, subscription=TEXT),
)
"""The arguments that the old user service takes in its query."""
