"""Turns texts from a command line into the types that a command takes. Pure; called by `enqueue`.

Always holds: a value that is no text is already typed and passes unchanged, as does an argument unknown to the command;
jobs from producers never pass through here.
"""

import re
from collections.abc import Mapping
from typing import assert_never

from restbroker.errors import UsageError
from restbroker.job.command import ArgumentSpec, CommandSpec
from restbroker.job.json_types import Json


def coerce(spec: CommandSpec, given: Mapping[str, Json]) -> dict[str, Json]:
    """Return the arguments with their texts turned into integers and lists where the command takes these.

    `{"days": "30"}` becomes `{"days": 30}`, `{"groups": "a,b"}` becomes `{"groups": ["a", "b"]}`. Raise `UsageError` if
    a text is no integer where one is needed, or is given where a list of objects is.
    """
    return {name: _value(spec, name, value) for name, value in given.items()}


def _value(spec: CommandSpec, name: str, value: Json) -> Json:
    argument = spec.argument(name)
    if argument is None or not isinstance(value, str):
        return value
    match argument.type:
        case "string" | "any":
            return value
        case "integer":
            return _integer(spec, argument, value)
        case "list":
            return _list(spec, argument, value)
        case _:
            assert_never(argument.type)


def _integer(spec: CommandSpec, argument: ArgumentSpec, text: str) -> int:
    # int() would also take "1_000", " 7 " and digits of other scripts.
    if re.fullmatch(r"-?[0-9]{1,100}", text) is None:
        found = "something else" if argument.secret else _describe(text)
        raise UsageError(
            f"{spec.name}: {argument.name} must be an integer, not {found}.", f"For example: {argument.name}=30"
        )
    return int(text)


def _describe(text: str) -> str:
    """Return the text in quotes if it plainly is a number in another notation, else its length: it may be a secret."""
    if re.fullmatch(r"[+-]?[0-9][0-9.,_]{0,15} ?[A-Za-z%]{0,3}", text) is not None:
        return f'"{text}"'
    return f"a string of {len(text)} character{'' if len(text) == 1 else 's'}"


def _list(spec: CommandSpec, argument: ArgumentSpec, text: str) -> list[Json]:
    if argument.element == "object":
        raise UsageError(
            f"{spec.name}: {argument.name} is a list of objects and cannot be given as plain text.",
            f"Give it as JSON: {argument.name}:='[{{…}}]'",
        )
    return [part.strip() for part in text.split(",")] if text else []
