"""The bodies that the Chat API reads: their fields, and how each is written. Pure.

Used by `ways` and by `request`. Always holds: what has lists or properties is written as XML, which all generations of
this interface read alike, while the oldest drops without a word what newer ones take as JSON (measured on the REST API
plugin, of which ofchat has a copy). What has neither is JSON, as its page shows it.
"""

from collections.abc import Mapping
from html import escape
from types import MappingProxyType
from typing import Final, Literal

from restbroker.job.json_types import Json
from restbroker.servers.api.request import json_body

Form = Literal[
    "text",
    "segment",
    "user",
    "room",
    "jid",
    "show",
    "state",
    "link",
    "either",
    "value",
    "whole",
    "flag",
    "texts",
    "properties",
    "subscription",
    "scalar",
]
"""What an argument may be. `segment`: stands in the path. `user`: as whom a command acts. `either`: a text, or an
object with `body`. `value`: any JSON. `scalar`: a text, a number, or true or false.
"""

SUBSCRIPTIONS: Final = ("remove", "none", "to", "from", "both")
"""From -1 on."""
_LISTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "groups": "group",
        "groupnames": "groupname",
        "broadcastPresenceRoles": "broadcastPresenceRole",
        **{f"{one}s": one for one in ("owner", "admin", "member", "outcast")},
        **{f"{one}Groups": f"{one}Group" for one in ("owner", "admin", "member", "outcast")},
    }
)
"""Each with the element around one entry."""
_FLAGS: Final = frozenset(
    {
        *("persistent", "publicRoom", "registrationEnabled", "canAnyoneDiscoverJID", "canOccupantsChangeSubject"),
        *("canOccupantsInvite", "canChangeNickname", "logEnabled", "loginRestrictedToNickname", "membersOnly"),
        *("moderated", "shared"),
    }
)
_IN_XML: Final[Mapping[str, str]] = MappingProxyType(
    {
        "GroupEntity": "group",
        "MUCRoomEntity": "chatRoom",
        "RosterItemEntity": "rosterItem",
        "SystemProperty": "property",
        "UserEntity": "user",
        "UserGroupsEntity": "groups",
    }
)
"""Each with its outermost element."""
_WITH_COMMAS: Final = frozenset({"Friend", "WorkgroupEntity"})
"""Their lists of names are texts with commas (read)."""
_ANY: Final = frozenset({"users", "recipients"})


def form_of(field: str) -> Form:
    """What a field may be; of those of which no more is known, any scalar."""
    match field:
        case "subscriptionType":
            return "subscription"
        case "jid":
            return "jid"
        case "properties":
            return "properties"
        case "maxUsers":
            return "whole"
        case _ if field in _LISTS:
            return "texts"
        case _ if field in _FLAGS:
            return "flag"
        case _ if field in _ANY:
            return "value"
        case _:
            return "scalar"


def written(entity: str, given: Mapping[str, Json]) -> tuple[str, bytes]:
    """The content type and the body of an entity with these fields."""
    root = _IN_XML.get(entity)
    if root is None:
        return "application/json", json_body(_flat(given) if entity in _WITH_COMMAS else dict(given))
    if entity == "SystemProperty":
        return "application/xml", _pair(root, given).encode()
    return "application/xml", _element(root, "".join(_field(name, value) for name, value in given.items())).encode()


def _flat(given: Mapping[str, Json]) -> Json:
    return {name: ",".join(map(str, value)) if isinstance(value, list) else value for name, value in given.items()}


def _field(name: str, value: Json) -> str:
    match value:
        case list() if name == "properties":
            return _element(name, "".join(_pair("property", one) for one in value if isinstance(one, dict)))
        case list():
            entries = "".join(_element(_LISTS.get(name, "item"), _text(one)) for one in value)
            # The outermost element of these is the list itself.
            return entries if name == "groupnames" else _element(name, entries)
        case _:
            return _element(name, _text(value))


def _element(name: str, inner: str) -> str:
    return f"<{name}>{inner}</{name}>"


def _pair(name: str, given: Mapping[str, Json]) -> str:
    key, value = (_text(given[part]).replace("\n", "&#10;").replace("\t", "&#9;") for part in ("key", "value"))
    return f'<{name} key="{key}" value="{value}"/>'


def _text(value: Json) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # What reads XML takes a bare carriage return for the end of a line.
    return escape(str(value)).replace("\r", "&#13;")
