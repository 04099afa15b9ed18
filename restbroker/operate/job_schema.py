"""The JSON Schema of a job, made from the catalogues of targets. `restbroker commands --schema` prints it.

Always holds: a job of a command that is not known passes, as do members of others and what is JSON text; the schema has
names, types and rules, and no value of a configuration, so no secret. `job_schema.json` has what holds for every job.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

from restbroker.job.command import ArgumentSpec, Catalogue, CommandSpec
from restbroker.job.json_types import Json

_SECRET: Final[Mapping[str, Json]] = {"format": "password", "writeOnly": True}
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
    schema["$defs"] |= {name: one[0] if len(one) == 1 else {"anyOf": one} for name, one in forms.items()}
    rules: list[Json] = [
        {
            "if": {"prefixItems": [{"enum": names[name]}]},
            "then": {"prefixItems": [True, {"$ref": "#/$defs/" + quote(name.replace("~", "~0").replace("/", "~1"))}]},
        }
        for name in forms
    ]
    schema["properties"]["args"]["then"]["allOf"] = rules or [True]
    return schema


def _arguments(spec: CommandSpec, default_host: str | None) -> Json:
    """Return the schema of a command's arguments in each form; a keyword says nothing of values of another type."""
    named = [((one.name, *one.aliases), one) for one in spec.arguments]
    values = {name: _value(one) for names, one in named for name in names}
    values |= dict.fromkeys(["user"] * spec.fills_user + ["host"] * spec.fills_host, _STRING)
    needed = {names: not (one.optional or (default_host is not None and "host" in names)) for names, one in named}
    entries = [entry for name, value in values.items() for entry in _entries(name, value)]
    rules: list[Json] = [{"anyOf": [{"required": [name]} for name in names]} for names in needed if needed[names]]
    for names, is_needed in needed.items():
        named_so = [entry for name in names for entry in _entries(name, True)]
        rules.append({"contains": {"anyOf": named_so}, "minContains": int(is_needed), "maxContains": 1})
    found: Json = {
        "description": f"repeat: {spec.repeat}",
        "type": ["object", "array", "string", *([] if any(needed.values()) else ["null"])],
        "properties": values,
        "additionalProperties": spec.takes_more,
        "items": {"anyOf": entries} if entries and not spec.takes_more else spec.takes_more,
        "allOf": rules or [True],
    }
    return {"anyOf": [found, {"type": "array", "minItems": 1, "items": _STRING}]} if spec.bare else found


def _entries(name: str, value: Json) -> list[Json]:
    """Return the schemas of an argument in a list: a pair, or an object with one key."""
    pair: Json = {"type": "array", "prefixItems": [{"const": name}, value], "minItems": 2, "maxItems": 2}
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
