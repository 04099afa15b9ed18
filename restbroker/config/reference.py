"""Texts about the keys, made from their one definition: the sample and the JSON schema.

`restbroker config init` writes the sample, `restbroker config schema` prints the schema, which editors use; the
reference page is made by `dev.tools.config_page`. Always holds: a test compares `env.json.sample` with this; the schema
accepts every file that loads, except for legacy spellings; no source is read before a text is needed.
"""

import ast
import inspect
import json
import sys
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final, assert_never

from restbroker.config.core import Config
from restbroker.config.key import (
    NO_KINDS,
    Form,
    Items,
    Key,
    Keys,
    Members,
    Names,
    OptionsOf,
    exclusive_pairs,
    keys_of,
    notation_of,
)
from restbroker.job.json_types import Json

SAMPLE_SECRET = "change-me"  # noqa: S105  a placeholder


_TARGETS: Final = OptionsOf("targets")
_OF_LISTED_KINDS: Final[Mapping[str, Json]] = MappingProxyType(
    {
        "if": {"properties": {"Kind": {"$ref": "#/$defs/kinds"}}},
        "then": {"properties": {"Options": {"anyOf": [{"$ref": "#/$defs/targets"}, {"type": "null"}]}}},
    }
)
"""Checks the options of listed kinds only: those of a kind from another package only that package knows."""


def sample(token: str = SAMPLE_SECRET) -> dict[str, Json]:
    """Return a complete configuration to start from, with this token."""
    return {
        "//": "Every key is described in docs/configuration.md. Keys that begin with // or _ are comments.",
        "RedisURL": "redis://127.0.0.1:6379/0",
        "RestURL": "http://127.0.0.1:5281/api",
        "RestAuth": "auto",
        "RestUser": "admin@example.org",
        "RestPass": SAMPLE_SECRET,
        "JabberDomain": "example.org",
        "RestQueue": "rest",
        "ResponseQueue": "rest_replies",
        "Token": token,
        "History": "24h",
        "Concurrency": 20,
        "RequestTimeout": "10s",
        "ShutdownTimeout": "25s",
        "LogLevel": "info",
    }


def sample_text(token: str = SAMPLE_SECRET) -> str:
    """Return the sample as the text of a file."""
    return json.dumps(sample(token), indent=2) + "\n"


def key_description(members: Members, key: Key) -> str:
    """Return the description of a key, in sentences; the page says once that a key and its file exclude each other."""
    parts = [meaning] if (meaning := meaning_of(key)) else []
    if key.ignored is not None:
        parts.append(f"Ignored: {key.ignored}.")
    if key.aliases:
        parts.append(f"Also read as {', '.join(key.aliases)}.")
    own_file = (f"{key.name}File", key.name.removesuffix("File"))
    rival = [other for pair in exclusive_pairs(members) for other in pair if key.name in pair and other != key.name]
    others = [other for other in rival if other not in own_file]
    if others:
        parts.append(f"Not together with {' or '.join(others)}.")
    return " ".join(parts)


def meaning_of(key: Key) -> str:
    """Return what a key means, in sentences; "" where its source is missing, since only compiled files are there."""
    return key.meaning or _docstrings(key.owner.__module__).get((key.owner.__name__, key.field), "")


@cache
def _docstrings(module: str) -> Mapping[tuple[str, str], str]:
    """Return the docstring below each field of a module's classes, by the names of class and field."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except OSError:
        return {}
    found: dict[tuple[str, str], str] = {}
    for owner in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for statements in pairwise(owner.body):
            match statements:
                case (ast.AnnAssign(ast.Name(field)), ast.Expr(ast.Constant(str(text)))):
                    found[owner.name, field] = " ".join(text.split())
                case _:
                    pass
    return found


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
    found = _schema_of(key.type)
    form: dict[str, Json] = {"anyOf": [found, {"type": "null"}]} if found else {}
    return {"description": key_description(members, key), **more, **form}


def _schema_of(annotation: Any) -> dict[str, Json]:  # noqa: ANN401  a type
    match notation_of(annotation):
        case Form(schema=schema):
            return dict(schema)
        case Items(item=item, weights=weights):
            items: dict[str, Json] = {"type": "array", "items": _schema_of(item)}
            return items if weights is None else {"anyOf": [items, _schema_of(weights)]}
        case Names(pattern=pattern, entry=entry):
            names = f"^({pattern})$"
            return {
                "type": "object",
                "patternProperties": {"^(_|//)": {}, names: _schema_of(entry)},
                "additionalProperties": False,
            }
        case Keys(members):
            return _object(members)
        case OptionsOf() as options:
            return {"type": "object"} if options == _TARGETS else {"$ref": f"#/$defs/{options.of}"}
        case other:
            assert_never(other)
