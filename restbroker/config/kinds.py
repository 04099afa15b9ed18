"""The shapes that a key's value can have: a single value, a list, a map of names, an object of described members.

Made by `config.values` and by the classes of keys; followed by `config.reader`, `config.schema` and whatever shows
values. Always holds: these say what a value is, and read nothing themselves but a single value.
"""

import re
from collections.abc import Callable, Mapping
from typing import Literal

import attrs

from restbroker.job.json_types import Json


@attrs.frozen
class Scalar:
    """A value that is read as one.

    `read` returns it typed or raises `BadValue`. `from_text` reads a variable's text into what `read` takes. `part`
    is how a part of a variable's name is written as a member, where the value may be an object.
    """

    name: str
    schema: Mapping[str, Json]
    read: Callable[[Json], object]
    from_text: Callable[[str], Json]
    part: Callable[[str], str] = str.capitalize


@attrs.frozen
class ListOf:
    """A list. `expected` says what is wanted where something else is found. `weighed`: an object may stand for it."""

    name: str
    item: "Kind"
    expected: str
    weighed: "MapOf | None" = None


@attrs.frozen
class MapOf:
    """An object whose members' names are the operator's. `part`: as for `Scalar`."""

    name: str
    entry: "Kind"
    names: re.Pattern[str]
    expected: str
    part: Callable[[str], str] = str.lower


@attrs.frozen
class ObjectOf:
    """An object whose members are the keys of this class."""

    name: str
    members: type[attrs.AttrsInstance]


@attrs.frozen
class OptionsOf:
    """An object whose members are the keys of a kind, which its neighbour `Kind` names; read with that.

    `of`: whose kinds these are.
    """

    name: str
    of: Literal["targets", "sources"] = "targets"


Kind = Scalar | ListOf | MapOf | ObjectOf | OptionsOf
