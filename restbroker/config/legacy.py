"""What makes old files work: the spelling rules of the Go original, and the values that clients of it wrote.

Called by `config.load`. The original read its keys with Go's JSON (any case, null means default), never read
`Concurrency` but the misspelt `Concurreny`, and took unknown keys silently (measured). Always holds: whatever is
read differently from how it is written leaves a note.
"""

from collections.abc import Mapping
from difflib import get_close_matches

from restbroker.config.core import Key, Note, all_keys
from restbroker.config.document import is_comment
from restbroker.rules.json_types import Json


def spellings() -> dict[str, Key]:
    """Every key by each of its spellings, in lower case."""
    keys = all_keys().values()
    return {name.lower(): key for key in keys for name in (key.name, *key.aliases)}


def fold(document: Mapping[str, Json], problems: list[str]) -> tuple[dict[str, Json], list[Note]]:
    """The members that count, under their proper names. Unknown ones go to `problems` with the nearest known key."""
    known = spellings()
    folded: dict[str, Json] = {}
    notes: list[Note] = []
    for name, value in document.items():
        if is_comment(name):
            continue
        key = known.get(name.lower())
        if key is None:
            problems.append(f"{shown(name)}: is no key of restbroker{nearest(name) or '.'}")
            continue
        if value is None or value == "":
            continue
        if key.ignored is not None:
            notes.append(Note("KeyIgnored", f"{key.name} is ignored: {key.ignored}.", "Remove it."))
        elif name.lower() != key.name.lower():
            if any(other.lower() == key.name.lower() for other in document):
                notes.append(Note("KeyIgnored", f"{name} is ignored, since {key.name} is given.", f"Remove {name}."))
                continue
            notes.append(Note("KeyMisspelt", f"{name} is read as {key.name}.", f"Rename it to {key.name}."))
        folded[key.name] = value
    host = folded.get("RedisHost")
    if isinstance(host, str) and "://" in host and "RedisURL" not in folded:
        folded["RedisURL"] = folded.pop("RedisHost")
        notes.append(Note("KeyMisspelt", "The URL in RedisHost is read as RedisURL.", "Rename the key to RedisURL."))
    return folded, notes


def nearest(name: str) -> str:
    """`; did you mean X?` for the known key that is written most like this name, or nothing."""
    names = {spelling: key.name for spelling, key in spellings().items()}
    found = get_close_matches(name.lower()[:60], names, n=1, cutoff=0.6)
    return f"; did you mean {names[found[0]]}?" if found else ""


def shown(name: str) -> str:
    """A name from a file, safe to print."""
    text = "".join(c if c.isprintable() else "?" for c in name)
    return text if len(text) <= 60 else text[:59] + "…"
