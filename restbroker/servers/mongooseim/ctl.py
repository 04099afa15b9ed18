"""`restbroker ctl` for MongooseIM: what `mongooseimctl` takes (`account registerUser --domain D`), and what it prints.

Reached through the registry. Always holds: loads no Trio; what mongooseimctl refuses before it asks the server is
refused with its words and exit code, and what the server refuses is printed as it answers. Compared with the
mongooseimctl of 6.8.0 command by command (measured).
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

import attrs
import orjson

from restbroker.errors import UsageError
from restbroker.job import rubyjson
from restbroker.job.coerce import coerce
from restbroker.job.command import ArgumentSpec, Catalogue, CommandSpec
from restbroker.job.json_types import Json
from restbroker.servers.ctl import CtlCommand, CtlDialect, CtlOutput, CtlRefusal, JobReply
from restbroker.servers.mongooseim.command_attributes import ATTRIBUTES

_ON_THE_MACHINE: Final = frozenset(
    {
        *("start", "stop", "restart", "status", "live", "foreground", "debug", "ping", "started", "stopped", "help"),
        *("join_cluster", "leave_cluster", "remove_from_cluster", "bootstrap", "version", "print_install_dir"),
    }
)
_FAILED: Final = 1
_EMPTY: Final = re.compile(r"^( *+)(.*[\[{])([\]}],?)$", re.MULTILINE)
"""A line that ends with an empty list or object; a text that looks so ends with its quotation mark."""
_HELP: Final = "--help"


def _read(catalogue: Catalogue, words: Sequence[str], version: str | None) -> CtlCommand | CtlOutput | CtlRefusal:
    if version is not None:
        return CtlRefusal("mongooseimctl has no --version.", "Leave it out.")
    if not words:
        return CtlRefusal("No command is given.", "For example: restbroker ctl account countUsers --domain example.org")
    category, given = words[0], words[1:]
    if category in _ON_THE_MACHINE:
        hint = "Run mongooseimctl there, or ask the server: restbroker ctl server status"
        return CtlRefusal(f"{category} concerns the Erlang node, on MongooseIM's machine.", hint)
    if category == "graphql":
        return _read_ours(given)
    known = sorted(name for name in catalogue.commands if name.startswith(f"{category}."))
    if not known:
        return _refusal("Unknown category", "`restbroker commands --kind mongooseim` lists all.")
    operations = " ".join(name.partition(".")[2] for name in known)
    if not given:
        return CtlOutput(note=f"usage: restbroker ctl {category} OPERATION …, with one of: {operations}")
    spec = catalogue.commands.get(f"{category}.{given[0]}")
    if spec is None:
        return _refusal(f"Unknown command '{given[0]}'", f"There are: {operations}")
    if spec.name in ATTRIBUTES.types:
        # The `id` of a message is ours.
        spec = attrs.evolve(spec, arguments=tuple(argument for argument in spec.arguments if argument.name != "id"))
    return _read_command(spec, given[0], given[1:])


def _read_ours(given: Sequence[str]) -> CtlCommand | CtlOutput:
    if len(given) != 1:
        return CtlOutput("This command requires one string type argument!\n", _FAILED)
    return CtlCommand("graphql", "graphql", {"query": given[0]}, "graphql")


def _read_command(spec: CommandSpec, word: str, given: Sequence[str]) -> CtlCommand | CtlOutput:
    usage = " ".join(["usage: restbroker ctl", spec.name.replace(".", " "), *map(_flag, spec.arguments)])
    if [*given] == [_HELP]:
        return CtlOutput(note=usage)
    taken: dict[str, Json] = {}
    for flag, text in zip(given[::2], given[1::2], strict=False):
        name = flag.removeprefix("--")
        if name == flag:
            return _refusal("Could not parse the command arguments", usage)
        argument = next((argument for argument in spec.arguments if argument.name == name), None)
        if argument is None:
            return _refusal(f"Unknown argument '{name}' for command '{word}'", usage)
        try:
            taken[name] = _value(spec, argument, text)
        except (UsageError, rubyjson.Unreadable):
            shown = "…" if argument.secret else text
            return _refusal(f"Invalid value '{shown}' of argument '{name}' for command '{word}'", usage)
    if len(given) % 2:
        return _refusal("Could not parse the command arguments", usage)
    missing = [argument.name for argument in spec.arguments if not argument.optional and argument.name not in taken]
    if missing:
        listed = ", ".join(f"'{name}'" for name in missing)
        return _refusal(f"Missing mandatory arguments for command '{word}': {listed}", usage)
    return CtlCommand(spec.name, spec.name, taken, spec.name.replace(".", " "))


def _value(spec: CommandSpec, argument: ArgumentSpec, text: str) -> Json:
    if argument.type in ("list", "any"):
        return rubyjson.loads(text.encode("utf-8", "surrogateescape"))
    return coerce(spec, {argument.name: text})[argument.name]


def _flag(argument: ArgumentSpec) -> str:
    shown = f"--{argument.name} {argument.type.upper()}"
    return f"[{shown}]" if argument.optional else shown


def _refusal(says: str, usage: str) -> CtlOutput:
    return CtlOutput(f"{says}\n\n", _FAILED, note=usage)


def _write(_catalogue: Catalogue, _asked: CtlCommand, answered: JobReply) -> CtlOutput | None:
    """Write the answer of the GraphQL endpoint as mongooseimctl writes its own; None if it is no such answer."""
    try:
        body: Json = orjson.loads(answered.text)
    except ValueError:
        return None
    if not isinstance(body, Mapping) or not {"data", "errors"} & body.keys():
        return None
    return _json(body)


def _json(body: Mapping[str, Json]) -> CtlOutput:
    """Write a body in the layout of jiffy 2.0.2, which gives an empty list or object three lines, too.

    This was read in its source, and seen with 1.1.1. The exit code is 1 if the body has errors.
    """
    text = json.dumps(body, ensure_ascii=False, indent=2, separators=(",", " : "))
    text = _EMPTY.sub(r"\1\2\n\1  \n\1\3", text)
    return CtlOutput(f"{text}\n", _FAILED if "errors" in body else 0)


DIALECT: Final = CtlDialect("mongooseimctl", _read, _write)
