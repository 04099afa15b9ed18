"""Find out which key a name in a file or the environment means.

Called by `config.converter` and `config.variables`. The Go original read its keys with Go's JSON (any case, null means
default), never read `Concurrency` but the misspelt `Concurreny`, and took unknown keys silently (measured). Always
holds: what is read differently from how it is written leaves a note, and an unknown name is a problem.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType
from typing import Final

from restbroker.config.document import is_comment
from restbroker.config.key import Key, Members, keys_of
from restbroker.config.problems import Problems, at, printable_name
from restbroker.job.json_types import Json


@cache
def spellings(members: Members) -> Mapping[str, Key]:
    """Return every key of the class by each of its spellings, in lower case."""
    keys = keys_of(members).values()
    return MappingProxyType({name.lower(): key for key in keys for name in (key.name, *key.aliases)})


def fold(members: Members, document: Mapping[str, Json], place: str, problems: Problems) -> dict[str, Json]:
    """Return the members of an object under their proper names, without comments, nulls and empty texts.

    Null and an empty text mean the default. Only the object's own names are changed, not those inside its members. Each
    name that is no key becomes a problem in `problems`, each other spelling a note.
    """
    known = spellings(members)
    folded: dict[str, Json] = {}
    for name, value in document.items():
        if is_comment(name):
            continue
        key = known.get(name.lower())
        if key is None:
            meant = nearest(members, name)
            hint = f"; did you mean {meant}?" if meant else "."
            problems.refuse(at(place, printable_name(name)), f"is not a key of {place or 'restbroker'}{hint}")
            continue
        if value is None or value == "":
            continue
        if key.ignored is not None:
            problems.note("KeyIgnored", f"{key.name} is ignored: {key.ignored}.", "Remove it.")
        elif name.lower() != key.name.lower():
            if any(other.lower() == key.name.lower() for other in document):
                problems.note("KeyIgnored", f"{name} is ignored, since {key.name} is given.", f"Remove {name}.")
                continue
            problems.note("KeyMisspelt", f"{name} is read as {key.name}.", f"Rename it to {key.name}.")
        folded[key.name] = value
    return folded


_SYNONYMS: Final = {"cron": "periodic"}
"""What people write for a key that is called differently, in small letters."""


def nearest(members: Members, name: str) -> str:
    """Return the key whose name or alias is spelt most like this name, or "" if none is similar."""
    names = {spelling: key.name for spelling, key in spellings(members).items()}
    found = get_close_matches(_SYNONYMS.get(name.lower(), name.lower()[:60]), names, n=1, cutoff=0.6)
    return names[found[0]] if found else ""
