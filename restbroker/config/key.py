"""The description of one key, kept at the field that takes its value, and how that value is written.

Used by every class of keys: those of the file (`config.core`), those inside them (`config.target` and others), and the
options of each kind of target. What a type alone does not say of a value is the form put beside it by `Annotated`;
`config.forms` has the forms that several keys share. Always holds: reading, schema and reference page come from this
one description, the field's type and the docstring below it; a form never turns one type into another silently (`true`
is no 1, `3.7` is no 3); a plain `bool`, `str` or `Literal` needs no form, and an attrs class is an object of its keys.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Never, TypeAlias, TypeVar, Union, get_args, get_origin

import attrs

from restbroker.config.secret import Secret
from restbroker.config.values import DURATION_PATTERN, BadValue, is_plain, json_or_text, seconds
from restbroker.job.json_types import Json
from restbroker.light import frozen

_DIGITS = re.compile(r"[+-]?\d{1,30}", re.ASCII)
_NO_TIME = re.compile(r"0+(?:\.0+)?(?: ?(?:ms|s|m|min|h|d|w))?", re.ASCII)


@frozen(eq=False)
class Form:
    """The form of a single value.

    `read` returns the value typed, or raises `BadValue`, or `BadValues` for an object; `from_text` turns a variable's
    text into what `read` takes.
    """

    name: str
    schema: Mapping[str, Json]
    read: Callable[[Json], object]
    from_text: Callable[[str], Json] = json_or_text


@frozen(eq=False)
class Items:
    """The form of a list; `expected` is the text of the error for another value.

    `each` is the form of an element, if the type does not say it; `item` is the type of an element. `weights` is the
    type of an object that may stand in place of the list; None: it may not.
    """

    name: str
    expected: str
    each: Form | None = None
    item: Any = None
    weights: Any = None


@frozen(eq=False)
class Names:
    """The form of an object whose members' names the operator chooses; they match `pattern`, described by `expected`.

    `entry` is the type of a member; `is_tuple`: the result is a tuple of the members, each of which holds its own name.
    """

    name: str
    pattern: str
    expected: str
    entry: Any = None
    is_tuple: bool = False


@frozen
class OptionsOf:
    """The form of an object whose members are the keys of a kind, which the neighbouring key `Kind` names.

    `of` says whether these are kinds of targets or of sources.
    """

    of: Literal["targets", "sources"]


@frozen
class Keys:
    """The form of an object that is read as this class of keys."""

    members: type[attrs.AttrsInstance]


@frozen
class LateBound:
    """An attrs class of this package, whose module is loaded only when it is needed: many files have no such key."""

    module: str
    name: str

    def load(self) -> type[attrs.AttrsInstance]:
        """Return the class."""
        found: type[attrs.AttrsInstance] = getattr(import_module(f"restbroker.config.{self.module}"), self.name)
        return found


Notation: TypeAlias = Form | Items | Names | OptionsOf | Keys


@cache
def notation_of(annotation: Any) -> Notation:  # noqa: ANN401  a type
    """Return how values of this type are written, leaving None aside; raise `TypeError` for a type without a form."""
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (arg for arg in get_args(annotation) if arg is not NoneType)
    match get_origin(annotation):
        case _ if isinstance(annotation, Notation):
            return annotation
        case _ if isinstance(annotation, LateBound):
            return Keys(annotation.load())
        case _ if annotation is bool:
            return SWITCH
        case _ if annotation is str:
            return TEXT
        case one if one is Literal:
            return choice(*get_args(annotation))
        case one if one is Annotated:
            return _with_inner(*get_args(annotation))
        case _ if attrs.has(annotation):
            return Keys(annotation)
        case _:
            raise TypeError(f"Values of {annotation} have no written form.")


def _with_inner(bare: Any, said: Notation) -> Notation:  # noqa: ANN401  a type
    is_tuple, inner = get_origin(bare) is tuple, get_args(bare)
    match said:
        case Items(each=each):
            listed, weights = (bare, None) if is_tuple else inner
            item = get_args(listed)[0]
            return attrs.evolve(said, item=item if each is None else Annotated[item, each], weights=weights)
        case Names():
            return attrs.evolve(said, entry=inner[0 if is_tuple else 1], is_tuple=is_tuple)
        case _:
            return said


def text(expected: str = "a string") -> Form:
    """Return the form of any text without control characters."""

    def read(value: Json) -> str:
        if not isinstance(value, str):
            raise BadValue(expected, value)
        if not is_plain(value):
            raise BadValue(f"{expected} without line breaks and control characters", value)
        return value

    return Form("text", {"type": "string"}, read, str)


def word(name: str, pattern: str, expected: str) -> Form:
    """Return the form of a text that matches `pattern`; `name` and `expected` describe it to people."""

    def read(value: Json) -> str:
        # Compiled when it is needed: a quick command reads few keys.
        if not isinstance(value, str) or not re.fullmatch(pattern, value) or not is_plain(value):
            raise BadValue(expected, value)
        return value

    return Form(name, {"type": "string", "pattern": f"^({pattern})$"}, read, str)


def choice(*options: str) -> Form:
    """Return the form of a word that is one of these."""
    expected = "one of " + ", ".join(f'"{option}"' for option in options)

    def read(value: Json) -> str:
        if not isinstance(value, str) or value not in options:
            raise BadValue(expected, value)
        return value

    return Form("word", {"enum": list(options)}, read, str)


def whole(least: int, most: int) -> Form:
    """Return the form of a whole number within these bounds, both included."""
    expected = f"a whole number from {least} to {most}"

    def read(value: Json) -> int:
        if isinstance(value, str) and _DIGITS.fullmatch(value):
            raise BadValue(f"{expected} (written without quotes)", value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise BadValue(expected, value)
        return value

    return Form("whole number", {"type": "integer", "minimum": least, "maximum": most}, read)


def duration(most_days: int = 1, *, none: bool = False) -> Form:
    """Return the form of a duration, read as seconds: a number of seconds, or a text with a unit such as "5m".

    It is more than 0 and at most `most_days`; with `none`, 0 is allowed too.
    """
    schema: list[Json] = [
        {"type": "number", "exclusiveMinimum": 0, "maximum": most_days * 86_400.0},
        {"type": "string", "pattern": DURATION_PATTERN},
    ]
    if not none:
        return Form("duration", {"anyOf": schema}, lambda value: seconds(value, most_days))

    def read(value: Json) -> float:
        is_none = not isinstance(value, bool) and (value == 0 or (isinstance(value, str) and _NO_TIME.fullmatch(value)))
        return 0.0 if is_none else seconds(value, most_days)

    return Form("duration, or 0", {"anyOf": [{"anyOf": schema}, {"const": 0}]}, read)


def _switch(value: Json) -> bool:
    if not isinstance(value, bool):
        raise BadValue("true or false (written without quotes)", value)
    return value


def lower_json(text: str) -> Json:
    """Return a variable's text as JSON after folding its case, so that `True` and `FALSE` are read."""
    return json_or_text(text.strip().lower())


TEXT = text()
SWITCH = Form("true or false", {"type": "boolean"}, _switch, lower_json)
ANYTHING = Form("anything", {}, lambda value: value)
"""For keys that are understood and ignored: a wrong type of an unused value is no reason to stop."""


@frozen
class Key:
    """One key of a file. Its texts are written for the reference page; `type` is the value's type with its form.

    What it means is the docstring below `field` in the class `owner`, which `config.reference` reads; a text that is
    computed is its `meaning` instead. `default` is the default as JSON. `mandatory`: when the key must be present.
    `ignored`: why it is understood but has no effect. `aliases`: other spellings. `instead_of`: the keys that say the
    same in another way, of which only one may be used. `of_target`: the member of `Targets` for which this flat key
    stands.
    """

    name: str
    default: Json = None
    meaning: str = ""
    secret: bool = False
    mandatory: str | None = None
    ignored: str | None = None
    aliases: tuple[str, ...] = ()
    instead_of: tuple[str, ...] = ()
    of_target: str | None = None
    type: Any = None
    owner: Any = None
    field: str = ""


Members = type[attrs.AttrsInstance]
T = TypeVar("T", bound=attrs.AttrsInstance)
NO_KINDS: Final[Mapping[str, Members]] = MappingProxyType({})


class UnusableKind(KeyError):
    """There is no such kind, or it cannot be used; `why` tells people the reason."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why: Final = why


class Kinds(Mapping[str, Members]):
    """The class of options of each kind, by name; a kind's module is loaded only when its class is requested.

    `load` returns the class of a kind, even of one that `names` does not list, or raises `KeyError`. `failed` returns a
    text for people about an unforeseen error that such a class raised, or raises that error itself.
    """

    def __init__(
        self,
        names: Collection[str],
        load: Callable[[str], Members],
        failed: Callable[[str, Exception], str] | None = None,
    ) -> None:
        self._names: Final = names
        self._load: Final = load
        self._failed: Final = failed

    def failure_text(self, kind: str, error: Exception) -> str:
        """Return a text for people about an unforeseen error of this kind's options; raise it if it is our own."""
        if self._failed is None:
            raise error
        return self._failed(kind, error)

    def __getitem__(self, kind: str) -> Members:
        return self._load(kind)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def key(name: str, *unnamed: Never, default: object = None, in_repr: bool = True, **more: Any) -> Any:  # noqa: ANN401  as attrs.field
    """Return the field of a class of keys for the key `name`; the docstring below the field says what the key means.

    `more` are further attributes of `Key`, and `shown`: the default as JSON, to be left out if it is the default itself
    or there is none to show. `in_repr` False: its value may hold a secret, so that no `repr` has it. Raise `TypeError`
    for an `unnamed` text or default.
    """
    _refuse_unnamed(name, unnamed)
    is_written = isinstance(default, str | int | float) and default != ""
    shown = more.pop("shown", default if is_written else None)
    return attrs.field(default=default, repr=in_repr, metadata={"key": Key(name, shown, **more)})


def secret(  # as attrs.field
    name: str,
    *unnamed: Never,
    default: Secret | None = None,
    default_shown: Json = None,
    kw_only: bool = False,
    **more: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Return a field for a secret: the key `name` holds its text, or the key `name` + "File" the path of its file.

    The docstring below the field says what the secret is. Raise `TypeError` for an `unnamed` text or default.
    """
    _refuse_unnamed(name, unnamed)
    file = Key(f"{name}File", meaning="A file with it.", instead_of=(name,), of_target=more.get("of_target"), type=str)
    keys = (Key(name, default_shown, secret=True, type=str, **more), file)
    return attrs.field(default=default, kw_only=kw_only, metadata={"secret": keys})


def _refuse_unnamed(name: str, unnamed: tuple[object, ...]) -> None:
    if unnamed:
        raise TypeError(f'key("{name}"): write its text as a docstring below the field, and its default as default=…')


def inline(members: Members, default: object = None, each: Callable[[Key], Key | None] | None = None) -> Any:  # noqa: ANN401  as attrs.field
    """Return a field whose own keys are members of the surrounding object; its default counts if none of them is there.

    `each` adapts a key of `members` to this object; if it returns None, the object does not have that key.
    """
    return attrs.field(default=default, metadata={"inline": members, "each": each})


@cache
def keys_of(members: Members) -> Mapping[str, Key]:
    """Return every key of a class by its name, in the order of the reference page."""
    found: dict[str, Key] = {}
    for field in attrs.fields(members):
        match field.metadata:
            case {"key": Key() as one}:
                found[one.name] = attrs.evolve(one, type=one.type or field.type, owner=members, field=field.name)
            case {"secret": (Key() as one, Key() as file)}:
                found |= {one.name: attrs.evolve(one, owner=members, field=field.name), file.name: file}
            case {"inline": inner, "each": each}:
                seen = [key if each is None else each(key) for key in keys_of(inner).values()]
                found |= {key.name: key for key in seen if key is not None}
            case _:
                pass  # what is no key is set by what checks the whole
    return MappingProxyType(found)


def make(members: type[T], found: Mapping[str, Any]) -> T:
    """Return an instance of the class with the values `found` for its keys, by name."""
    given: dict[str, object] = {}
    for field in attrs.fields(members):
        match field.metadata:
            case {"key": Key(name)} if name in found:
                given[field.alias or field.name] = found[name]
            case {"secret": (Key(name), _)} if name in found:
                given[field.alias or field.name] = Secret(found[name])
            case {"secret": (_, Key(name))} if name in found:
                given[field.alias or field.name] = Secret(path=Path(found[name]))
            case {"inline": inner} if not keys_of(inner).keys().isdisjoint(found):
                given[field.alias or field.name] = make(inner, found)
            case _:
                pass
    return members(**given)


def exclusive_pairs(members: Members) -> Iterator[tuple[str, str]]:
    """Yield each pair of keys that say one thing in two ways."""
    for described in keys_of(members).values():
        yield from ((other, described.name) for other in described.instead_of)
