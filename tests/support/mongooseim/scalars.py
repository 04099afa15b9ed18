"""The scalars of MongooseIM's GraphQL schema: what the server takes for each, and what it makes of it.

`install` gives a schema these. Used by the stand-in alone: nothing of restbroker is imported, so that a mistake there
is not made here again. Always holds: a JID is lower-cased but for its resource, as the server prepares it.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Self

import attrs
from graphql import ConstValueNode, GraphQLScalarType, GraphQLSchema, StringValueNode, value_from_ast_untyped

_NODE: Final = re.compile(r"[^\s\"&'/:<>@\x00-\x1f]{1,1023}")
_DOMAIN: Final = re.compile(r"[\w](?:[\w.-]{0,1021}[\w])?")


@attrs.frozen
class Jid:
    """An address. `node` and `resource` may be empty."""

    node: str
    domain: str
    resource: str = ""

    @property
    def bare(self) -> str:
        return f"{self.node}@{self.domain}" if self.node else self.domain

    def __str__(self) -> str:
        return f"{self.bare}/{self.resource}" if self.resource else self.bare

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises ValueError for what is no JID."""
        bare, _, resource = text.partition("/")
        node, at, domain = bare.rpartition("@")
        if (at and not _NODE.fullmatch(node)) or ("/" in text and not resource):
            raise ValueError("failed_to_parse_jid")
        return cls(node.lower(), _domain(domain), resource)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not_binary")  # noqa: TRY004 # graphql-core tells of a ValueError as of a value not fit
    return value


def _domain(value: object) -> str:
    text = _text(value).lower()
    if not _DOMAIN.fullmatch(text):
        raise ValueError("failed_to_parse_domain_name")
    return text


def _node(value: object) -> str:
    text = _text(value).lower()
    if not _NODE.fullmatch(text):
        raise ValueError("incorrect_user_name")
    return text


def _jid(value: object) -> Jid:
    return Jid.read(_text(value))


def _bare_jid(value: object) -> Jid:
    jid = _jid(value)
    if jid.resource:
        raise ValueError("jid_with_resource")
    return jid


def _full_jid(value: object) -> Jid:
    jid = _jid(value)
    if not jid.resource:
        raise ValueError("jid_without_resource")
    return jid


def _non_empty(value: object) -> str:
    if not _text(value):
        raise ValueError("empty_string")
    return _text(value)


def _whole(least: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError("not_a_positive_integer" if least else "not_a_non_negative_integer")
        return value

    return read


def _node_name(value: object) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", _text(value)):
        raise ValueError("incorrect_node_name")
    return _text(value)


def _moment(value: object) -> str:
    datetime.fromisoformat(_text(value))
    return _text(value)


def _element(value: object) -> str:
    try:
        ET.fromstring(_text(value))  # noqa: S314 # what a test sends
    except ET.ParseError as error:
        raise ValueError(str(error)) from None
    return _text(value)


_READERS: Final[Mapping[str, Callable[[object], Any]]] = {
    "DateTime": _moment,
    "XmlElement": _element,
    "JID": _jid,
    "BareJID": _bare_jid,
    "FullJID": _full_jid,
    "UserName": _node,
    "RoomName": _node,
    "DomainName": _domain,
    "ResourceName": _non_empty,
    "NodeName": _node_name,
    "NonEmptyString": _non_empty,
    "PosInt": _whole(1),
    "NonNegInt": _whole(0),
}


def _shown(value: object) -> object:
    return str(value) if isinstance(value, Jid) else value


def install(schema: GraphQLSchema) -> None:
    for name, read in _READERS.items():
        scalar = schema.get_type(name)
        if isinstance(scalar, GraphQLScalarType):
            _give(scalar, read)


def _give(scalar: GraphQLScalarType, read: Callable[[object], Any]) -> None:
    def literal(node: ConstValueNode) -> object:
        return read(node.value if isinstance(node, StringValueNode) else value_from_ast_untyped(node))

    scalar.coerce_input_value = read
    scalar.coerce_input_literal = literal
    scalar.coerce_output_value = _shown
