"""Writes bodies: XML, which all versions read alike, or JSON in the dialect of the server's version. Pure.

Called by `request`. Always holds: 1.2 drops without a word what has the shape of newer versions (a plain list, a
property as `key` and `value`), and 1.3 answers 500 to the shape of 1.2 (measured); each gets its own.
"""

from collections.abc import Mapping
from html import escape
from typing import Literal

from restbroker.job.json_types import Json
from restbroker.servers.api.request import json_body
from restbroker.servers.openfire.rest.entities import ENTITIES, Entity, Field

Dialect = Literal["1.2", "1.3"]
"""How the plugin reads and writes JSON: `1.2` as up to 1.2.x, `1.3` as since then."""


def xml(entity: Entity, given: Mapping[str, Json]) -> bytes:
    """The body as XML; `given` has what fits the entity, and may have more."""
    if entity is ENTITIES["VCard"]:
        return str(given["vcard"]).encode()
    if entity.as_attributes:
        return _pair(entity.root, given).encode()
    return _element(entity.root, _fields(entity, given)).encode()


def json(entity: Entity, given: Mapping[str, Json], dialect: Dialect) -> bytes:
    """The body as JSON of this dialect."""
    if dialect == "1.2" and entity.as_attributes:
        members: dict[str, Json] = {
            f"@{field.name}": given[field.name] for field in entity.fields if field.name in given
        }
    else:
        members = {field.name: _of(field, given[field.name], dialect) for field in entity.fields if field.name in given}
    return json_body(members)


def _of(field: Field, value: Json, dialect: Dialect) -> Json:
    if dialect == "1.3":
        return value
    match field.form:
        case "texts":
            return {field.element: value}
        case "properties":
            pairs = [pair for pair in value if isinstance(pair, dict)] if isinstance(value, list) else []
            return {"property": [{f"@{key}": one for key, one in pair.items()} for pair in pairs]}
        case _:
            return value


def _fields(entity: Entity, given: Mapping[str, Json]) -> str:
    return "".join(_field(field, given[field.name]) for field in entity.fields if field.name in given)


def _field(field: Field, value: Json) -> str:
    match field.form, value:
        case "texts", list():
            entries = _each(value, field.element)
            # The outermost element of these is the list itself.
            return entries if field.name == "groupnames" else _element(field.name, entries)
        case "properties", list():
            return _element(field.name, "".join(_pair("property", one) for one in value if isinstance(one, dict)))
        case "rooms", list():
            room = ENTITIES["MUCRoomEntity"]
            return "".join(_element(field.element, _fields(room, one)) for one in value if isinstance(one, dict))
        case _:
            return _element(field.name, _text(value))


def _each(values: Json, element: str) -> str:
    return "".join(_element(element, _text(one)) for one in (values if isinstance(values, list) else ()))


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
