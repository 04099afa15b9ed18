"""Converts the JSON dialects of Openfire's plugins into one: that of the REST API plugin 1.7.1 and newer. Pure.

Called by the judges of both kinds with a command's answer, so that it has the same form from both. Always holds: lists
are lists, even with one entry or none; numbers and booleans are typed; dates are epoch milliseconds; what is null is
left out; `ressource` is `resource`; and what is not known here stays as it came. Up to 1.2 a list is `{"user": [...]}`,
a single entry is an object, an empty list is missing, and all values are texts; the Chat API, which is made of that
version, does the same. 1.3 to 1.6 have some of the names in the singular (measured on 1.2.5, 1.3.10 and ofchat 0.9.6;
what is newer was read, and so was what the Chat API alone has and no list of recorded answers covers).
"""

import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import attrs

from restbroker.job.hiding import MASK, Spellings
from restbroker.job.json_types import Json
from restbroker.servers.openfire.entities import AFFILIATIONS, ROOM_FLAGS, ROOM_LISTS

_LOGIN: Final = r"ofchat-?[0-9]+(?![\w@])"
LOGINS: Final[Spellings] = frozenset((re.compile(_LOGIN),))
"""The pattern of login ids of the Chat API (read): who holds an id can act as the user it belongs to."""

_Scalar = Literal["whole", "flag", "date"]


@attrs.frozen
class _List:
    """A member that is a list. `old`: how a dialect calls the list or, in 1.2, the element inside.

    `of`: the shape of its entries; None if they stay as they came.
    """

    old: str
    of: "_Shape | None" = None


_Member: TypeAlias = _Scalar | _List
_Shape: TypeAlias = Mapping[str, _Member]
"""The known members of an object; all others are texts."""

_PAIR: Final[_Shape] = {}
_USER: Final[_Shape] = {"properties": _List("property", _PAIR)}
_GROUP: Final[_Shape] = {"admins": _List("admin"), "members": _List("member"), "shared": "flag"}
_LISTED_GROUP: Final[_Shape] = {"shared": "flag"}
_ITEM: Final[_Shape] = {"subscriptionType": "whole", "groups": _List("group")}
_SESSION: Final[_Shape] = {"priority": "whole", "secure": "flag", "creationDate": "date", "lastActionDate": "date"}


# Of the Chat API alone.
_ASKER: Final[_Shape] = {"queuePosition": "whole", "estimatedTime": "whole", "joinDate": "date"}
_QUEUE: Final[_Shape] = {
    "users": _List("user", _ASKER),
    "oldestEntry": "date",
    **dict.fromkeys(("averageWaitTime", "maxChats", "currentChats"), "whole"),
}
_BOOKMARK: Final[_Shape] = {
    "bookmarkID": "whole",
    "globalBookmark": "flag",
    "users": _List("user"),
    "groups": _List("group"),
    "properties": _List("property", _PAIR),
}
_SIP: Final[_Shape] = dict.fromkeys(("enabled", "useStun", "promptCredentials"), "flag")
_ROOM: Final[_Shape] = {
    "maxUsers": "whole",
    **dict.fromkeys(("creationDate", "modificationDate"), "date"),
    **dict.fromkeys(ROOM_FLAGS, "flag"),
    **{name: _List(element) for name, element in ROOM_LISTS.items()},
}
SHAPES: Final[Mapping[str, _Shape]] = MappingProxyType(
    {
        "UserEntities": {"users": _List("user", _USER)},
        "UserEntity": _USER,
        "GroupEntities": {"groups": _List("group", _LISTED_GROUP)},
        "GroupEntity": _GROUP,
        "UserGroupsEntity": {"groupnames": _List("groupname")},
        "RosterEntities": {"rosterItem": _List("rosterItem", _ITEM)},
        "MUCRoomEntities": {"chatRooms": _List("chatRoom", _ROOM)},
        "MUCRoomEntity": _ROOM,
        "ParticipantEntities": {"participants": _List("participant", {})},
        "OccupantEntities": {"occupants": _List("occupant", {})},
        "SessionEntities": {"sessions": _List("session", _SESSION)},
        "SessionsCount": {"localSessions": "whole", "clusterSessions": "whole"},
        "SystemProperties": {"property": _List("property", _PAIR)},
        "SystemProperty": _PAIR,
        "MUCRoomMessageEntities": {"message": _List("message", {})},
        "MsgArchiveEntity": {"count": "whole"},
        **{name: {name: _List(element)} for name, element in AFFILIATIONS.items()},
        "AskQueue": {"inQueue": "flag", "available": "flag", "queuePosition": "whole", "queueRemainingTime": "whole"},
        "AssistEntity": {},
        "AssistQueues": {"queues": _List("queue", _QUEUE)},
        "WorkgroupEntities": {"workgroups": _List("workgroup")},
        "Bookmark": _BOOKMARK,
        "Bookmarks": {"bookmarks": _List("bookmark", _BOOKMARK)},
        "Conversations": {"conversations": _List("conversation", {})},
        "SipAccount": _SIP,
        "SipAccounts": {"accounts": _List("account", _SIP)},
    }
)


def without_logins(answer: str, body: bytes) -> bytes:
    """Return the body with others' login ids masked: in a list of sessions they stand as addresses.

    `answer` is what the body is, in the plugin's words; only `SessionEntities` is changed.
    """
    return re.sub(_LOGIN.encode(), MASK.encode(), body) if answer == "SessionEntities" else body


def normalise(answer: str, body: Json) -> Json:
    """Return the body as the newest version would have it.

    `answer` says what it is, in the plugin's words (such as `UserEntity`); of a room's affiliations, which (such as
    `owners`). A body of another kind comes back as it is.
    """
    shape = SHAPES.get(answer)
    return body if shape is None or not isinstance(body, dict) else _object(body, shape)


def _object(body: Mapping[str, Json], shape: _Shape) -> Json:
    found: dict[str, Json] = {}
    for name, value in body.items():
        # 1.2 marks an attribute of XML.
        plain = name.removeprefix("@").replace("ressource", "resource")
        if value is not None:
            found[plain] = value
    for name, member in shape.items():
        match member:
            case _List(old, of):
                found[name] = _list(found.pop(name, found.pop(old, None) if old != name else None), old, of)
            case kind:
                if name in found:
                    found[name] = _scalar(found[name], kind)
    return found


def _list(value: Json, old: str, of: _Shape | None) -> Json:
    if isinstance(value, dict) and value.keys() == {old}:
        value = value[old]
    if value is None:
        return []
    entries = value if isinstance(value, list) else [value]
    return [one if of is None or not isinstance(one, dict) else _object(one, of) for one in entries]


def _scalar(value: Json, kind: _Scalar) -> Json:
    if not isinstance(value, str):
        return value
    match kind:
        case "flag" if value in ("true", "false"):
            return value == "true"
        case "whole" if value.removeprefix("-").isdecimal() and value.isascii() and len(value) <= 18:
            return int(value)
        case "date":
            try:
                return round(datetime.fromisoformat(value).timestamp() * 1000)
            except ValueError:
                return value
        case _:
            return value
