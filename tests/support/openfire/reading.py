"""The bodies that Openfire's REST API plugin takes, in its three JSON dialects and in XML.

Used by the stand-in's handlers. Always holds: what a dialect drops without a word is dropped, and what it answers with
a 500 raises Misfit.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias
from xml.etree import ElementTree as ET

import attrs

from tests.support.openfire.forms import ITEMS, Dialect, Pair, as_text

Field: TypeAlias = Literal["text", "number", "flag", "list", "flat", "pairs", "attribute", "moment", "rooms"]


class Misfit(Exception):
    """The body cannot be read, or has another shape: 500 without a word (400 by the oldest, where it is no JSON)."""


@attrs.frozen
class Shape:
    """What a command's body may hold: its root in XML and its fields."""

    root: str
    fields: Mapping[str, Field]


def read(dialect: Dialect, shape: Shape, content_type: str, body: bytes) -> dict[str, Any]:
    """The fields of a request's body. Raises Misfit."""
    if content_type == "application/xml":
        return _of_xml(shape, body)
    try:
        given = json.loads(body)
    except ValueError:
        raise Misfit from None
    return _of_json(dialect, shape, given)


def _of_json(dialect: Dialect, shape: Shape, given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise Misfit
    names = {_json_name(dialect, name, kind): name for name, kind in shape.fields.items()}
    if dialect != "1.2" and given.keys() - names.keys():
        raise Misfit
    found = {}
    for key, value in given.items():
        name = names.get(key)
        if name is not None and value is not None:
            found[name] = _field(dialect, name, shape.fields[name], value)
    return {name: value for name, value in found.items() if value is not None}


def _json_name(dialect: Dialect, name: str, kind: Field) -> str:
    if kind == "attribute":
        return f"@{name}" if dialect == "1.2" else name
    # A list without an element around it is called as its items are, until the newest wrote the plural.
    return f"{name}s" if kind == "flat" and dialect == "1.12" else name


def _field(dialect: Dialect, name: str, kind: Field, value: Any) -> Any:
    match kind:
        case "list" | "flat":
            return _list(dialect, ITEMS.get(name, name) if kind == "list" else name, kind, value)
        case "pairs":
            return _pairs_of_oldest(value) if dialect == "1.2" else _pairs(value)
        case _:
            return _scalar(kind, value)


def _list(dialect: Dialect, item: str, kind: Field, value: Any) -> list[str] | None:
    if dialect == "1.2" and kind == "list":
        if isinstance(value, list):
            return None
        value = value.get(item, []) if isinstance(value, dict) else value
    if dialect == "1.2" and not isinstance(value, list):
        value = [value]
    if not isinstance(value, list):
        raise Misfit
    return [str(one) for one in value]


def _pairs_of_oldest(value: Any) -> list[Pair] | None:
    if isinstance(value, list):
        return None
    inner = value.get("property", [{}]) if isinstance(value, dict) else [{}]
    items = inner if isinstance(inner, list) else [inner]
    return [Pair(one.get("@key"), one.get("@value")) if isinstance(one, dict) else Pair(None, None) for one in items]


def _pairs(value: Any) -> list[Pair]:
    if not isinstance(value, list) or any(not isinstance(one, dict) or one.keys() - {"key", "value"} for one in value):
        raise Misfit
    return [Pair(one.get("key"), one.get("value")) for one in value]


def _scalar(kind: Field, value: Any) -> Any:
    if isinstance(value, dict | list):
        raise Misfit
    try:
        match kind:
            case "number":
                return int(value)
            case "flag":
                return value if isinstance(value, bool) else str(value).lower() == "true"
            case "moment":
                return None
            case _:
                return as_text(value)
    except ValueError:
        raise Misfit from None


def _of_xml(shape: Shape, body: bytes) -> dict[str, Any]:
    try:
        root = ET.fromstring(body)  # noqa: S314  what a test sends
    except ET.ParseError:
        raise Misfit from None
    if root.tag != shape.root:
        raise Misfit
    found: dict[str, Any] = {}
    for name, kind in shape.fields.items():
        within = root.find(name)
        match kind:
            case "flat":
                found[name] = [one.text or "" for one in root.findall(name)]
            case "attribute":
                found[name] = root.get(name)
            case "rooms":
                found[name] = [_of_xml(ROOM, ET.tostring(one)) for one in root.findall("chatRoom")]
            case "list":
                found[name] = None if within is None else [one.text or "" for one in within]
            case "pairs":
                found[name] = None if within is None else [Pair(one.get("key"), one.get("value")) for one in within]
            case _:
                found[name] = None if within is None else _scalar(kind, within.text or "")
    return {name: value for name, value in found.items() if value is not None}


ROOM_FLAGS: Final = (
    "persistent",
    "publicRoom",
    "registrationEnabled",
    "canAnyoneDiscoverJID",
    "canOccupantsChangeSubject",
    "canOccupantsInvite",
    "canChangeNickname",
    "logEnabled",
    "loginRestrictedToNickname",
    "membersOnly",
    "moderated",
)
USER: Final = Shape(
    "user", {"username": "text", "name": "text", "email": "text", "password": "text", "properties": "pairs"}
)
ROSTER_ITEM: Final = Shape(
    "rosterItem", {"jid": "text", "nickname": "text", "subscriptionType": "number", "groups": "list"}
)
GROUP: Final = Shape(
    "group", {"name": "text", "description": "text", "admins": "list", "members": "list", "shared": "flag"}
)
GROUPNAMES: Final = Shape("groups", {"groupname": "flat"})
MESSAGE: Final = Shape("message", {"body": "text"})
PROPERTY: Final = Shape("property", {"key": "attribute", "value": "attribute"})
ROOM: Final = Shape(
    "chatRoom",
    {
        **dict.fromkeys(("roomName", "naturalName", "description", "password", "subject"), "text"),
        **dict.fromkeys(("creationDate", "modificationDate"), "moment"),
        "maxUsers": "number",
        **dict.fromkeys((*ROOM_FLAGS, "allowPM"), "flag"),
        **dict.fromkeys(("broadcastPresenceRoles",), "list"),
        **{f"{kind}{end}": "list" for kind in ("owner", "admin", "member", "outcast") for end in ("s", "Groups")},
    },
)
ASSIST: Final = Shape(
    "assist",
    dict.fromkeys(
        (
            *("userID", "emailAddress", "question", "workgroup", "nickname", "agent", "product", "company", "state"),
            *("country", "groupchat", "url", "message", "sender"),
        ),
        "text",
    ),
)
WORKGROUP: Final = Shape("workgroup", {"name": "text", "description": "text", "members": "text"})
ROOMS: Final = Shape("chatRooms", {"chatRooms": "rooms"})
