"""Find out which key a name in a file or the environment means.

Called by `config.converter` and `config.variables`. The Go original read its keys with Go's JSON (any case, null means
default), never read `Concurrency` but the misspelt `Concurreny`, and took unknown keys silently (measured). Always
holds: what is read differently from how it is written leaves a note, and an unknown name is a problem.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from restbroker.config.document import is_comment
from restbroker.config.form import ConflictingValue, Form, Items, Keys, KindOptions, Names, OptionsOf, notation_of
from restbroker.config.key import Key, Members, exclusive_pairs, keys_of
from restbroker.config.problems import Problems, at, printable_name
from restbroker.job.json_types import Json


@cache
def spellings(members: Members) -> Mapping[str, Key]:
    """Return every key of the class by each of its spellings, in lower case."""
    keys = keys_of(members).values()
    return MappingProxyType({name.lower(): key for key in keys for name in (key.name, *key.aliases)})


def canonical(annotation: Any, value: Json, place: str, problems: Problems) -> Json:  # noqa: ANN401  a type
    """Return the value with the proper spelling of each name in it and without comments.

    A text that a variable set at `place` is read by the form of its key.
    """
    match notation_of(annotation), value:
        case Keys(members), Mapping():
            return normalise_members(members, value, place, problems)
        case Names(entry=entry), Mapping():
            entries = {name: one for name, one in value.items() if not is_comment(name)}
            return {
                name: canonical(entry, one, at(place, printable_name(name)), problems) for name, one in entries.items()
            }
        case Items(weights=weights), Mapping() if weights is not None:
            return canonical(weights, value, place, problems)
        case Items(item=item), list():
            return [canonical(item, one, f"{place}[{number}]", problems) for number, one in enumerate(value)]
        case Form() as form, _ if not isinstance(value, Mapping) and (text := problems.text_of(place)) is not None:
            # Which key a variable's part is may follow from another key, and only then can its text be read. In an
            # object there may be other variables' parts.
            return form.from_text(text)
        case _:
            return value


def canonical_members(members: Members, folded: Mapping[str, Json], place: str, problems: Problems) -> dict[str, Any]:
    """Return the members of an object with the proper spelling of each name inside them; their own are proper already.

    Options become `KindOptions` if `Kind` names a known kind. Two members that say the same thing become a problem in
    `problems`, and each of them a `ConflictingValue`.
    """
    keys = keys_of(members)
    found: dict[str, Json] = {}
    for name, one in folded.items():
        said, kind, where = notation_of(keys[name].type), folded.get("Kind"), at(place, name)
        if isinstance(said, OptionsOf) and isinstance(one, Mapping) and isinstance(kind, str):
            options = (problems.kinds if said.of == "targets" else problems.sources).get(kind)
            found[name] = (
                one if options is None else KindOptions(options, normalise_members(options, one, where, problems))
            )
        else:
            found[name] = canonical(keys[name].type, one, where, problems)
    return _refuse_doubles(members, found, place, problems)


def normalise_members(
    members: Members, document: Mapping[str, Json], place: str, problems: Problems
) -> dict[str, Json]:
    """Return the members of an object, without comments and defaults, with the proper spelling of each name in them.

    Each name that is no key becomes a problem in `problems`.
    """
    return canonical_members(members, fold(members, document, place, problems), place, problems)


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
            problems.add(at(place, printable_name(name)), f"is not a key of {place or 'restbroker'}{hint}")
            if meant and meant.lower() not in {other.lower() for other in document}:
                problems.leave_out(at(place, meant))
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


def _refuse_doubles(members: Members, found: dict[str, Json], place: str, problems: Problems) -> dict[str, Any]:
    """Return the members, each of two that say the same as a `ConflictingValue`, after a problem for each such pair."""
    both = [(one, other) for one, other in exclusive_pairs(members) if one in found and other in found]
    for one, other in both:
        names = f"{problems.as_written(at(place, one))} and {problems.as_written(at(place, other))}"
        problems.problems.append(f"{names}: say the same thing in two ways; keep one.")
        problems.leave_out(at(place, one))
        problems.leave_out(at(place, other))
    said_twice = {name for pair in both for name in pair}
    return {name: ConflictingValue(one) if name in said_twice else one for name, one in found.items()}
