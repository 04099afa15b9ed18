"""MongooseIM's operations as commands: `account.registerUser`, and `graphql` for a document of the job's own.

Used by the connector, the check, and the command line (through the registry). Always holds: loads no Trio; `domain` is
known as `host` too where an operation must have one, so that a target's `Domain` fills it in.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, Literal

from restbroker.config.target import Target
from restbroker.job.command import DANGEROUS, ArgumentSpec, Catalogue, CommandSpec, ValueType, possible_versions
from restbroker.servers.mongooseim import command_facts, schema
from restbroker.servers.mongooseim.options import Options
from restbroker.servers.mongooseim.schema import Operation, Schema, Type, type_of

_DANGERS: Final = command_facts.dangers()
_WHOLE: Final = frozenset({"Int", "PosInt", "NonNegInt"})
_ID: Final = type_of("NonEmptyString")
_OWN: Final = (
    # It may hold a password; in its variables, values are hidden by their names, as in all arguments.
    ArgumentSpec("query", "string", secret=True),
    ArgumentSpec("variables", "any", optional=True),
)


def for_version(version: str | None) -> Catalogue:
    """The commands of an admin, of the newest known server not newer than `version`; the newest for None."""
    return _catalogue("admin", schema.known_version(version))


def for_target(target: Target, found: str | None, _endpoint: str = "") -> Catalogue:
    """Those of the target's `Schema` and configured version, or with `auto` of the version that was found."""
    options = target.options_as(Options)
    version = found if options.server_version == "auto" else options.server_version
    return _catalogue(options.schema, schema.known_version(version))


def candidates(found: str | None, target: Target | None = None, _endpoint: str = "") -> tuple[Catalogue, ...]:
    """What the server may take, oldest first: of the version that was found, else of the configured one, else of each
    that is known; see `possible_versions`.
    """
    kind = "admin" if target is None else target.options_as(Options).schema
    configured = "auto" if target is None else target.options_as(Options).server_version
    versions = possible_versions(schema.versions(), schema.number, found or configured)
    return tuple(_catalogue(kind, version) for version in versions)


def arguments_of(operation: Operation, login: Schema) -> Mapping[str, Type]:
    """The operation's arguments, with an `id` for a message where such a login may send stanzas, which keep it."""
    if operation.name in command_facts.TYPES and login != "domain_admin":
        return {**operation.arguments, "id": _ID}
    return operation.arguments


@lru_cache(maxsize=16)
def _catalogue(kind: Schema, version: str) -> Catalogue:
    commands = {name: _spec(operation, kind) for name, operation in schema.operations(kind, version).items()}
    commands[command_facts.OWN] = _spec_of_own()
    return Catalogue(version, commands, _DANGERS, is_whole=True, is_dotted=True)


def _spec(operation: Operation, login: Schema) -> CommandSpec:
    name = operation.name
    kind = "query" if operation.is_query else "mutation"
    return CommandSpec(
        name=name,
        arguments=tuple(_arguments(operation, login)),
        repeat=command_facts.repeat_of(name, is_query=operation.is_query),
        tags=frozenset({operation.path[0], kind, *operation.needs}) | _dangers(name),
        result=operation.returns.text,
        secret_result=command_facts.has_secret_result(name),
        beyond=command_facts.reaches_beyond(name),
        timeout_s=command_facts.timeout_of(name),
        since=operation.since,
    )


def _spec_of_own() -> CommandSpec:
    name = command_facts.OWN
    return CommandSpec(name, _OWN, "unsafe", frozenset({"own"}) | _dangers(name), beyond=True, since="6.0.0")


def _dangers(name: str) -> frozenset[str]:
    return frozenset(DANGEROUS + danger.word for danger in _DANGERS if danger.names.fullmatch(name.lower()))


def _arguments(operation: Operation, login: Schema) -> Iterable[ArgumentSpec]:
    for name, kind in arguments_of(operation, login).items():
        value_type, element = _shape(kind)
        yield ArgumentSpec(
            name,
            value_type,
            command_facts.is_secret_argument(name),
            aliases=("host",) if name == "domain" and kind.required else (),
            element=element,
            place=command_facts.place_of(name, kind.name) if name in operation.arguments else None,
            optional=not kind.required,
        )


def _shape(kind: Type) -> tuple[ValueType, Literal["string", "object"] | None]:
    """How a value is read from a command line."""
    is_object = schema.fields_of_input(kind.name) is not None
    if kind.item is not None:
        return ("any", None) if kind.name in _WHOLE else ("list", "object" if is_object else "string")
    if kind.name in _WHOLE:
        return "integer", None
    return ("any", None) if is_object or kind.name == "Boolean" else ("string", None)
