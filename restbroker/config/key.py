"""What is known of one key, kept at the field that takes its value.

Used by every class of keys: those of the file (`config.keys`), of what is inside of them (`config.objects`), and the
options of each kind of target. Always holds: reading, schema and reference page come from this one description.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs

from restbroker.config.kinds import Kind
from restbroker.job.json_types import Json


@attrs.frozen
class Key:
    """`meaning` and the rest are written for the reference page.

    `mandatory`: when the key must be given. `ignored`: why it is understood and has no effect. `aliases`: other
    spellings. `instead_of`: the keys that say the same in another way, of which only one may be given. `of_target`:
    the member of `Targets` that this flat key stands for.
    """

    name: str
    kind: Kind
    meaning: str
    default: Json = None
    secret: bool = False
    mandatory: str | None = None
    ignored: str | None = None
    aliases: tuple[str, ...] = ()
    instead_of: tuple[str, ...] = ()
    of_target: str | None = None


Members = type[attrs.AttrsInstance]
NO_KINDS: Final[Mapping[str, Members]] = MappingProxyType({})


def key(name: str, kind: Kind, meaning: str, default: object = None, **more: Any) -> Any:  # noqa: ANN401  as attrs.field
    """A field of a class of keys. `shown` is the default as it is written in JSON, where that is another value."""
    shown = more.pop("shown", default)
    return attrs.field(default=default, metadata={"key": Key(name, kind, meaning, shown, **more)})


def same(members: Members, member: str, name: str = "", **more: Any) -> Any:  # noqa: ANN401  as attrs.field
    """A field with the kind, meaning and default of one of `members`, of which it is the flat form."""
    found = next(field for field in attrs.fields(members) if field.metadata["key"].name == member)
    described = attrs.evolve(found.metadata["key"], name=name or member, of_target=member, **more)
    return attrs.field(default=found.default, metadata={"key": described})


def keys_of(members: Members) -> dict[str, Key]:
    """Every key of a class by the name of its field, in the order of the reference page."""
    return {field.name: field.metadata["key"] for field in attrs.fields(members) if "key" in field.metadata}


def rivals(members: Members) -> Iterator[tuple[str, str]]:
    """Each two keys that say one thing in two ways."""
    for described in keys_of(members).values():
        yield from ((other, described.name) for other in described.instead_of)
