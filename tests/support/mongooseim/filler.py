"""A well-typed value for any type of the schema: what operations answer that hold no state in the stand-in."""

from typing import Any, Final

from graphql import (
    GraphQLEnumType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLUnionType,
)

_DEEPEST: Final = 4
"""A vcard may hold an agent who has a vcard."""
_SCALARS: Final = {
    "Boolean": True,
    "Int": 1,
    "PosInt": 1,
    "NonNegInt": 0,
    "Float": 1.0,
    "DateTime": "2026-01-01T00:00:00Z",
    "XmlElement": "<x xmlns='urn:example'/>",
    "JID": "alice@localhost",
    "BareJID": "alice@localhost",
    "FullJID": "alice@localhost/res1",
    "UserName": "alice",
    "DomainName": "localhost",
    "NodeName": "mongooseim@localhost",
}


def filled(kind: GraphQLOutputType, depth: int = 0) -> Any:
    """A value of this type, lists with one entry; null where it would not end."""
    match kind:
        case GraphQLNonNull():
            return filled(kind.of_type, depth)
        case GraphQLList():
            return [filled(kind.of_type, depth + 1)] if depth < _DEEPEST else []
        case GraphQLEnumType():
            return next(iter(kind.values.values())).value
        case GraphQLUnionType():
            return filled(kind.types[0], depth)
        case GraphQLObjectType():
            if depth >= _DEEPEST:
                return None
            members = {name: filled(field.type, depth + 1) for name, field in kind.fields.items()}
            return {"__typename": kind.name, **members}
    return _SCALARS.get(getattr(kind, "name", ""), "text")
