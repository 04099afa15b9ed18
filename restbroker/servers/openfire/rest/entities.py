"""The things that Openfire's REST API plugin reads: their fields, how each is written in XML and in JSON.

Used by `ways`, which makes arguments of them, and by `writing`. Always holds: a field that is not here is in no version
of the plugin; 1.3 and newer answer 500 to such a one (measured). Names of elements were read in its source, those of
users, rosters, groups and rooms measured on 1.2.5 and 1.3.10.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import attrs

from restbroker.job.json_types import Json

Form = Literal[
    "text",
    "filled",
    "whole",
    "flag",
    "texts",
    "properties",
    "rooms",
    "date",
    "vcard",
    "name",
    "segment",
    "room",
    "jid",
    "address",
    "affiliation",
    "subscription",
    "room_type",
]
"""What an argument may be. `filled`: a text that is not empty. `name`: an account's, without its domain. `segment`:
stands in the path. `address`: a JID, or an account's name alone. `date`: as Openfire answers it, a text or epoch ms.
"""


@attrs.frozen
class Field:
    """`element`: of a list, the element around each entry."""

    name: str
    form: Form = "text"
    needed: bool = False
    element: str = ""


@attrs.frozen
class Entity:
    """`root`: the outermost element. `as_attributes`: its fields are attributes there. `xml_only`: its names in JSON
    changed between versions in a way that cannot be told from outside.
    """

    root: str
    fields: tuple[Field, ...]
    as_attributes: bool = False
    xml_only: bool = False


AFFILIATIONS: Final[Mapping[str, str]] = MappingProxyType(
    {"owners": "owner", "admins": "admin", "members": "member", "outcasts": "outcast"}
)
"""Each with the element around one who has it."""

_FLAGS: Final = (
    *("persistent", "publicRoom", "registrationEnabled", "canAnyoneDiscoverJID", "canOccupantsChangeSubject"),
    *("canOccupantsInvite", "canChangeNickname", "logEnabled", "loginRestrictedToNickname", "membersOnly", "moderated"),
)
_LISTS: Final = {
    "broadcastPresenceRoles": "broadcastPresenceRole",
    **AFFILIATIONS,
    "ownerGroups": "ownerGroup",
    "adminGroups": "adminGroup",
    "memberGroups": "memberGroup",
    "outcastGroups": "outcastGroup",
}

_ROOM: Final = (
    Field("roomName", "room", needed=True),
    Field("naturalName", needed=True),
    Field("description", needed=True),
    Field("subject"),
    Field("password"),
    Field("creationDate", "date"),
    Field("modificationDate", "date"),
    Field("maxUsers", "whole"),
    *(Field(name, "flag") for name in _FLAGS),
    Field("allowPM"),
    *(Field(name, "texts", element=element) for name, element in _LISTS.items()),
)

_ROLES: Final = ("moderator", "participant", "visitor")

ENTITIES: Final[Mapping[str, Entity]] = MappingProxyType(
    {
        "UserEntity": Entity(
            "user",
            (
                Field("username", "name", needed=True),
                Field("name"),
                Field("email"),
                Field("password", "filled"),
                Field("properties", "properties"),
            ),
        ),
        "GroupEntity": Entity(
            "group",
            (
                Field("name", "segment", needed=True),
                Field("description", needed=True),
                Field("admins", "texts", element="admin"),
                Field("members", "texts", element="member"),
                Field("shared", "flag"),
            ),
        ),
        "UserGroupsEntity": Entity(
            "groups", (Field("groupnames", "texts", needed=True, element="groupname"),), xml_only=True
        ),
        "RosterItemEntity": Entity(
            "rosterItem",
            (
                Field("jid", "jid", needed=True),
                Field("nickname"),
                Field("subscriptionType", "subscription"),
                Field("groups", "texts", element="group"),
            ),
        ),
        "MUCRoomEntity": Entity("chatRoom", _ROOM),
        "MUCRoomEntities": Entity("chatRooms", (Field("chatRooms", "rooms", needed=True, element="chatRoom"),)),
        "MUCInvitationEntity": Entity("mucInvitation", (Field("reason"),)),
        "MUCInvitationsEntity": Entity(
            "mucInvitations", (Field("reason"), Field("jidsToInvite", "texts", needed=True, element="jid"))
        ),
        "MUCServiceEntity": Entity(
            "chatService",
            (Field("serviceName", "segment", needed=True), Field("description"), Field("hidden", "flag")),
        ),
        "MessageEntity": Entity("message", (Field("body", "filled", needed=True),)),
        "SystemProperty": Entity(
            "property", (Field("key", "segment", needed=True), Field("value", needed=True)), as_attributes=True
        ),
        "VCard": Entity("", (Field("vcard", "vcard", needed=True),), xml_only=True),
    }
)


def with_roles(room: Mapping[str, Json]) -> Mapping[str, Json]:
    """The room with all roles whose presence it tells of, where it has none: without a word of them the plugin takes
    that for none, and a room that tells nobody that he is in it cannot be joined by the Chat API (measured).
    """
    return {"broadcastPresenceRoles": list(_ROLES), **room}
