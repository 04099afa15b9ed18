"""Checks a job's arguments against the types of its operation before anything is sent. Pure.

Called by `request` and `ctl`. Always holds: what MongooseIM would refuse for its type is refused here, with
MongooseIM's code; an error names the argument and shows no value. How scalars are read comes from MongooseIM's source
(mongoose_graphql_scalar of 6.8.0); the codes are those of its GraphQL library.
"""

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final
from xml.parsers import expat

from restbroker.job.endpoint import kind_of, quote
from restbroker.job.json_types import Json
from restbroker.servers.api import jid
from restbroker.servers.api.arguments import InvalidArguments
from restbroker.servers.mongooseim import schema
from restbroker.servers.mongooseim.schema import Type

_LARGEST_INT: Final = 2**31 - 1
_DATE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DEEPEST: Final = 100
"""How deep an argument's input objects may be nested."""
_SWITCH: Final = "true or false"
_TEXT: Final = "a string"


def check(given: Mapping[str, Json], types: Mapping[str, Type], owner: str) -> None:
    """Raise `InvalidArguments` unless these values fit these types and all required ones are there.

    `owner` is the operation or command that takes these arguments; messages name it.
    """
    for name in given:
        if name not in types:
            near = get_close_matches(name, types, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            message = f"there is an argument {quote(name)}, which {owner} does not have{meant}"
            raise InvalidArguments(message, code="excess_args")
    for name, kind in types.items():
        _check(name, given.get(name), kind)


def _check(place: str, value: Json, kind: Type) -> None:
    if value is None:
        if kind.required:
            raise InvalidArguments(f'the argument "{place}" is missing', code="missing_non_null_param", path=place)
    elif kind.item is not None:
        if not isinstance(value, list):
            raise _wrong(place, value, "a list", "type_mismatch")
        for number, item in enumerate(value, start=1):
            _check(f"{place}[{number}]", item, kind.item)
    elif (fields := schema.fields_of_input(kind.name)) is not None:
        _check_object(place, value, kind.name, fields)
    elif names := schema.names_of_enum(kind.name):
        if not isinstance(value, str) or value not in names:
            raise _wrong(place, value, f"one of {', '.join(names)}", "unknown_enum")
    else:
        reads, wanted = _SCALARS[kind.name]
        if not reads(value):
            raise _wrong(place, value, wanted, "input_coercion")


def _check_object(place: str, value: Json, name: str, fields: Mapping[str, Type]) -> None:
    if not isinstance(value, dict):
        raise _wrong(place, value, "an object", "type_mismatch")
    if place.count(".") > _DEEPEST:  # a vCard's agent has a vCard
        raise InvalidArguments("it is nested too deeply")
    for field in value:
        if field not in fields:
            near = get_close_matches(field, fields, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            message = f'the argument "{place}" has a member {quote(field)}, which {name} does not have{meant}'
            raise InvalidArguments(message, code="excess_fields_in_object", path=place)
    for field, kind in fields.items():
        _check(f"{place}.{field}", value.get(field), kind)


def _wrong(place: str, value: Json, wanted: str, code: str) -> InvalidArguments:
    found = kind_of(value)
    is_number = wanted.startswith("a whole number")
    others = is_number or wanted in ("a list", "an object", _SWITCH)
    if (isinstance(value, str) and not others) or (isinstance(value, int) and found == "a number" and is_number):
        lacking = "whole characters only" if wanted == _TEXT else wanted.rstrip(",")
        message = f'the argument "{place}" is {"a string" if isinstance(value, str) else found}, but not {lacking}'
    else:
        message = f'the argument "{place}" is {found}, where {wanted} is needed'
    return InvalidArguments(message, code=code, path=place)


def _text(reads: Callable[[str], bool]) -> Callable[[Json], bool]:
    return lambda value: isinstance(value, str) and _is_sendable(value) and reads(value)


def _whole(least: int, most: int | None) -> Callable[[Json], bool]:
    def reads(value: Json) -> bool:
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return least <= value and (most is None or value <= most)

    return reads


def _is_sendable(text: str) -> bool:
    """Tell whether a text has no half of a surrogate pair: MongooseIM's JSON reader refuses such a body as no UTF-8."""
    return text.isascii() or not any("\ud800" <= one <= "\udfff" for one in text)


def _is_user(text: str) -> bool:
    return "@" in text.partition("/")[0] and jid.is_jid(text)


def _is_node(text: str) -> bool:
    parts = [part for part in text.split("@") if part]
    return len(parts) == 2 or text == "self"


def _is_element(text: str) -> bool:
    """Tell whether a text is one well-formed XML element without a document type.

    No stanza has a document type, and one may expand.
    """
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise ValueError

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text.encode(), True)
    except (expat.ExpatError, ValueError):
        return False
    return True


_SCALARS: Final[Mapping[str, tuple[Callable[[Json], bool], str]]] = MappingProxyType(
    {
        "String": (_text(lambda _: True), _TEXT),
        "ID": (_text(lambda _: True), _TEXT),
        "Int": (_whole(-_LARGEST_INT - 1, _LARGEST_INT), "a whole number of 32 bits"),
        "Boolean": (lambda value: isinstance(value, bool), _SWITCH),
        "PosInt": (_whole(1, None), "a whole number above 0"),
        "NonNegInt": (_whole(0, None), "a whole number, 0 or more,"),
        "NonEmptyString": (_text(bool), "a string that is not empty"),
        "JID": (_text(_is_user), "a JID such as alice@example.org"),
        "BareJID": (_text(lambda text: "/" not in text and _is_user(text)), "a JID without a resource"),
        "FullJID": (_text(lambda text: "/" in text and _is_user(text)), "a JID with a resource"),
        "UserName": (_text(jid.is_local), "a user's name, without a domain,"),
        "RoomName": (_text(jid.is_local), "a room's name, without a domain,"),
        "DomainName": (_text(jid.is_domain), "a domain's name"),
        "ResourceName": (_text(jid.is_resource), "a resource's name"),
        "NodeName": (_text(_is_node), "a node's name such as mongooseim@host"),
        "DateTime": (
            _text(lambda text: _DATE_TIME.fullmatch(text) is not None),
            "a time such as 2030-01-31T08:00:00Z",
        ),
        "XmlElement": (_text(_is_element), "an XML element"),
    }
)
