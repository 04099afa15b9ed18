"""What a type alone does not say about a value: how it is written. Put beside the type by `Annotated`.

Used in the annotations of keys (`config.forms` has those that several share); followed by `config.converter`, by the
schema, the reference page and whatever shows values. Always holds: a form never turns one type into another silently
(`true` is no 1, `3.7` is no 3); a plain `bool`, `str` or `Literal` needs none, an attrs class is an object of its keys.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin

import attrs

from restbroker.config.values import BadValue, is_plain, json_or_text, seconds
from restbroker.job.json_types import Json

_DIGITS = re.compile(r"[+-]?\d{1,30}", re.ASCII)
_NO_TIME = re.compile(r"0+(?:\.0+)?(?:ms|s|m|h|d)?", re.ASCII)


@attrs.frozen(eq=False)
class Form:
    """A single value. `read` returns it typed or raises `BadValue`; `from_text` reads a variable's text into what
    `read` takes. `part`: how a part of a variable's name is written as a member, where the value may be an object.
    """

    name: str
    schema: Mapping[str, Json]
    read: Callable[[Json], object]
    from_text: Callable[[str], Json] = json_or_text
    part: Callable[[str], str] = str.capitalize


@attrs.frozen(eq=False)
class Items:
    """A list. `expected`: what is wanted where something else is found. `each`: the form of what is in it, where the
    type does not say it. `item`: the type of that; `weights`: of an object that may stand for the list, if one may.
    """

    name: str
    expected: str
    each: Form | None = None
    item: Any = None
    weights: Any = None


@attrs.frozen(eq=False)
class Names:
    """An object whose members' names are the operator's. `part`: as for `Form`. `entry`: the type of a member;
    `is_tuple`: each has its own name.
    """

    name: str
    pattern: str
    expected: str
    part: Callable[[str], str] = str.lower
    entry: Any = None
    is_tuple: bool = False


@attrs.frozen
class OptionsOf:
    """An object whose members are the keys of a kind, which its neighbour `Kind` names.

    `of`: whose kinds these are.
    """

    of: Literal["targets", "sources"]


class KindOptions(dict[str, Json]):
    """Such an object, with the class of the kind that was named."""

    def __init__(self, members: type[attrs.AttrsInstance], options: Mapping[str, Json]) -> None:
        super().__init__(options)
        self.members: Final = members


@attrs.frozen
class Rival:
    """A value beside another that says the same in another way, so that neither counts."""

    value: Json


@attrs.frozen
class Keys:
    """An object that is read as this class of keys."""

    members: type[attrs.AttrsInstance]


@attrs.frozen
class LateBound:
    """An attrs class whose module is loaded when somebody looks at it: many files have no such key."""

    load: Callable[[], type[attrs.AttrsInstance]]


Notation: TypeAlias = Form | Items | Names | OptionsOf | Keys


@cache
def notation_of(annotation: Any) -> Notation:  # noqa: ANN401  a type
    """How values of this type are written, None apart."""
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
            raise TypeError(f"It is not said how a value of {annotation} is written.")


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


def text(expected: str = "a text") -> Form:
    """Any text without control characters."""

    def read(value: Json) -> str:
        if not isinstance(value, str):
            raise BadValue(expected, value)
        if not is_plain(value):
            raise BadValue(f"{expected} without line breaks and control characters", value)
        return value

    return Form("text", {"type": "string"}, read, str)


def word(name: str, pattern: str, expected: str) -> Form:
    """A text of this form."""

    def read(value: Json) -> str:
        # Compiled when it is needed: a quick command reads few keys.
        if not isinstance(value, str) or not re.fullmatch(pattern, value) or not is_plain(value):
            raise BadValue(expected, value)
        return value

    return Form(name, {"type": "string", "pattern": f"^({pattern})$"}, read, str)


def choice(*options: str) -> Form:
    """One of these words."""
    expected = "one of " + ", ".join(f'"{option}"' for option in options)

    def read(value: Json) -> str:
        if not isinstance(value, str) or value not in options:
            raise BadValue(expected, value)
        return value

    return Form("word", {"enum": list(options)}, read, str)


def whole(least: int, most: int) -> Form:
    """A whole number in these bounds, both included."""
    expected = f"a whole number from {least} to {most}"

    def read(value: Json) -> int:
        if isinstance(value, str) and _DIGITS.fullmatch(value):
            raise BadValue(f"{expected} (written without quotes)", value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise BadValue(expected, value)
        return value

    return Form("whole number", {"type": "integer", "minimum": least, "maximum": most}, read)


def duration(most_days: int = 1, *, none: bool = False) -> Form:
    """A duration as seconds: a number of seconds, or a text with a unit; at most so many days. `none`: or 0."""
    schema: list[Json] = [
        {"type": "number", "exclusiveMinimum": 0, "maximum": most_days * 86_400.0},
        {"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d)$"},
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
    """A variable's `True` or `FALSE`."""
    return json_or_text(text.strip().lower())


TEXT = text()
SWITCH = Form("true or false", {"type": "boolean"}, _switch, lower_json)
ANYTHING = Form("anything", {}, lambda value: value)
"""For keys that are understood and ignored: a wrong type of what nobody reads is no reason to stop."""
