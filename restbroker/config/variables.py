"""Merge the variables of the environment into the keys of the file.

Called by `config.load`. A variable is `RESTBROKER_` and the name of a key, in any case and with or without underscores
between the words; two underscores lead into an object: `RESTBROKER_TARGETS__MONGOOSE__CONCURRENCY`. Always holds: an
empty variable counts as not set, since compose files set those, and an unknown key is only noted, since the environment
is shared with other programs.
"""

import re
from collections.abc import Mapping
from typing import Any, assert_never

from restbroker.config.core import Config
from restbroker.config.form import Form, Items, Keys, Names, Notation, OptionsOf, notation_of
from restbroker.config.forms import AnyValue
from restbroker.config.key import Members, exclusive_pairs, keys_of
from restbroker.config.names import nearest, spellings
from restbroker.config.problems import Problems, at
from restbroker.config.values import json_or_text
from restbroker.job.json_types import Json

PREFIX = "RESTBROKER_"
FAST = "RESTBROKER_FAST"
"""No key: 0 turns the fast path off, 1 leaves it on, as if it were not set."""
_OTHER_VARIABLES = ("CONFIG", "FAST", "REDIS_SERVER")
# Kubernetes sets these in every pod beside a Service "restbroker" or "restbroker-…": a name, "=" and a value.
_SERVICE_LINK = re.compile(
    r"(.*_)?(SERVICE_(HOST|PORT(_.*)?)=.*|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=.*|PORT=(tcp|udp|sctp)://.*)"
)


def overlay(environ: Mapping[str, str], below: Mapping[str, Json], problems: Problems) -> dict[str, Json]:
    """Return the keys that variables set; if one sets a part of an object, with the rest of it from `below`."""
    known = spellings(Config)
    found: dict[str, Json] = {}
    # A whole object comes before its parts, which are set in it.
    for variable in sorted(environ):
        rest = variable.removeprefix(PREFIX)
        if variable == FAST and environ[variable] not in ("", "0", "1"):
            problems.refuse(FAST, f"expected 0 or 1, found {environ[variable][:60]!r}.")
        if rest == variable or rest in _OTHER_VARIABLES or not environ[variable]:
            continue
        if _SERVICE_LINK.match(f"{rest}={environ[variable]}"):
            continue
        head, *parts = rest.split("__")
        key = known.get(head.replace("_", "").lower())
        if key is None:
            meant = nearest(Config, head.replace("_", ""))
            hint = f"; did you mean {meant}?" if meant else "."
            problems.note("UnknownVariable", f"The variable {variable} is not a key of restbroker{hint}")
            continue
        under = found.get(key.name, below.get(key.name))
        place = key.name
        found[key.name] = _set(
            key.type, under, parts, text=environ[variable], place=place, variable=variable, problems=problems
        )
    return found


def _set(
    annotation: Any,  # noqa: ANN401  a type
    under: Json,
    parts: list[str],
    text: str,
    place: str,
    variable: str,
    problems: Problems,
) -> Json:
    """Return `under` with the part at the end of the path `parts` set to what `text` says."""
    said = notation_of(annotation)
    if not parts:
        problems.record_setter(place, variable, text)
        return said.from_text(text) if isinstance(said, Form) else json_or_text(text)
    members = dict(under) if isinstance(under, Mapping) else {}
    name = _member(said, parts[0], members)
    where = at(place, name)
    if isinstance(said, Keys):
        _drop_conflicting(said.members, name, members, place=place, problems=problems)
    members[name] = _set(
        _inside(said, name), members.get(name), parts[1:], text=text, place=where, variable=variable, problems=problems
    )
    return members


def _member(said: Notation, part: str, members: Mapping[str, Json]) -> str:
    """Return the member that a part of a variable's name means: one that is there, a known one, or a new one."""
    plain = _as_word if isinstance(said, Names) else _plain
    for name in members:
        if plain(name) == plain(part):
            return name
    match said:
        case Keys(known):
            return next((key.name for key in keys_of(known).values() if _plain(key.name) == _plain(part)), part)
        case Form() | Names():
            return said.part(part)
        case OptionsOf():
            return part.replace("_", "")
        case Items():
            return part
        case _:
            assert_never(said)


def _as_word(name: str) -> str:
    return name.replace("-", "_").lower()


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _inside(said: Notation, name: str) -> Any:  # noqa: ANN401  a type
    match said:
        case Keys(members):
            key = spellings(members).get(name.lower())
            return AnyValue if key is None else key.type
        case Names(entry=entry):
            return entry
        case _:
            return AnyValue


def _drop_conflicting(kind: Members, name: str, members: dict[str, Json], place: str, problems: Problems) -> None:
    """Remove from `members` the file's other way to say the same as `name`, but not one that another variable set."""
    for pair in exclusive_pairs(kind):
        if name in pair:
            for other in pair:
                if not problems.is_set(at(place, other)):
                    for spelt in [member for member in members if member.lower() == other.lower() and other != name]:
                        del members[spelt]
