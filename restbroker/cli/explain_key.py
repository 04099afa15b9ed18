"""What `restbroker explain` says of a key of env.json, and of the options of a kind; loaded if a word may be one.

Always holds: it needs no configuration and no Redis; a key that stands in several places has a row for each meaning;
an example is a value that the key takes.
"""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from restbroker.app.reload import takes_effect
from restbroker.config.converter import read
from restbroker.config.core import Config
from restbroker.config.key import Key, Keys, Members, Names, OptionsOf, keys_of, notation_of
from restbroker.config.problems import Problems
from restbroker.config.reference import key_description, sample
from restbroker.config.values import json_or_text
from restbroker.events import registry as sources
from restbroker.job.json_types import Json
from restbroker.servers import registry

_VALUES = r'\{".*?\}(?![}"])|\[.*?\]|"[^"]*"|(?:(?<=e\.g\. )|(?<=such as ))[^\s"{[][^\s:;,)]*[^\s:;,).]'
"""Finds the values that a text shows: objects, lists, quoted words, and the word behind "e.g." or "such as"."""


def _places(members: Members = Config, path: str = "", kind: str = "") -> Iterator[tuple[str, str, Members, Key]]:
    """Yield each key behind its place, with * for what the operator names, and the kind of its options ("": none)."""
    for key in keys_of(members).values():
        yield path + key.name, kind, members, key
        said, below = notation_of(key.type), f"{path}{key.name}." + "*." * isinstance(notation_of(key.type), Names)
        inner = getattr(said, "entry", getattr(said, "item", None))
        said = said if inner is None else notation_of(inner)
        options = (registry if said.of == "targets" else sources).kinds() if isinstance(said, OptionsOf) else {}
        for name, found in ({kind: said.members} if isinstance(said, Keys) else options).items():
            yield from _places(found, below, name)


def names() -> set[str]:
    """Return each key, and `KIND.Options` for each kind that has some."""
    return {name for _, kind, _, key in _places() for name in (key.name, f"{kind}.Options" if kind else key.name)}


def rows_of(word: str) -> list[dict[str, Any]]:
    """Return what is known of this key, ignoring case; of `KIND.Options`, what is of each option. Empty: there is none.

    The key may stand behind a kind, or behind its whole place, as errors show it: `Targets.chat.Queues[1]`.
    """
    wanted, found = re.sub(r"\[\d*\]", "", word.casefold()), dict[str, dict[str, Any]]()
    for place, kind, members, key in _places():
        fronts = ("", f"{kind}.", f"{kind}.Options.")
        words = {f"{front}{name}".casefold() for name in (key.name, *key.aliases) for front in fronts}
        is_listed = bool(kind) and wanted == f"{kind}.options"
        if is_listed or wanted in words or fnmatchcase(wanted, place.casefold()):
            row = _row(members, key, takes_effect(place))
            same = found.setdefault(f"{row}{place if is_listed else ''}", {**row, "where": ""})
            shown = place.replace("*", "NAME") + (f" of {kind}" if kind else "" if "." in place else " at the top")
            same["where"] += ", " * bool(same["where"]) + shown
    return list(found.values())


def _row(members: Members, key: Key, when: str) -> dict[str, Any]:
    meaning, file = key_description(members, key), f"{key.name}File"
    value = "".join(_problems(members, key, -0.5)).partition("expected ")[2].rpartition(", found")[0] or "anything"
    texts = [*re.findall(_VALUES, meaning), json.dumps(key.default), *re.findall(_VALUES, value)]
    shown = (sample().get(key.name), *map(json_or_text, texts)) if not key.secret or key.name.endswith("URL") else ()
    fits = (one for one in shown if one is not None and not _problems(members, key, one))
    return {
        "code": key.name,
        "what": "a key of env.json",
        "meaning": meaning,
        "value": value + (f"; or in the file that {file} names" if file in keys_of(members) else ""),
        "mandatory": key.mandatory and re.sub("^or ", "it or ", key.mandatory),
        "default": key.default,
        "example": next((f'"{key.name}": {json.dumps(one, ensure_ascii=False)}' for one in fits), None),
        "takes_effect": "never" if key.ignored else when,
    }


def _problems(members: Members, key: Key, value: Json) -> list[str]:
    """Return what is wrong with this value of a key; the text says what is right."""
    problems = Problems()
    read(members, {key.name: value}, problems)
    return problems.problems
