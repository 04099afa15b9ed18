"""Read JSON as attrs classes: strict, and reporting every wrong shape instead of only the first.

Called by `config.load`. cattrs finds the hook of each type. All hooks are our own, since those of cattrs take `3.7` for
3, `true` for 1 and "abc" for a list; none is generated, since that costs more than reading a class once, as we do.
Always holds: a value that its key does not take becomes a problem that says where it is, what is expected and what was
found (unless it is secret), and is left out; an unknown name is a problem; a name that is read differently from how it
is written leaves a note; a type without a form is refused. The Go original read its keys with Go's JSON (any case, null
means default), never read `Concurrency` but the misspelt `Concurreny`, and took unknown keys silently (measured).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType
from typing import Any, Final, Literal, NoReturn, TypeAlias

import attrs
from cattrs import BaseConverter

from restbroker.config.document import is_comment
from restbroker.config.key import (
    SWITCH,
    TEXT,
    Form,
    Items,
    Key,
    Keys,
    Kinds,
    Members,
    Names,
    OptionsOf,
    T,
    exclusive_pairs,
    keys_of,
    make,
    notation_of,
)
from restbroker.config.problems import Problems, at, printable_name
from restbroker.config.values import BadValue, BadValues
from restbroker.job.json_types import Json

_Hook: TypeAlias = Callable[[Any, Any], Any]
"""Returns the value typed; None after a problem."""
_SYNONYMS: Final = {"cron": "periodic"}
"""What people write for a key that is called differently, in small letters."""
_GONE: Final = {
    "http2": 'is not a key any more: behind nginx, commands that were done over HTTP/2 were called "not done". Remove '
    "it; requests go over HTTP/1.1. A worker of your own reaches a server that speaks HTTP/2 only."
}
"""Why a key went and what to do, by its name in small letters."""


def read(members: type[T], document: Mapping[str, Json], problems: Problems) -> T:
    """Return `document` as an object of the class `members`, without the parts that cannot be read.

    Its own names must have their proper spelling (`fold`). Each part that cannot be read becomes a problem in
    `problems`. Options of an unknown kind are left as they are.
    """
    return _DocumentReading(problems).members(members, document)


class _DocumentReading:
    """One reading of a document; `_place` is that of the value being read, `_is_secret` whether its key is secret."""

    def __init__(self, problems: Problems) -> None:
        self._problems: Final = problems
        self._place = ""
        self._is_secret = True
        self._converter: Final = BaseConverter()
        self._converter.register_structure_hook_factory(lambda _: True, self._hook)
        # For these cattrs asks no factory.
        self._converter.register_structure_hook(str, self._single(TEXT))
        self._converter.register_structure_hook(bool, self._single(SWITCH))
        for plain in (int, float, bytes):
            self._converter.register_structure_hook(plain, _refuse_type)

    @contextmanager
    def _inside(self, part: str, *, is_secret: bool | None = None) -> Iterator[None]:
        outer = self._place, self._is_secret
        self._place = at(self._place, part)
        self._is_secret = self._is_secret if is_secret is None else is_secret
        try:
            yield
        finally:
            self._place, self._is_secret = outer

    def _refuse(self, bad: BadValue) -> None:
        self._problems.refuse(at(self._place, bad.where), bad.text(secret=self._is_secret))

    def members(self, members: type[T], folded: Mapping[str, Json]) -> T:
        """Return an object of the class, whose members are `folded`; refuse each two of them that say the same."""
        for first, other in exclusive_pairs(members):
            if first in folded and other in folded:
                names = [self._problems.as_written(at(self._place, name)) for name in (first, other)]
                self._problems.refuse(" and ".join(names), "say the same thing in two ways; keep one.")
        keys, kind = keys_of(members), folded.get("Kind")
        found = {name: self._member(keys[name], value, kind) for name, value in folded.items()}
        return make(members, {name: member for name, member in found.items() if member is not None})

    def _member(self, key: Key, value: Json, kind: Json) -> object:
        with self._inside(key.name, is_secret=key.secret):
            match notation_of(key.type):
                case OptionsOf(of) if isinstance(value, Mapping) and isinstance(kind, str):
                    return self._options(of, kind, value)
                case _:
                    return self._value(key.type, value)

    def _value(self, annotation: Any, value: Json) -> Any:  # noqa: ANN401  of any type
        return self._converter.get_structure_hook(annotation)(value, None)

    def _options(self, of: Literal["targets", "sources"], kind: str, value: Mapping[str, Json]) -> object:
        kinds = self._problems.kinds if of == "targets" else self._problems.sources
        try:
            members = kinds.get(kind)
            return value if members is None else self._object(members, value)
        # The options of an installed package may raise anything; what those of our own raise is a bug, and goes on.
        except Exception as error:
            if not isinstance(kinds, Kinds):
                raise
            self._problems.refuse(self._place, kinds.failure_text(kind, error))
            return None

    def _object(self, members: type[T], value: Mapping[str, Json]) -> T:
        return self.members(members, fold(members, value, self._place, self._problems))

    def _hook(self, annotation: Any) -> _Hook:  # noqa: ANN401  a type
        match notation_of(annotation):
            case Form() as form:
                return self._single(form)
            case Items() as items:
                return lambda value, _: self._items(items, value)
            case Names() as names:
                return lambda value, _: self._names(names, value)
            case OptionsOf():
                return lambda value, _: self._mapping(value, "an object")
            case Keys(members):
                return lambda value, _: self._keys(members, value)

    def _single(self, form: Form) -> _Hook:
        def read(value: Json, _: object) -> object:
            try:
                return form.read(value)
            except BadValue as bad:
                self._refuse(bad)
            except BadValues as several:
                for problem in several.each:
                    self._refuse(problem)
            return None

        return read

    def _mapping(self, value: Json, expected: str) -> Mapping[str, Json] | None:
        if isinstance(value, Mapping):
            return value
        self._refuse(BadValue(expected, value))
        return None

    def _keys(self, members: Members, value: Json) -> object:
        found = self._mapping(value, f"an object of {', '.join(keys_of(members))}")
        return None if found is None else self._object(members, found)

    def _items(self, items: Items, value: Json) -> object:
        if isinstance(value, Mapping) and items.weights is not None:
            return self._value(items.weights, value)
        if not isinstance(value, list):
            self._refuse(BadValue(items.expected, value))
            return None
        found = []
        for number, item in enumerate(value):
            with self._inside(f"[{number}]"):
                found.append(self._value(items.item, item))
        return tuple(found)

    def _names(self, names: Names, value: Json) -> object:
        found: dict[str, Any] = {}
        for name, member in (self._mapping(value, f"an object: {names.name}") or {}).items():
            if is_comment(name):
                continue
            shown = printable_name(name)
            if not re.fullmatch(names.pattern, name):
                # A name is no secret, even that of one.
                with self._inside(shown, is_secret=False):
                    self._refuse(BadValue(names.expected, shown))
            with self._inside(shown):
                made = self._value(names.entry, member)
            if made is not None:
                found[name] = attrs.evolve(made, name=name) if names.is_tuple else made
        return tuple(found.values()) if names.is_tuple else found


def _refuse_type(_: object, __: object) -> NoReturn:
    raise TypeError("This value has no written form.")


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
            why = _GONE.get(name.lower()) or f"is not a key of {place or 'restbroker'}{hint}"
            problems.refuse(at(place, printable_name(name)), why)
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


def nearest(members: Members, name: str) -> str:
    """Return the key whose name or alias is spelt most like this name, or "" if none is similar."""
    names = {spelling: key.name for spelling, key in spellings(members).items()}
    found = get_close_matches(_SYNONYMS.get(name.lower(), name.lower()[:60]), names, n=1, cutoff=0.6)
    return names[found[0]] if found else ""
