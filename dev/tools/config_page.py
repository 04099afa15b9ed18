"""Writes the tables of docs/configuration.md from the keys, and env.json.sample. `make docs` does.

Always holds: a test compares both files with this.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, assert_never

import attrs

from restbroker.config.core import Config
from restbroker.config.events import Events, EventSource, Filter, Handover, Route
from restbroker.config.key import (
    NO_KINDS,
    Form,
    Items,
    Key,
    Keys,
    Members,
    Names,
    OptionsOf,
    keys_of,
    notation_of,
)
from restbroker.config.kind import Defaults, defaults_of
from restbroker.config.periodic import PeriodicCommand
from restbroker.config.reference import key_description, sample_text
from restbroker.config.roster import QueryKey, Roster, RosterAuth
from restbroker.config.target import Auth, Basic, Bearer, Target, TlsFiles
from restbroker.config.tokens import Token

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
    "Tell": Handover,
    "Roster": Roster,
    "Roster.Auth": RosterAuth,
    "Roster.Auth.Key": QueryKey,
    "Events": Events,
    "Events.Sources": EventSource,
    "Events.Sources.Only": Filter,
    "Events.Sources.Routes": Route,
}
"""The classes of keys by the heading under which the page has their table."""


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


def write(kinds: Mapping[str, Members], sources: Mapping[str, Members], root: Path = Path()) -> None:
    """Write both files, the reference page and the sample, under the directory `root`."""
    page = root / "docs" / "configuration.md"
    page.write_text(renew(page.read_text(encoding="utf-8"), kinds, sources), encoding="utf-8")
    (root / "env.json.sample").write_text(sample_text(), encoding="utf-8")
