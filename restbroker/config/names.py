"""Which key a name in a file or the environment means.

Called by `config.reader` and `config.variables`. The Go original read its keys with Go's JSON (any case, null means
default), never read `Concurrency` but the misspelt `Concurreny`, and took unknown keys silently (measured). Always
holds: whatever is read differently from how it is written leaves a note, and what is unknown is a problem.
"""

from collections.abc import Mapping
from difflib import get_close_matches

from restbroker.config.document import is_comment
from restbroker.config.key import Key, Members, keys_of
from restbroker.config.review import Review, at, shown
from restbroker.job.json_types import Json


def spellings(members: Members) -> dict[str, Key]:
    """Every key of the class by each of its spellings, in lower case."""
    return {name.lower(): key for key in keys_of(members).values() for name in (key.name, *key.aliases)}


def fold(members: Members, document: Mapping[str, Json], place: str, review: Review) -> dict[str, Json]:
    """The members that count, under their proper names. Null and an empty text mean the default."""
    known = spellings(members)
    folded: dict[str, Json] = {}
    for name, value in document.items():
        if is_comment(name):
            continue
        key = known.get(name.lower())
        if key is None:
            whose = place or "restbroker"
            review.refuse_unknown(at(place, shown(name)), f"is no key of {whose}{nearest(members, name) or '.'}")
            continue
        if value is None or value == "":
            continue
        if key.ignored is not None:
            review.note("KeyIgnored", f"{key.name} is ignored: {key.ignored}.", "Remove it.")
        elif name.lower() != key.name.lower():
            if any(other.lower() == key.name.lower() for other in document):
                review.note("KeyIgnored", f"{name} is ignored, since {key.name} is given.", f"Remove {name}.")
                continue
            review.note("KeyMisspelt", f"{name} is read as {key.name}.", f"Rename it to {key.name}.")
        folded[key.name] = value
    return folded


def nearest(members: Members, name: str) -> str:
    """`; did you mean X?` for the known key that is written most like this name, or nothing."""
    names = {spelling: key.name for spelling, key in spellings(members).items()}
    found = get_close_matches(name.lower()[:60], names, n=1, cutoff=0.6)
    return f"; did you mean {names[found[0]]}?" if found else ""
