"""The JSON Schema of a job, made from the catalogues of targets. `restbroker commands --schema` prints it.

Always holds: a job of a command that is not known passes, as do members of others and what is JSON text; the schema has
names, types and rules, and no value of a configuration, so no secret. `job_schema.json` has what holds for every job.
It keeps to the strict mode of ajv: one type at a place, which `if` asks for, and a list of positions has its length.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

from restbroker.job.command import ArgumentSpec, Catalogue, CommandSpec
from restbroker.job.json_types import Json

_SECRET: Final[Mapping[str, Json]] = {"description": "A secret.", "writeOnly": True}
_POSITIONS: Final = ("_command", "_arguments", "_token", "_reply_id")
_STRING: Final[Json] = {"type": "string"}
_TYPES: Final[Mapping[str, str]] = {"string": "string", "integer": "integer", "list": "array"}


def job_schema(targets: Iterable[tuple[Catalogue, str | None]]) -> Json:
    """Return the schema for jobs of these targets: the commands and the default host of each.

    What any of them takes is valid, in the form of any version that its server may have.
    """
    names: dict[str, list[Json]] = {}
    forms: defaultdict[str, list[Json]] = defaultdict(list)
    for catalogue, default_host in targets:
        for name, spec in catalogue.commands.items():
            names[name] = [*dict.fromkeys((name, name.replace(".", "/") if catalogue.is_dotted else name))]
            for form in (spec, *spec.others):
                if (found := _arguments(form, default_host)) not in forms[name]:
                    forms[name].append(found)
    schema: dict[str, Any] = json.loads((files(__package__) / "job_schema.json").read_text("utf-8"))
    schema["$defs"] |= {name: form[0] if len(form) == 1 else {"anyOf": form} for name, form in forms.items()}
    schema["properties"]["args"]["else"]["else"]["allOf"] = [_of_length(length, names) for length in (3, 4)]
    return schema


def _of_length(length: int, names: Mapping[str, list[Json]]) -> Json:
    """Return the schema of `args` with so many elements."""
    rules: list[Json] = [_positions(*({"$ref": f"#/$defs/{name}"} for name in _POSITIONS), length=length)]
    for name, spellings in names.items():
        arguments = {"$ref": "#/$defs/" + quote(name.replace("~", "~0").replace("/", "~1"))}
        condition = _positions({"enum": spellings}, length=length)
        rules.append({"if": condition, "then": _positions(True, arguments, length=length)})
    return {"if": {"type": "array", "minItems": length, "maxItems": length}, "then": {"allOf": rules}}


def _positions(*values: Json, length: int) -> dict[str, Json]:
    """Return the schema of a list of this length, with these values at its beginning."""
    return {"prefixItems": [*values, True, True, True][:length], "minItems": length, "maxItems": length}


def _arguments(spec: CommandSpec, default_host: str | None) -> Json:
    """Return the schema of a command's arguments in each form; a keyword says nothing of values of another type."""
    named = [((argument.name, *argument.aliases), argument) for argument in spec.arguments]
    values = {name: _value(arg) for names, arg in named for name in names}
    values |= dict.fromkeys(["user"] * spec.fills_user + ["host"] * spec.fills_host, _STRING)
    entries = [entry for name, value in values.items() for entry in _entries(name, value)]
    required: list[Json] = []
    contained: list[Json] = []
    for names, arg in named:
        is_needed = not (arg.optional or (default_host is not None and "host" in names))
        if is_needed:
            required.append({"anyOf": [{"properties": {name: True}, "required": [name]} for name in names]})
        named_so = [entry for name in names for entry in _entries(name, True)]
        contained.append({"contains": {"anyOf": named_so}, "minContains": int(is_needed), "maxContains": 1})
    entry: Json = {"anyOf": entries} if entries and not spec.takes_more else spec.takes_more
    found: Json = {
        "description": f"repeat: {spec.repeat}",
        "if": {"type": "object"},
        "then": {
            "type": "object",
            "properties": values,
            "additionalProperties": spec.takes_more,
            "allOf": required or [True],
        },
        "else": {
            "if": {"type": "array"},
            "then": {"type": "array", "items": entry, "allOf": contained or [True]},
            "else": {"$ref": "#/$defs/_text" if required else "#/$defs/_text_or_none"},
        },
    }
    return {"anyOf": [found, {"type": "array", "minItems": 1, "items": _STRING}]} if spec.bare else found


def _entries(name: str, value: Json) -> list[Json]:
    """Return the schemas of an argument in a list: a pair, or an object with one key."""
    pair: Json = {"type": "array", **_positions({"const": name}, value, length=2)}
    return [pair, {"type": "object", "properties": {name: value}, "required": [name], "maxProperties": 1}]


def _value(argument: ArgumentSpec) -> Json:
    """Return the schema of an argument's value."""
    if argument.type == "any":
        return {**_SECRET} if argument.secret else True
    found: dict[str, Json] = {"type": [_TYPES[argument.type], "null"] if argument.optional else _TYPES[argument.type]}
    if argument.element is not None:
        found["items"] = {"type": argument.element}
    if argument.nonempty:
        found["minLength"] = 1
    return {**found, **_SECRET} if argument.secret else found
