"""How a value is written, which its type alone does not say; put beside the type by `Annotated`.

Used in the annotations of keys (`config.forms` has those that several keys share); read by `config.converter`, the
schema, the reference page and everything that shows values. Always holds: a form never turns one type into another
silently (`true` is no 1, `3.7` is no 3); a plain `bool`, `str` or `Literal` needs no form, and an attrs class is an
object of its keys.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

import attrs

from restbroker.config.values import DURATION_PATTERN, BadValue, is_plain, json_or_text, seconds
from restbroker.job.json_types import Json

_DIGITS = re.compile(r"[+-]?\d{1,30}", re.ASCII)
_NO_TIME = re.compile(r"0+(?:\.0+)?(?: ?(?:ms|s|m|min|h|d|w))?", re.ASCII)


@attrs.frozen(eq=False)
class Form:
    """The form of a single value.

    `read` returns the value typed, or raises `BadValue`, or `BadValues` for an object; `from_text` turns a variable's
    text into what `read` takes.
    """

    name: str
    schema: Mapping[str, Json]
    read: Callable[[Json], object]
    from_text: Callable[[str], Json] = json_or_text


@attrs.frozen(eq=False)
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


@attrs.frozen(eq=False)
class Names:
    """The form of an object whose members' names the operator chooses; they match `pattern`, described by `expected`.

    `entry` is the type of a member; `is_tuple`: the result is a tuple of the members, each of which holds its own name.
    """

    name: str
    pattern: str
    expected: str
    entry: Any = None
    is_tuple: bool = False


@attrs.frozen
class OptionsOf:
    """The form of an object whose members are the keys of a kind, which the neighbouring key `Kind` names.

    `of` says whether these are kinds of targets or of sources.
    """

    of: Literal["targets", "sources"]


@attrs.frozen
class Keys:
    """The form of an object that is read as this class of keys."""

    members: type[attrs.AttrsInstance]


@attrs.frozen
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
        (annotation,) = (one for one in get_args(annotation) if one is not NoneType)
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
