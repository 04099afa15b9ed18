"""The JSON schema of the file, for editors; made from the one description of each key.

`restbroker config schema` prints it. Always holds: it accepts every file that loads, except for legacy spellings.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, assert_never

from restbroker.config.core import Config
from restbroker.config.form import Form, Items, Keys, Names, OptionsOf, notation_of
from restbroker.config.key import NO_KINDS, Key, Members, keys_of
from restbroker.config.reference import key_description
from restbroker.job.json_types import Json

_TARGETS: Final = OptionsOf("targets")
_OF_LISTED_KINDS: Final[Mapping[str, Json]] = MappingProxyType(
    {
        "if": {"properties": {"Kind": {"$ref": "#/$defs/kinds"}}},
        "then": {"properties": {"Options": {"anyOf": [{"$ref": "#/$defs/targets"}, {"type": "null"}]}}},
    }
)
"""Checks the options of listed kinds only: those of a kind from another package only that package knows."""


def schema(kinds: Mapping[str, Members], sources: Mapping[str, Members] = NO_KINDS) -> dict[str, Json]:
    """Return the JSON schema of the file; `kinds` and `sources` are those of `config.load`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "restbroker's env.json",
        **_object(Config),
        "anyOf": [{"required": ["RestQueue"]}, {"required": ["Targets"]}],
        "$defs": {"kinds": {"enum": [*kinds]}, "targets": _one_of(kinds), "sources": _one_of(sources)},
    }


def _one_of(kinds: Mapping[str, Members]) -> dict[str, Json]:
    return {"anyOf": [_object(options) for options in kinds.values()]} if kinds else {}


def _object(members: Members) -> dict[str, Json]:
    keys = keys_of(members)
    always: list[Json] = [key.name for key in keys.values() if key.mandatory == "always"]
    return {
        "type": "object",
        "properties": {key.name: _describe(members, key) for key in keys.values()},
        "patternProperties": {"^(_|//)": {}},
        "additionalProperties": False,
        **({"required": always} if always else {}),
        **(_OF_LISTED_KINDS if any(notation_of(key.type) == _TARGETS for key in keys.values()) else {}),
    }


def _describe(members: Members, key: Key) -> dict[str, Json]:
    more: dict[str, Json] = {} if key.default is None else {"default": key.default}
    if key.ignored is not None:
        more["deprecated"] = True
    # null means the default for every key.
    found = _form(key.type)
    form: dict[str, Json] = {"anyOf": [found, {"type": "null"}]} if found else {}
    return {"description": key_description(members, key), **more, **form}


def _form(annotation: Any) -> dict[str, Json]:  # noqa: ANN401  a type
    match notation_of(annotation):
        case Form(schema=schema):
            return dict(schema)
        case Items(item=item, weights=weights):
            items: dict[str, Json] = {"type": "array", "items": _form(item)}
            return items if weights is None else {"anyOf": [items, _form(weights)]}
        case Names(pattern=pattern, entry=entry):
            names = f"^({pattern})$"
            return {
                "type": "object",
                "patternProperties": {"^(_|//)": {}, names: _form(entry)},
                "additionalProperties": False,
            }
        case Keys(members):
            return _object(members)
        case OptionsOf() as options:
            return {"type": "object"} if options == _TARGETS else {"$ref": f"#/$defs/{options.of}"}
        case other:
            assert_never(other)
