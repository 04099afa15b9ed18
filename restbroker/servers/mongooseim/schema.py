"""MongooseIM's GraphQL schemas by version, read from `catalogue.json.gz` when first needed.

Used by the catalogue, by `document` and by `values`. Always holds: loads no Trio; nothing here changes.

The file holds static facts: the operations of the admin schema from 6.0.0 to 6.8.0 (`since` of each; compared with the
schema that a running 6.8.0 reports of itself), those of the user schema (read in its source), their arguments and
types, the types of results as far as they are known in every version, and the modules that an operation needs. Where a
later version requires a narrower type of a variable, the file has that one.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal, NotRequired, TypeAlias, TypedDict

import attrs

from restbroker.servers.api import catalogue_file

Schema = Literal["admin", "domain_admin", "user"]
Version: TypeAlias = tuple[int, ...]
_VERSION: Final = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


@attrs.frozen
class Type:
    """A type as written (`[JID!]!`), taken apart: `name` is the innermost type (`JID`).

    `item`: the type of a list's items; None if it is no list.
    """

    text: str
    name: str
    required: bool
    item: "Type | None" = None


@attrs.frozen(eq=False)
class Operation:
    """One operation: a field of a category. `needs`: the modules and services that must be loaded for it.

    `since`: the version that has it first.
    """

    name: str
    is_query: bool
    since: str
    arguments: Mapping[str, Type]
    returns: Type
    needs: tuple[str, ...]

    @property
    def path(self) -> tuple[str, ...]:
        """Where its result is in the answer's data: category and field; the field alone if it has no category."""
        return tuple(self.name.split("."))


class _Record(TypedDict):
    op: Literal["query", "mutation"]
    since: str
    permission: Literal["domain", "global", "default", "user"]
    args: list[list[str]]
    returns: str
    needs: NotRequired[list[str]]


class _File(TypedDict):
    versions: list[str]
    schemas: dict[Literal["admin", "user"], dict[str, _Record]]
    inputs: dict[str, list[list[str]]]
    enums: dict[str, list[str]]
    scalars: list[str]
    objects: dict[str, list[list[str]]]
    unions: dict[str, list[str]]


def versions() -> list[str]:
    """Return the known versions, oldest first."""
    return _read()["versions"]


@lru_cache(maxsize=50)  # asked for each job
def known_version(version: str | None) -> str:
    """Return the newest known version that is not newer than this one; the oldest known one if there is none.

    For None, or for a text that is no version, return the newest of all.
    """
    versions = _read()["versions"]
    asked = number(version)
    if asked is None:
        return versions[-1]
    return next((one for one in reversed(versions) if (number(one) or ()) <= asked), versions[0])


def number(version: str | None) -> Version | None:
    """Return the numbers of a version, e.g. (6, 8, 0) for "6.8.0-12-gabc"; None if it has none."""
    found = _VERSION.search(version or "")
    return tuple(int(part or 0) for part in found.groups()) if found else None


@lru_cache(maxsize=16)
def operations(schema: Schema, version: str) -> Mapping[str, Operation]:
    """Return the operations, by name, that a login of this kind may use in one of the known versions."""
    records = _read()["schemas"]["user" if schema == "user" else "admin"]
    return {
        name: _operation(name, record, version)
        for name, record in sorted(records.items())
        if _is_in(record["since"], version) and (schema != "domain_admin" or record["permission"] != "global")
    }


@lru_cache(maxsize=500)
def type_of(text: str) -> Type:
    """Parse a type as GraphQL writes it, such as `[JID!]!`."""
    required, inner = text.endswith("!"), text.removesuffix("!")
    if not inner.startswith("["):
        return Type(text, inner, required)
    item = type_of(inner[1:-1])
    return Type(text, item.name, required, item)


@lru_cache(maxsize=50)
def fields_of_input(name: str) -> Mapping[str, Type] | None:
    """Return the members of an input object, by name; None if the type is no input object."""
    fields = _read()["inputs"].get(name)
    return None if fields is None else {field: type_of(text) for field, text in fields}


def names_of_enum(name: str) -> tuple[str, ...]:
    """Return the names that an enum has; none if the type is no enum."""
    return tuple(_read()["enums"].get(name, ()))


def fields_of_object(name: str) -> Mapping[str, Type]:
    """Return the fields of a result object, by name; none if the type is no object."""
    return {field: type_of(text) for field, text in _read()["objects"].get(name, ())}


def members_of_union(name: str) -> tuple[str, ...]:
    """Return the names of the objects that a union may be; none if the type is no union."""
    return tuple(_read()["unions"].get(name, ()))


def _operation(name: str, record: _Record, version: str) -> Operation:
    arguments = {
        argument: type_of(text) for argument, text, *since in record["args"] if not since or _is_in(since[0], version)
    }
    needs = tuple(record.get("needs", ()))
    return Operation(
        name,
        record["op"] == "query",
        record["since"],
        arguments=arguments,
        returns=type_of(record["returns"]),
        needs=needs,
    )


def _is_in(since: str, version: str) -> bool:
    return (number(since) or ()) <= (number(version) or ())


@lru_cache(maxsize=1)
def _read() -> _File:
    file: _File = catalogue_file.read(__file__, "catalogue.json.gz")
    return file
