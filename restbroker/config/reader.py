"""Reads JSON into a class of keys: each value by its kind, whatever is inside of it too.

Called by `config.load` for the file's keys and by `config.build_targets` for a target's options. Always holds: a
value that its kind does not take becomes a problem that says where it is, what is wanted and what was found; a
secret's value is not said.
"""

from collections.abc import Mapping
from typing import TypeVar, assert_never

import attrs

from restbroker.config.document import is_comment
from restbroker.config.key import Key, Members, keys_of, rivals
from restbroker.config.kinds import Kind, ListOf, MapOf, ObjectOf, OptionsOf, Scalar
from restbroker.config.names import fold
from restbroker.config.review import Review, at, shown
from restbroker.config.values import BadValue, describe
from restbroker.job.json_types import Json

T = TypeVar("T", bound=attrs.AttrsInstance)


def instance(members: type[T], folded: Mapping[str, Json], place: str, review: Review) -> T:
    """The class with every member read. What cannot be read keeps its default and is a problem in `review`."""
    read: dict[str, object] = {}
    for field, key in keys_of(members).items():
        if key.name in folded:
            value = _value(key.kind, folded[key.name], at(place, key.name), key, review)
            if value is not None:
                read[field] = value
    return members(**read)


def unfolded(members: type[T], document: Mapping[str, Json], place: str, review: Review) -> T:
    """As `instance`, for an object whose members have any spelling."""
    folded = fold(members, document, place, review)
    refuse_doubles(members, folded, place, review)
    return instance(members, folded, place, review)


def refuse_doubles(members: Members, names: Mapping[str, object], place: str, review: Review) -> None:
    """Two ways to say one thing are a problem."""
    for one, other in rivals(members):
        if one in names and other in names:
            both = f"{review.named(at(place, one))} and {review.named(at(place, other))}"
            review.problems.append(f"{both}: say the same thing in two ways; keep one.")


def _value(kind: Kind, value: Json, place: str, key: Key, review: Review) -> object:
    match kind:
        case Scalar():
            # Which key a variable's part is may follow from another key, and only then can its text be read. In an
            # object there may be other variables' parts.
            text = None if isinstance(value, Mapping) else review.text_of(place)
            try:
                return kind.read(value if text is None else kind.from_text(text))
            except BadValue as bad:
                _refuse(at(place, bad.where), bad.expected, bad.found, key, review)
        case ListOf():
            return _listed(kind, value, place, key, review)
        case MapOf():
            if isinstance(value, Mapping):
                return _entries(kind, value, place, key, review)
            _refuse(place, f"an object: {kind.name}", value, key, review)
        case ObjectOf():
            if isinstance(value, Mapping):
                return unfolded(kind.members, value, place, review)
            names = ", ".join(key.name for key in keys_of(kind.members).values())
            _refuse(place, f"an object of {names}", value, key, review)
        case OptionsOf():
            if isinstance(value, Mapping):
                return value
            _refuse(place, "an object", value, key, review)
        case _:
            assert_never(kind)
    return None


def _listed(kind: ListOf, value: Json, place: str, key: Key, review: Review) -> object:
    if isinstance(value, list):
        items = enumerate(value)
        return tuple(_value(kind.item, item, f"{place}[{number}]", key, review) for number, item in items)
    if isinstance(value, Mapping) and kind.weighed is not None:
        return _entries(kind.weighed, value, place, key, review)
    _refuse(place, kind.expected, value, key, review)
    return None


def _entries(kind: MapOf, entries: Mapping[str, Json], place: str, key: Key, review: Review) -> dict[str, object]:
    read: dict[str, object] = {}
    for name, value in entries.items():
        if is_comment(name):
            continue
        where = at(place, shown(name))
        if not kind.names.fullmatch(name):
            review.refuse(where, f"expected {kind.expected}, found {describe(shown(name))}.")
        read[name] = _value(kind.entry, value, where, key, review)
    return read


def _refuse(place: str, expected: str, found: Json, key: Key, review: Review) -> None:
    review.refuse(place, f"expected {expected}, found {describe(found, secret=key.secret)}.")
