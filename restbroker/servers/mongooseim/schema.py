"""MongooseIM's GraphQL schemas by version, read from `catalogue.json.gz` when first needed.

Used by the catalogue, by `document` and by `values`. Always holds: loads no Trio; nothing here changes.

The file holds static facts: the operations of the admin schema from 6.0.0 to 6.8.0 (`since` of each; compared with what
a running 6.8.0 says of itself), those of the user schema (read in its source), their arguments and types, the types of
results as far as they are known in every version, and the modules that an operation needs. Where a later version wants
a narrower type of a variable, that one is in it.
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
    """A type as written (`[JID!]!`), taken apart: `name` is that of what is inside of all lists."""

    text: str
    name: str
    required: bool
    item: "Type | None" = None


@attrs.frozen(eq=False)
class Operation:
    """One field of a category. `path`: where its result is in the answer's data. `needs`: modules and services."""

    name: str
    is_query: bool
    since: str
    arguments: Mapping[str, Type]
    returns: Type
    needs: tuple[str, ...]

    @property
    def path(self) -> tuple[str, ...]:
        """The category and the field; the field alone of the one that has no category."""
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
    """The known versions, oldest first."""
    return _read()["versions"]


@lru_cache(maxsize=50)  # asked for each job
def known_version(version: str | None) -> str:
    """The newest known version that is not newer than this one; the newest of all for None or what is no version."""
    versions = _read()["versions"]
    asked = number(version)
    if asked is None:
        return versions[-1]
    return next((one for one in reversed(versions) if (number(one) or ()) <= asked), versions[0])


def number(version: str | None) -> Version | None:
    """The numbers of a version such as "6.8.0-12-gabc"."""
    found = _VERSION.search(version or "")
    return tuple(int(part or 0) for part in found.groups()) if found else None


@lru_cache(maxsize=16)
def operations(schema: Schema, version: str) -> Mapping[str, Operation]:
    """Those that a login of this kind may ask for, of one of the known versions."""
    records = _read()["schemas"]["user" if schema == "user" else "admin"]
    return {
        name: _operation(name, record, version)
        for name, record in sorted(records.items())
        if _is_in(record["since"], version) and (schema != "domain_admin" or record["permission"] != "global")
    }


@lru_cache(maxsize=500)
def type_of(text: str) -> Type:
    """A type as GraphQL writes it."""
    required, inner = text.endswith("!"), text.removesuffix("!")
    if not inner.startswith("["):
        return Type(text, inner, required)
    item = type_of(inner[1:-1])
    return Type(text, item.name, required, item)


@lru_cache(maxsize=50)
def fields_of_input(name: str) -> Mapping[str, Type] | None:
    """The members of an input object; None for another type."""
    fields = _read()["inputs"].get(name)
    return None if fields is None else {field: type_of(text) for field, text in fields}


def names_of_enum(name: str) -> tuple[str, ...]:
    """The names that an enum has; none for another type."""
    return tuple(_read()["enums"].get(name, ()))


def fields_of_object(name: str) -> Mapping[str, Type]:
    """The members of a result's object; none for another type."""
    return {field: type_of(text) for field, text in _read()["objects"].get(name, ())}


def members_of_union(name: str) -> tuple[str, ...]:
    """The objects that a union may be; none for another type."""
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
