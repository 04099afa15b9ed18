"""What is known of one key, kept at the field that takes its value.

Used by every class of keys: those of the file (`config.keys`), of what is inside of them (`config.objects`), and the
options of each kind of target. Always holds: reading, schema and reference page come from this one description and the
field's type.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

import attrs

from restbroker.job.json_types import Json


@attrs.frozen
class Key:
    """`meaning` and the rest are written for the reference page. `type`: of its value, with how that is written.

    `mandatory`: when the key must be given. `ignored`: why it is understood and has no effect. `aliases`: other
    spellings. `instead_of`: the keys that say the same in another way, of which only one may be given. `of_target`:
    the member of `Targets` that this flat key stands for.
    """

    name: str
    meaning: str
    default: Json = None
    secret: bool = False
    mandatory: str | None = None
    ignored: str | None = None
    aliases: tuple[str, ...] = ()
    instead_of: tuple[str, ...] = ()
    of_target: str | None = None
    type: Any = None


Members = type[attrs.AttrsInstance]
NO_KINDS: Final[Mapping[str, Members]] = MappingProxyType({})


class Kinds(Mapping[str, Members]):
    """The class of options of each kind, by name. A kind's module is loaded when its class is asked for."""

    def __init__(self, folders: Mapping[str, str]) -> None:
        self._folders: Final = folders

    def __getitem__(self, kind: str) -> Members:
        members: Members = import_module(f"{self._folders[kind]}.options").Options
        return members

    def __iter__(self) -> Iterator[str]:
        return iter(self._folders)

    def __len__(self) -> int:
        return len(self._folders)


def key(name: str, meaning: str, default: object = None, **more: Any) -> Any:  # noqa: ANN401  as attrs.field
    """A field of a class of keys. `shown` is the default as it is written in JSON, where that is another value."""
    shown = more.pop("shown", default)
    return attrs.field(default=default, metadata={"key": Key(name, meaning, shown, **more)})


def same(members: Members, member: str, name: str = "", **more: Any) -> Any:  # noqa: ANN401  as attrs.field
    """A field with the type, meaning and default of one of `members`, of which it is the flat form."""
    field, found = next((field, key) for field, key in keys_of(members).items() if key.name == member)
    described = attrs.evolve(found, name=name or member, of_target=member, **more)
    return attrs.field(default=attrs.fields_dict(members)[field].default, metadata={"key": described})


@cache
def keys_of(members: Members) -> Mapping[str, Key]:
    """Every key of a class by the name of its field, in the order of the reference page."""
    fields = [field for field in attrs.fields(members) if "key" in field.metadata]
    keys = {field.name: (field.metadata["key"], field.type) for field in fields}
    return MappingProxyType({name: attrs.evolve(key, type=key.type or type_) for name, (key, type_) in keys.items()})


def rivals(members: Members) -> Iterator[tuple[str, str]]:
    """Each two keys that say one thing in two ways."""
    for described in keys_of(members).values():
        yield from ((other, described.name) for other in described.instead_of)
