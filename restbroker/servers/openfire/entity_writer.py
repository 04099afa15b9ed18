"""Writes bodies: XML, which all versions read alike, or JSON in the dialect of the server's version. Pure.

Called by `request`. Always holds: 1.2 drops without a word what has the shape of newer versions (a plain list, a
property as `key` and `value`), and 1.3 answers 500 to the shape of 1.2 (measured); each gets its own.
"""

from collections.abc import Mapping
from html import escape
from typing import Final, Literal

from restbroker.job.json_types import Json
from restbroker.servers.api.request import json_body
from restbroker.servers.openfire.entities import ELEMENTS, ENTITIES, Entity

Dialect = Literal["1.2", "1.3"]
"""How the plugin reads and writes JSON: `1.2` as versions up to 1.2.x do, `1.3` as newer ones do."""
_ALONE: Final = frozenset({"groupnames", "chatRooms"})
"""Lists whose own element is the outermost one."""


def xml(entity: Entity, given: Mapping[str, Json]) -> bytes:
    """Return the body as XML. `given` has what fits the entity; other members in it are ignored."""
    if not entity.root:
        return "".join(str(given[row.name]) for row in entity.members).encode()
    if entity.as_attributes:
        return _pair(entity.root, given).encode()
    return _element(entity.root, _members(entity, given)).encode()


def json(entity: Entity, given: Mapping[str, Json], dialect: Dialect) -> bytes:
    """Return the body as JSON of this dialect. `given` has what fits the entity; other members in it are ignored."""
    names = [row.name for row in entity.members if row.name in given]
    if dialect == "1.2" and entity.as_attributes:
        return json_body({f"@{name}": given[name] for name in names})
    return json_body({name: _in_json(name, given[name], dialect) for name in names})


def _in_json(name: str, value: Json, dialect: Dialect) -> Json:
    match value:
        case list() if dialect == "1.2" and name == "properties":
            pairs = [pair for pair in value if isinstance(pair, dict)]
            return {ELEMENTS[name]: [{f"@{key}": one for key, one in pair.items()} for pair in pairs]}
        # Rooms are sent in lists to newer versions alone.
        case list() if dialect == "1.2" and name != "chatRooms":
            return {ELEMENTS[name]: value}
        case _:
            return value


def _members(entity: Entity, given: Mapping[str, Json]) -> str:
    return "".join(_member(row.name, given[row.name]) for row in entity.members if row.name in given)


def _member(name: str, value: Json) -> str:
    if not isinstance(value, list):
        return _element(name, _text(value))
    entries = "".join(_one(ELEMENTS[name], one) for one in value)
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
    # What reads XML takes a bare carriage return for the end of a line.
    return escape(str(value)).replace("\r", "&#13;")
