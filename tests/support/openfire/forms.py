"""The answers of Openfire's REST API plugin in its three JSON dialects.

"1.2" is what plugin 1.2.5 was measured to write, "1.5" what 1.3.10 was; "1.12" is from the plugin's sources.
Used by the stand-in's handlers, which know entities only; reading.py is the other direction. Always holds: an entity
(a dict) is written in the order of its fields.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

import attrs

Dialect: TypeAlias = Literal["1.2", "1.5", "1.12"]

ITEMS: Final = {
    "properties": "property",
    "groups": "group",
    "broadcastPresenceRoles": "broadcastPresenceRole",
    "jidsToInvite": "jid",
    "success": "result",
    "failure": "result",
    "other": "result",
    "users": "user",
    "queues": "queue",
    **{f"{kind}s": kind for kind in ("owner", "admin", "member", "outcast")},
    **{f"{kind}Groups": f"{kind}Group" for kind in ("owner", "admin", "member", "outcast")},
}
"""How an item of a list is called in XML, and in JSON of the oldest dialect."""


class Null:
    """A field that the middle dialect writes as null, and the others leave out."""


class Nil:
    """A field that is null in JSON."""


@attrs.frozen
class Pair:
    """A property. The key is None where the client's shape was not the dialect's."""

    key: str | None
    value: str | None


@attrs.frozen
class Listed:
    """A list that is written: the items' element in "1.2", its key in "1.5" and in "1.12"."""

    item: str
    key: str
    newest: str
    items: tuple[Any, ...]


def listed(name: str, items: list[Any]) -> Listed:
    """A list of the plugin; the roster and others keep the items' name as their key."""
    item, key, newest = {
        "roster": ("rosterItem", "rosterItem", "rosterItem"),
        "properties": ("property", "property", "property"),
        "messages": ("message", "message", "message"),
        "chatServices": ("chatService", "chatService", "chatService"),
        "groupnames": ("groupname", "groupname", "groupnames"),
    }.get(name, (name.removesuffix("s"), name, name))
    return Listed(item, key, newest, tuple(items))


def as_json(dialect: Dialect, given: Mapping[str, Any] | Listed) -> bytes:
    match given, dialect:
        case Listed(), "1.2":
            shown: Any = _many_of_oldest(given.item, list(given.items), {})
        case Listed(), _:
            key = given.key if dialect == "1.5" else given.newest
            shown = {key: [_value(dialect, "", one) for one in given.items]}
        case _:
            shown = _value(dialect, "", given)
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode()


def _many_of_oldest(item: str, items: list[Any], none: Any) -> Any:
    shown = [_value("1.2", "", one) for one in items]
    return {item: shown[0] if len(shown) == 1 else shown} if shown else none


def _value(dialect: Dialect, name: str, given: Any) -> Any:
    oldest = dialect == "1.2"
    match given:
        case Pair():
            return {"@key": given.key, "@value": given.value} if oldest else {"key": given.key, "value": given.value}
        case Mapping():
            pairs = ((key, value) for key, value in given.items() if value is not None)
            return {
                key: None if value in (Null, Nil) else _value(dialect, key, value)
                for key, value in pairs
                if value is not Null or dialect == "1.5"
            }
        case list():
            if oldest:
                return _many_of_oldest(ITEMS[name], given, None)
            return [_value(dialect, "", one) for one in given]
        case datetime():
            return _iso(given) if oldest else int(given.timestamp() * 1000)
        case bool() | int():
            return as_text(given) if oldest else given
        case _:
            return given


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
