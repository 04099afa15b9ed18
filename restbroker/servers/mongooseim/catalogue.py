"""MongooseIM's operations as commands: `account.registerUser`, and `graphql` for a document of the job's own.

Used by the connector, the check, and the command line (through the registry). Always holds: loads no Trio; an argument
`domain` that an operation requires may also be called `host`, so that a target's `Domain` fills it in.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, Literal

from restbroker.config.target import Target
from restbroker.job.command import DANGEROUS, ArgumentSpec, Catalogue, CommandSpec, ValueType, possible_versions
from restbroker.servers.mongooseim import command_attributes, schema
from restbroker.servers.mongooseim.options import Options
from restbroker.servers.mongooseim.schema import Operation, Schema, Type, type_of

_DANGERS: Final = command_attributes.dangerous_commands()
_WHOLE: Final = frozenset({"Int", "PosInt", "NonNegInt"})
_ID: Final = type_of("NonEmptyString")
_OWN: Final = (
    # It may hold a password; in its variables, values are hidden by their names, as in all arguments.
    ArgumentSpec("query", "string", secret=True),
    ArgumentSpec("variables", "any", optional=True),
)


def for_version(version: str | None) -> Catalogue:
    """Return an admin's commands of the newest known version not newer than `version`; for None, of the newest."""
    return _catalogue("admin", schema.known_version(version))


def for_target(target: Target, found: str | None, _endpoint: str = "") -> Catalogue:
    """Return the commands for the target's `Schema` and version: the configured one, or `found` if that is `auto`.

    `found` is the version that a probe found; None: none is known, and the newest known version counts.
    """
    options = target.options_as(Options)
    version = found if options.server_version == "auto" else options.server_version
    return _catalogue(options.schema, schema.known_version(version))


def candidates(found: str | None, target: Target | None = None, _endpoint: str = "") -> tuple[Catalogue, ...]:
    """Return the catalogues that the server may have, oldest first.

    They are those of the found version, else of the configured one, else of every known version; see
    `possible_versions`. Without a target they are an admin's.
    """
    kind = "admin" if target is None else target.options_as(Options).schema
    configured = "auto" if target is None else target.options_as(Options).server_version
    versions = possible_versions(schema.versions(), schema.number, found or configured)
    return tuple(_catalogue(kind, version) for version in versions)


def arguments_of(operation: Operation, login: Schema) -> Mapping[str, Type]:
    """Return the operation's arguments by name, with an `id` added for a message where the login may send stanzas.

    Only a stanza keeps the `id` of a message, and a domain admin may send none.
    """
    if operation.name in command_attributes.TYPES and login != "domain_admin":
        return {**operation.arguments, "id": _ID}
    return operation.arguments


@lru_cache(maxsize=16)
def _catalogue(kind: Schema, version: str) -> Catalogue:
    commands = {name: _spec(operation, kind) for name, operation in schema.operations(kind, version).items()}
    commands[command_attributes.DOCUMENTS] = _spec_of_own()
    return Catalogue(version, commands, _DANGERS, is_whole=True, is_dotted=True)


def _spec(operation: Operation, login: Schema) -> CommandSpec:
    name = operation.name
    kind = "query" if operation.is_query else "mutation"
    return CommandSpec(
        name=name,
        arguments=tuple(_arguments(operation, login)),
        repeat=command_attributes.repeat_of(name, is_query=operation.is_query),
        tags=frozenset({operation.path[0], kind, *operation.needs}) | _dangerous_commands(name),
        result=operation.returns.text,
        secret_result=command_attributes.has_secret_result(name),
        beyond=command_attributes.reaches_beyond(name),
        timeout_s=command_attributes.timeout_of(name),
        since=operation.since,
    )


def _spec_of_own() -> CommandSpec:
    name = command_attributes.DOCUMENTS
    return CommandSpec(name, _OWN, "unsafe", frozenset({"own"}) | _dangerous_commands(name), beyond=True, since="6.0.0")


def _dangerous_commands(name: str) -> frozenset[str]:
    return frozenset(DANGEROUS + danger.word for danger in _DANGERS if danger.names.fullmatch(name.lower()))


def _arguments(operation: Operation, login: Schema) -> Iterable[ArgumentSpec]:
    for name, kind in arguments_of(operation, login).items():
        value_type, element = _shape(kind)
        yield ArgumentSpec(
            name,
            value_type,
            command_attributes.is_secret_argument(name),
            aliases=("host",) if name == "domain" and kind.required else (),
            element=element,
            host_source=command_attributes.host_source_of(name, kind.name) if name in operation.arguments else None,
            optional=not kind.required,
            nonempty=command_attributes.must_be_filled(operation.name, name),
        )


def _shape(kind: Type) -> tuple[ValueType, Literal["string", "object"] | None]:
    """Return how the command line reads a value of this type, and what a list holds (None if it is no list)."""
    is_object = schema.fields_of_input(kind.name) is not None
    if kind.item is not None:
        return ("any", None) if kind.name in _WHOLE else ("list", "object" if is_object else "string")
    if kind.name in _WHOLE:
        return "integer", None
    return ("any", None) if is_object or kind.name == "Boolean" else ("string", None)
