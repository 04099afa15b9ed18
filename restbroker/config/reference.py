"""Texts about the keys, made from their one definition: the reference page's tables, the sample and the JSON schema.

`restbroker config init` writes the sample, `restbroker config schema` prints the schema, which editors use, and `make
reference` writes `docs/configuration.md` and `env.json.sample`. Always holds: a test compares both files with this; the
schema accepts every file that loads, except for legacy spellings.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, assert_never

import attrs

from restbroker.config.core import Config
from restbroker.config.events import Events, EventSource, Filter, Route
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
from restbroker.config.kind import Defaults, defaults_of
from restbroker.config.periodic import PeriodicCommand
from restbroker.config.roster import QueryKey, Roster, RosterAuth
from restbroker.config.target import Auth, Basic, Bearer, Target, TlsFiles
from restbroker.config.tokens import Token
from restbroker.job.json_types import Json

SAMPLE_SECRET = "change-me"  # noqa: S105  a placeholder

_HEAD = "| key | form | meaning |\n|---|---|---|\n"

_PARTS: Mapping[str, Members] = {
    "Configuration": Config,
    "Targets": Target,
    "Auth": Auth,
    "Auth.Basic": Basic,
    "Auth.Bearer": Bearer,
    "TLS": TlsFiles,
    "Tokens": Token,
    "Periodic": PeriodicCommand,
    "Roster": Roster,
    "Roster.Auth": RosterAuth,
    "Roster.Auth.Key": QueryKey,
    "Events": Events,
    "Events.Sources": EventSource,
    "Events.Sources.Only": Filter,
    "Events.Sources.Routes": Route,
}
"""The classes of keys by the heading under which the page has their table."""

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


def renew(page: str, kinds: Mapping[str, Members], sources: Mapping[str, Members] = NO_KINDS) -> str:
    """Return the reference page with its tables updated to the present keys; `kinds` and `sources` as in `config.load`.

    The sections on kinds' options are made completely, other text stays as it is. Raise `ValueError` if a table is
    missing.
    """
    for heading, members in _PARTS.items():
        table = re.compile(rf"(^#+ {re.escape(heading)}\n(?:(?:[^#|\n].*)?\n)*)(?:\|.*\n)+", re.MULTILINE)
        found = table.search(page)
        if found is None:
            raise ValueError(f"The page has no table under the heading {heading}.")
        page = page[: found.start()] + found[1] + _table(members) + page[found.end() :]
    before, _, after = page.partition("\n## Options of ")
    # A kind of source without options has no table.
    named = [(f"Options of {kind}", members) for kind, members in kinds.items()]
    named += [(f"Options of the source {kind}", members) for kind, members in sources.items() if keys_of(members)]
    options = [part for name, members in named for part in _with_parts(name, members)]
    return before + "".join(options) + after[after.index("\n## Traps") :]


def _with_parts(name: str, members: Members) -> Iterator[str]:
    """Yield the section on a class of keys, and one on the keys of each object inside it that has none yet."""
    yield f"\n## {name}\n{_other_defaults(members)}\n{_table(members)}"
    for key in keys_of(members).values():
        said = notation_of(key.type)
        inner = notation_of(said.entry) if isinstance(said, Names) else said
        if isinstance(inner, Keys) and inner.members not in _PARTS.values():
            yield from _with_parts(f"{name}: {key.name}", inner.members)


def _other_defaults(options: Members) -> str:
    """Return a sentence on the other defaults of the kind with these options; "" if it has the usual ones."""
    own = attrs.evolve(defaults_of(options), url="", login=None, takes_token=False)
    if own == Defaults():
        return ""
    keeps = f", `IdleExpiry` {own.idle_expiry_s:g}s" if own.idle_expiry_s != Defaults().idle_expiry_s else ""
    host = "" if own.domain_is_host else " `Domain` is not the Host header."
    return f"\nWithout them, `Concurrency` is {own.concurrency}{keeps} and `RequestTimeout` {own.timeout_s:g}s.{host}\n"


def key_description(members: Members, key: Key) -> str:
    """Return the description of a key, in sentences; the page says once that a key and its file exclude each other."""
    parts = [key.meaning]
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


def _table(members: Members) -> str:
    """Return a class' table; a secret and its file share a row, and so do the flat keys that `Targets` has too."""
    keys = keys_of(members)
    files = {f"{name}File" for name in keys} & keys.keys()
    of_targets = [name for name, key in keys.items() if key.of_target == name and not key.aliases]
    rows = []
    for name, key in keys.items():
        if name not in files and name not in of_targets:
            file = f"{name}File" if f"{name}File" in files else None
            names = f"`{name}`" + ("" if file is None else f", `{file}`")
            rows.append(f"| {names} | {_form_and_default(key, file)} | {key_description(members, key)} |\n")
    if of_targets:
        rows.append(f"| {', '.join(f'`{name}`' for name in of_targets)} | | as in [Targets](#targets) |\n")
    return _HEAD + "".join(rows)


def _form_and_default(key: Key, file: str | None) -> str:
    """Return what a key takes, and what it is without; "" for a text that may be missing."""
    form = _form(key.type)
    if key.mandatory is not None:
        when = "" if key.mandatory == "always" else key.mandatory.removeprefix(f"or {file}").removeprefix(",").strip()
        rule = f"**mandatory** {when}".strip()
        return rule if form == "text" else f"{form}, {rule}"
    if key.default is None:
        return "" if form == "text" else form
    default = f"default `{json.dumps(key.default)}`"
    return default if form in ("text", "true or false") else f"{form}, {default}"


def _form(annotation: Any) -> str:  # noqa: ANN401  a type
    match notation_of(annotation):
        case Form(name, schema):
            options = schema.get("enum")
            if isinstance(options, list):
                return ", ".join(f"`{option if isinstance(option, str) else json.dumps(option)}`" for option in options)
            low, high = schema.get("minimum"), schema.get("maximum")
            return name if low is None else f"{name}, {low} to {high}"
        case Items(name) | Names(name):
            return name
        case OptionsOf() | Keys():
            return "object"
        case other:
            assert_never(other)


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


def write(kinds: Mapping[str, Members], sources: Mapping[str, Members], root: Path = Path()) -> None:
    """Write both files, the reference page and the sample, under the directory `root`."""
    page = root / "docs" / "configuration.md"
    page.write_text(renew(page.read_text(encoding="utf-8"), kinds, sources), encoding="utf-8")
    (root / "env.json.sample").write_text(sample_text(), encoding="utf-8")
