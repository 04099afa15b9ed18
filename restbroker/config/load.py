"""Loads the configuration: file, environment and flags, merged, read key by key and judged as a whole.

Called by every command that needs one. Always holds: the result is usable, or a `ConfigError` names every key that
is wrong, with its place and what was found; nothing else is ever raised for what an operator wrote.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import attrs

from restbroker.config import document, legacy
from restbroker.config.build import build
from restbroker.config.core import EXCLUSIVE, Keys, Loaded, Note, all_keys
from restbroker.config.values import BadValue, describe
from restbroker.errors import ConfigError
from restbroker.rules.json_types import Json

PREFIX = "RESTBROKER_"
_OTHER_VARIABLES = ("CONFIG", "REDIS_SERVER")
# Kubernetes sets these in every pod beside a service that is called "restbroker".
_SERVICE_LINK = re.compile(r"SERVICE_(HOST|PORT(_.*)?)|PORT(_.*)?")


@attrs.frozen
class Given:
    """A value and the name under which the operator wrote it."""

    value: Json
    origin: str


def load(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Json], kinds: Mapping[str, type]
) -> Loaded:
    """The configuration from flag > environment > file > default. Raises `ConfigError`.

    `path` is what `--config` named. `overrides` are flags under their keys' names. `kinds` gives for each kind of
    target the class of its options, which is called with the keyword `server_version`; the flat keys mean the first.
    """
    problems: list[str] = []
    notes: list[Note] = []
    found, given = collect(path, environ, overrides, problems, notes)
    keys = _read(given, problems)
    if problems:
        raise _unusable(problems, found)
    base = found.parent if found is not None else Path()
    config = build(keys, base, kinds, problems, notes)
    if config is None:
        raise _unusable(problems, found)
    return Loaded(config, tuple(notes), found)


def collect(
    path: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, Json],
    problems: list[str],
    notes: list[Note],
) -> tuple[Path | None, dict[str, Given]]:
    """The file, and what was written for each key by whoever wins, unread. Raises `ConfigError` without any."""
    found = document.find(path, environ)
    given: dict[str, Given] = {}
    if found is not None:
        folded, noted = legacy.fold(document.read(found), problems)
        notes.extend(noted)
        _refuse_doubles(folded, problems)
        given = {name: Given(value, name) for name, value in folded.items()}
    variables = _variables(environ, given, notes)
    if found is None and not variables:
        raise document.nothing_found()
    _lay_over(given, variables, problems)
    _lay_over(given, {name: Given(value, f"{name} (flag)") for name, value in overrides.items()}, problems)
    return found, given


def _variables(environ: Mapping[str, str], below: Mapping[str, Given], notes: list[Note]) -> dict[str, Given]:
    """The values of `RESTBROKER_*`: any case and underscores as in `REST_URL`, parts of an object after `__`.

    An empty variable counts as not set, since compose files set those. Unknown ones are only noted: the environment
    is shared with others.
    """
    known = legacy.spellings()
    found: dict[str, Given] = {}
    for variable in sorted(environ):
        rest = variable.removeprefix(PREFIX)
        if rest == variable or rest in _OTHER_VARIABLES or _SERVICE_LINK.fullmatch(rest) or not environ[variable]:
            continue
        head, _, part = rest.partition("__")
        key = known.get(head.replace("_", "").lower())
        if key is None:
            nearest = legacy.nearest(head.replace("_", "")) or "."
            notes.append(Note("UnknownVariable", f"The variable {variable} is no key of restbroker{nearest}"))
            continue
        value = key.kind.from_text(environ[variable])
        if part:
            under = found.get(key.name) or below.get(key.name)
            whole = under.value if under is not None and isinstance(under.value, Mapping) else {}
            value = {**whole, part.capitalize(): value}
        found[key.name] = Given(value, variable)
    return found


def _lay_over(given: dict[str, Given], above: Mapping[str, Given], problems: list[str]) -> None:
    _refuse_doubles(above, problems)
    for pair in EXCLUSIVE:
        if any(name in above for name in pair):
            for name in pair:
                given.pop(name, None)
    given.update(above)


def _refuse_doubles(names: Mapping[str, object], problems: list[str]) -> None:
    problems.extend(
        f"{one} and {other}: say the same thing in two ways; keep one."
        for one, other in EXCLUSIVE
        if one in names and other in names
    )


def _read(given: Mapping[str, Given], problems: list[str]) -> Keys:
    read: dict[str, object] = {}
    for field, key in all_keys().items():
        entry = given.get(key.name)
        if entry is None:
            continue
        try:
            read[field] = key.kind.read(entry.value)
        except BadValue as bad:
            place = f"{entry.origin}.{bad.where}" if bad.where else entry.origin
            found = describe(bad.found, secret=key.secret)
            problems.append(f"{place}: expected {bad.expected}, found {found}.")
    # Typed by each key's own reader, which mypy cannot follow through a table.
    return Keys(**read)  # type: ignore[arg-type]


def _unusable(problems: list[str], path: Path | None) -> ConfigError:
    place = "The configuration from the environment" if path is None else str(path)
    lines = "".join(f"\n  {problem}" for problem in problems)
    return ConfigError(f"{place} cannot be used:{lines}", "`restbroker config schema` describes every key.")
