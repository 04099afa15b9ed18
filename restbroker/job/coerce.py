"""Turns texts from a command line into the types that a command takes. Pure; called by `enqueue`.

Always holds: a value that is no text is already typed and passes unchanged, as does an argument unknown to the
command; jobs from producers never pass through here.
"""

import re
from collections.abc import Mapping
from typing import assert_never

from restbroker.errors import UsageError
from restbroker.job.command import ArgumentSpec, CommandSpec
from restbroker.job.json_types import Json


def coerce(spec: CommandSpec, given: Mapping[str, Json]) -> dict[str, Json]:
    """The arguments with texts made integers and lists where the command wants these.

    `{"days": "30"}` becomes `{"days": 30}`, `{"groups": "a,b"}` becomes `{"groups": ["a", "b"]}`. Raises `UsageError`.
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
        found = "something else" if argument.secret else f'"{text[:40]}"'
        raise UsageError(
            f"{spec.name}: {argument.name} must be an integer, not {found}.", f"For example: {argument.name}=30"
        )
    return int(text)


def _list(spec: CommandSpec, argument: ArgumentSpec, text: str) -> list[Json]:
    if argument.element == "object":
        raise UsageError(
            f"{spec.name}: {argument.name} is a list of objects and cannot be given as plain text.",
            f"Give it as JSON: {argument.name}:='[{{…}}]'",
        )
    return [part.strip() for part in text.split(",")] if text else []
