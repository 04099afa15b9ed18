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
from functools import cache
from typing import Final, Literal, TypeAlias, cast

from restbroker.job.hiding import MASK, Spellings
from restbroker.job.json_types import Json
from restbroker.light import frozen
from restbroker.servers.api.texts import read_toml
from restbroker.servers.openfire.entities import AFFILIATIONS, ROOM_FLAGS, ROOM_LISTS

_LOGIN: Final = r"ofchat-?[0-9]+(?![\w@])"
LOGINS: Final[Spellings] = frozenset((re.compile(_LOGIN),))
"""The pattern of login ids of the Chat API (read): who holds an id can act as the user it belongs to."""

_Scalar = Literal["whole", "flag", "date"]


@frozen
class _List:
    """A member that is a list. `old`: how a dialect calls the list or, in 1.2, the element inside.

    `of`: the shape of its entries; None if they stay as they came.
    """

    old: str
    of: "_Shape | None" = None


_Member: TypeAlias = _Scalar | _List
_Shape: TypeAlias = Mapping[str, _Member]
"""The known members of an object; all others are texts."""

_FILE: Final = {
    **read_toml(__file__, "answers.toml"),
    "MUCRoomEntity": {
        "maxUsers": "whole",
        **dict.fromkeys(("creationDate", "modificationDate"), "date"),
        **dict.fromkeys(ROOM_FLAGS, "flag"),
        **{name: f"list {element}" for name, element in ROOM_LISTS.items()},
    },
    **{name: {name: f"list {element}"} for name, element in AFFILIATIONS.items()},
}


@cache
def _shape(name: str) -> _Shape:
    return {member: _member(kind) for member, kind in _FILE[name].items()}


def _member(kind: str) -> _Member:
    if not kind.startswith("list "):
        return cast("_Scalar", kind)
    _, old, *of = kind.split()
    return _List(old, _shape(of[0]) if of else None)


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
    return _object(body, _shape(answer)) if answer in _FILE and isinstance(body, dict) else body


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
    return [entry if of is None or not isinstance(entry, dict) else _object(entry, of) for entry in entries]


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
