"""What classes are declared with: attrs' `frozen`, `define` and `field`, for a quick start, and `frozen_plain`.

At each start attrs writes the methods of each class as text and has Python compile it. Two thirds of that are
`__repr__`, `__eq__` and `__hash__` (measured), which few classes use. What a class brings itself attrs leaves alone: so
these decorators bring the three, written once, which read the fields; `__init__` stays attrs' own. Always holds: what
they show, and which objects are equal, is as attrs has it. With `cache_hash` attrs compiles the latter: for what is
looked up for every job.

`frozen_plain` is like `frozen`, for objects that are made once or more for every job. mypy lets no code change one.
While it runs nothing checks that: attrs makes a frozen class write each field through `object.__setattr__`. That takes
0.39 instead of 0.11 µs for seven fields (measured), and what is made for a job has sixty.
"""

from collections.abc import Callable
from functools import cache, partial
from operator import attrgetter, eq
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

import attrs
from attrs import field


@recursive_repr()
def _show(self: Any) -> str:
    cls = type(self)
    ways = [(one.name, repr if one.repr is True else one.repr) for one in attrs.fields(cls) if one.repr]
    values = ", ".join(f"{name}={show(getattr(self, name, attrs.NOTHING))}" for name, show in ways)
    return f"{cls.__qualname__.rpartition('>.')[2]}({values})"


def _equals(self: object, other: object) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return all(map(eq, _values(self), _values(other)))  # two tuples would call a NaN equal to itself


def _hash(self: object) -> int:
    return hash(_values(self))


def _values(self: object) -> tuple[object, ...]:
    cls: Any = type(self)
    return _reader_of(cls)(self)


@cache
def _reader_of(cls: type[Any]) -> Callable[[object], tuple[object, ...]]:
    """Return what reads the values by which objects of this class are compared."""
    # The class twice, since of fewer than two values `attrgetter` makes no tuple.
    return attrgetter("__class__", "__class__", *(one.name for one in attrs.fields(cls) if one.eq))


def _bringing(make: Callable[..., Any], hash_method: Callable[[object], int] | None) -> Callable[..., Any]:
    """Return a decorator whose classes bring the methods, `hash_method` for one, and have attrs `make` the rest."""

    def decorate(cls: Any = None, **options: Any) -> Any:
        if cls is None:
            return partial(decorate, **options)
        own = vars(cls).keys()
        if options.get("repr", True) and "__repr__" not in own:
            cls.__repr__ = _show
        is_compared = options.get("eq", True) and not issubclass(cls, BaseException)
        if is_compared and not options.get("cache_hash") and own.isdisjoint(("__eq__", "__hash__")):
            cls.__eq__, cls.__hash__ = _equals, hash_method
        return make(cls, **options)

    return decorate


if TYPE_CHECKING:
    from attrs import define, frozen
    from attrs import frozen as frozen_plain
else:
    define = _bringing(attrs.define, None)
    frozen = _bringing(attrs.frozen, _hash)
    frozen_plain = _bringing(attrs.define, _hash)

__all__ = ["define", "field", "frozen", "frozen_plain"]
