"""Writes the GraphQL text of an operation with certain arguments. Pure; each text is made once and cached.

Called by `request`. Always holds: values never stand in the text, since MongooseIM does not unescape its strings
(measured); an argument without a value is not in it, so that the server's own default counts; the selection covers the
whole result, as far as its types are known, under the names of the schema. A union may have a member of several types,
as `result` of mnesia.systemInfo: MongooseIM takes that, though GraphQL does not (measured).
"""

from collections.abc import Iterator
from functools import lru_cache

from restbroker.servers.mongooseim import schema
from restbroker.servers.mongooseim.schema import Operation, Type


@lru_cache(maxsize=1000)
def document(operation: Operation, given: tuple[str, ...]) -> str:
    """Return the GraphQL document of an operation; `given` names the arguments to pass as variables, all its own."""
    declared = ",".join(f"${name}:{operation.arguments[name].text}" for name in given)
    passed = ",".join(f"{name}:${name}" for name in given)
    *category, field = operation.path
    text = f"{field}{f'({passed})' if given else ''}{selection(operation.returns)}"
    text = f"{category[0]}{{{text}}}" if category else text
    return f"{'query' if operation.is_query else 'mutation'}{f'({declared})' if given else ''}{{{text}}}"


def selection(result: Type) -> str:
    """Return the selection of all fields of a result type, such as `{jid name}`; "" for a scalar."""
    return _selection(result.name, ())


def _selection(name: str, above: tuple[str, ...]) -> str:
    members = schema.members_of_union(name)
    if members:
        text = " ".join(f"... on {one}{_selection(one, (*above, name))}" for one in members)
    else:
        text = " ".join(_of_object(name, (*above, name)))
    return f"{{{text}}}" if text else ""


def _of_object(name: str, above: tuple[str, ...]) -> Iterator[str]:
    for field, kind in schema.fields_of_object(name).items():
        if kind.name in above:
            continue  # or it would have no end
        inside = _selection(kind.name, above)
        if inside or not _has_members(kind.name):
            yield field + inside


def _has_members(name: str) -> bool:
    return bool(schema.fields_of_object(name) or schema.members_of_union(name))
