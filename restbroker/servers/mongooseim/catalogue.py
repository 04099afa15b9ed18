"""MongooseIM's GraphQL schemas by version, and their operations as commands, such as `account.registerUser`.

The command `graphql` sends a document of the job's own. Used by the connector, `request`, the check, and the command
line (through the registry). Always holds: loads no Trio; nothing here changes; an argument `domain` that an operation
requires may also be called `host`, so that a target's `Domain` fills it in.

`catalogue.json.gz`, which is read when it is first needed, holds static facts: the operations of the admin schema from
6.0.0 to 6.8.0 (`since` of each; compared with the schema that a running 6.8.0 reports of itself), those of the user
schema (read in its source), their arguments and types, the types of results as far as they are known in every version,
and the modules that an operation needs. Where a later version requires a narrower type of a variable, the file has
that one.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, Literal, NotRequired, TypeAlias, TypedDict

from restbroker.config.target import Target
from restbroker.job.command import ArgumentSpec, Catalogue, CommandSpec, Repeat, ValueType
from restbroker.light import frozen
from restbroker.servers.api.attributes import is_secret_argument
from restbroker.servers.api.texts import read_catalogue
from restbroker.servers.mongooseim.command_attributes import ATTRIBUTES, DOCUMENTS, host_source_of
from restbroker.servers.mongooseim.options import Options, Schema

Version: TypeAlias = tuple[int, ...]
_VERSION: Final = re.compile(r"(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?")
_WHOLE: Final = frozenset({"Int", "PosInt", "NonNegInt"})
_OWN: Final = (
    # It may hold a password; in its variables, values are hidden by their names, as in all arguments.
    ArgumentSpec("query", "string", secret=True),
    ArgumentSpec("variables", "any", optional=True),
)


@frozen
class Type:
    """A type as written (`[JID!]!`), taken apart: `name` is the innermost type (`JID`).

    `item`: the type of a list's items; None if it is no list.
    """

    text: str
    name: str
    required: bool
    item: "Type | None" = None


@frozen(eq=False)
class Operation:
    """One operation: a field of a category. `needs`: the modules and services that must be loaded for it.

    `since`: the version that has it first.
    """

    name: str
    is_query: bool
    repeat: Repeat
    since: str
    arguments: Mapping[str, Type]
    returns: Type
    needs: tuple[str, ...]

    @property
    def path(self) -> tuple[str, ...]:
        """Where its result is in the answer's data: category and field; the field alone if it has no category."""
        return tuple(self.name.split("."))


class _OperationRecord(TypedDict):
    op: Literal["query", "mutation"]
    since: str
    permission: Literal["domain", "global", "default", "user"]
    args: list[list[str]]
    returns: str
    needs: NotRequired[list[str]]


class _SchemaFile(TypedDict):
    versions: list[str]
    schemas: dict[Literal["admin", "user"], dict[str, _OperationRecord]]
    inputs: dict[str, list[list[str]]]
    enums: dict[str, list[str]]
    scalars: list[str]
    objects: dict[str, list[list[str]]]
    unions: dict[str, list[str]]


@lru_cache(maxsize=50)  # asked for each job
def known_version(version: str | None) -> str:
    """Return the newest known version that is not newer than this one; the oldest known one if there is none.

    For None, or for a text that is no version, return the newest of all.
    """
    versions = _read()["versions"]
    asked = number(version)
    if asked is None:
        return versions[-1]
    return next((version for version in reversed(versions) if (number(version) or ()) <= asked), versions[0])


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


def _operation(name: str, record: _OperationRecord, version: str) -> Operation:
    arguments = {
        argument: type_of(text) for argument, text, *since in record["args"] if not since or _is_in(since[0], version)
    }
    needs, is_query = tuple(record.get("needs", ())), record["op"] == "query"
    repeat = "safe" if is_query else ATTRIBUTES.repeat_of(name)
    return Operation(name, is_query, repeat, record["since"], arguments, type_of(record["returns"]), needs)


def _is_in(since: str, version: str) -> bool:
    return (number(since) or ()) <= (number(version) or ())


@lru_cache(maxsize=1)
def _read() -> _SchemaFile:
    file: _SchemaFile = read_catalogue(__file__)
    return file


_ID: Final = type_of("NonEmptyString")


def for_version(version: str | None) -> Catalogue:
    """Return an admin's commands of the newest known version not newer than `version`; for None, of the newest."""
    return _catalogue("admin", known_version(version))


def for_target(target: Target, found: str | None, _endpoint: str = "") -> Catalogue:
    """Return the commands for the target's `Schema` and version: the configured one, or `found` if that is `auto`.

    `found` is the version that a probe found; None: none is known, and the newest known version counts.
    """
    options = target.options_as(Options)
    version = found if options.server_version == "auto" else options.server_version
    return _catalogue(options.schema, known_version(version))


def arguments_of(operation: Operation, login: Schema) -> Mapping[str, Type]:
    """Return the operation's arguments by name, with an `id` added for a message where the login may send stanzas.

    Only a stanza keeps the `id` of a message, and a domain admin may send none.
    """
    if operation.name in ATTRIBUTES.types and login != "domain_admin":
        return {**operation.arguments, "id": _ID}
    return operation.arguments


@lru_cache(maxsize=16)
def _catalogue(kind: Schema, version: str) -> Catalogue:
    commands = {name: _spec(operation, kind) for name, operation in operations(kind, version).items()}
    commands[DOCUMENTS] = _spec_of_own()
    return Catalogue(version, commands, ATTRIBUTES.dangers, is_whole=True, is_dotted=True)


def _spec(operation: Operation, login: Schema) -> CommandSpec:
    name = operation.name
    kind = "query" if operation.is_query else "mutation"
    return CommandSpec(
        name=name,
        arguments=tuple(_arguments(operation, login)),
        repeat=operation.repeat,
        tags=frozenset({operation.path[0], kind, *operation.needs}) | ATTRIBUTES.tags_of(name),
        result=operation.returns.text,
        secret_result=ATTRIBUTES.has_secret_result(name),
        beyond=ATTRIBUTES.reaches_beyond(name),
        timeout_s=ATTRIBUTES.timeout_of(name),
        since=operation.since,
    )


def _spec_of_own() -> CommandSpec:
    name = DOCUMENTS
    return CommandSpec(name, _OWN, "unsafe", frozenset({"own"}) | ATTRIBUTES.tags_of(name), beyond=True, since="6.0.0")


def _arguments(operation: Operation, login: Schema) -> Iterable[ArgumentSpec]:
    for name, kind in arguments_of(operation, login).items():
        value_type, element = _shape(kind)
        yield ArgumentSpec(
            name,
            value_type,
            is_secret_argument(name),
            aliases=("host",) if name == "domain" and kind.required else (),
            element=element,
            host_source=host_source_of(name, kind.name) if name in operation.arguments else None,
            optional=not kind.required,
            nonempty=ATTRIBUTES.must_be_filled(operation.name, name),
        )


def _shape(kind: Type) -> tuple[ValueType, Literal["string", "object"] | None]:
    """Return how the command line reads a value of this type, and what a list holds (None if it is no list)."""
    is_object = fields_of_input(kind.name) is not None
    if kind.item is not None:
        return ("any", None) if kind.name in _WHOLE else ("list", "object" if is_object else "string")
    if kind.name in _WHOLE:
        return "integer", None
    return ("any", None) if is_object or kind.name == "Boolean" else ("string", None)
