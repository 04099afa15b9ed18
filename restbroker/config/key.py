"""The description of one key, kept at the field that takes its value.

Used by every class of keys: those of the file (`config.core`), those inside them (`config.target` and others), and the
options of each kind of target. Always holds: reading, schema and reference page come from this one description and the
field's type.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import attrs

from restbroker.config.secret import Secret
from restbroker.job.json_types import Json


@attrs.frozen
class Key:
    """One key of a file. The texts are written for the reference page; `type` is the value's type with its form.

    `default` is the default as JSON. `mandatory`: when the key must be present. `ignored`: why it is understood but has
    no effect. `aliases`: other spellings. `instead_of`: the keys that say the same in another way, of which only one
    may be used. `of_target`: the member of `Targets` for which this flat key stands.
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


def key(name: str, meaning: str, default: object = None, *, in_repr: bool = True, **more: Any) -> Any:  # noqa: ANN401  as attrs.field
    """Return the field of a class of keys for the key `name`.

    `more` are further attributes of `Key`, and `shown`: the default as JSON, to be left out if it is the default itself
    or there is none to show. `in_repr` False: its value may hold a secret, so that no `repr` has it.
    """
    is_written = isinstance(default, str | int | float) and default != ""
    shown = more.pop("shown", default if is_written else None)
    return attrs.field(default=default, repr=in_repr, metadata={"key": Key(name, meaning, shown, **more)})


def secret(  # as attrs.field
    name: str,
    meaning: str,
    file: str,
    default: Secret | None = None,
    *,
    default_shown: Json = None,
    kw_only: bool = False,
    **more: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Return a field for a secret: the key `name` holds its text, or the key `name` + "File" the path of its file.

    `meaning` and `file` describe the two keys.
    """
    keys = (
        Key(name, meaning, default_shown, secret=True, type=str, **more),
        Key(f"{name}File", file, instead_of=(name,), of_target=more.get("of_target"), type=str),
    )
    return attrs.field(default=default, kw_only=kw_only, metadata={"secret": keys})


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
                found[one.name] = attrs.evolve(one, type=one.type or field.type)
            case {"secret": (Key() as one, Key() as file)}:
                found |= {one.name: one, file.name: file}
            case {"inline": inner, "each": each}:
                seen = [one if each is None else each(one) for one in keys_of(inner).values()]
                found |= {one.name: one for one in seen if one is not None}
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
