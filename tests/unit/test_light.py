"""`light` compared with attrs, of each kind of class that the product has."""

import importlib
import pkgutil
from collections.abc import Iterator
from functools import partial
from math import nan
from typing import Any

import attrs
import pytest

import restbroker
from restbroker import light

plain = partial(attrs.define, unsafe_hash=True)
DECORATORS = [(attrs.define, light.define), (attrs.frozen, light.frozen), (plain, light.frozen_plain)]


def point(decorator: Any) -> Any:
    @decorator
    class Point:
        x: object
        y: object = 0
        secret: str = attrs.field(default="THE-SECRET", repr=False)
        short: str = attrs.field(default="abc", repr=lambda text: f"<{len(text)}>")
        seen: list[object] = attrs.field(factory=list, eq=False)
        later: object = attrs.field(init=False, eq=False)

    return Point


def single(decorator: Any) -> Any:
    @decorator(kw_only=True)
    class Single:
        x: object

    return Single


def empty(decorator: Any) -> Any:
    @decorator()
    class Empty:
        pass

    return Empty


def hashes(one: object, other: object) -> object:
    """Return whether equal objects have one hash; None if one of the two has none."""
    try:
        return hash(one) == hash(other) or one != other
    except TypeError:
        return None


def compared(decorator: Any) -> list[list[object]]:
    """Return of pairs of objects whether they are equal, and unequal, and what `hashes` says."""
    a, b, none = point(decorator), single(decorator), empty(decorator)
    heir = type("Heir", (b,), {})
    others = [a(1), a(1, seen=[1]), a(2), a(1, secret=""), 1, None]
    more = [b(x=1.0), b(x=2), b(x=[]), heir(x=1), a(1)]
    pairs = [(a(1), other) for other in others] + [(b(x=1), other) for other in more]
    pairs += [(a(nan), a(nan)), (b(x=nan), b(x=nan)), (heir(x=1), heir(x=1)), (none(), none()), (none(), a(1))]
    return [[one == other, one != other, hashes(one, other)] for one, other in pairs]


@pytest.mark.parametrize(("theirs", "ours"), DECORATORS)
def test_an_object_is_shown_as_by_attrs(theirs: Any, ours: Any) -> None:
    shown = []
    for made in (theirs, ours):
        round_trip: list[object] = []
        one = point(made)(1.5, seen=round_trip)
        round_trip.append(one)
        shown.append((repr(one), repr(single(made)(x="a")), repr(empty(made)())))
    assert shown[0] == shown[1]
    assert shown[1][0] == "Point(x=1.5, y=0, short=<3>, seen=[...], later=NOTHING)"


@pytest.mark.parametrize(("theirs", "ours"), DECORATORS)
def test_equal_and_hashable_is_what_is_so_by_attrs(theirs: Any, ours: Any) -> None:
    assert compared(ours) == compared(theirs)
    assert [equal for equal, *_ in compared(ours)[:6]] == [True, True, False, False, False, False]


@pytest.mark.parametrize(("theirs", "ours"), DECORATORS)
def test_what_a_class_brings_or_does_without_stays_so(theirs: Any, ours: Any) -> None:
    found = []
    for made in (theirs, ours):

        @made
        class Own:
            x: int

            def __repr__(self) -> str:
                return "shown"

            def __eq__(self, other: object) -> bool:
                return True

            __hash__ = None  # type: ignore[assignment]

        @made(eq=False, repr=False)
        class Bare:
            x: int

        @made
        class Fault(Exception):
            x: int

        cases: list[Any] = [Own, Bare, Fault]
        equal = [kind(1) == kind(1) for kind in cases]
        own, bare, fault = [kind(1) for kind in cases]
        found.append((repr(own), "object at" in repr(bare), repr(fault), equal))
    assert found[0] == found[1]
    assert found[1] == ("shown", True, f"{Fault.__qualname__.rpartition('>.')[2]}(x=1)", [True, False, False])


def product_classes() -> Iterator[Any]:
    for found in pkgutil.walk_packages(restbroker.__path__, "restbroker."):
        for kind in vars(importlib.import_module(found.name)).values():
            if isinstance(kind, type) and kind.__module__ == found.name and attrs.has(kind):
                yield kind


METHODS = ("__repr__", "__eq__", "__hash__")


def differs(kind: Any) -> bool:
    """Return whether a class is of a kind that `light` reads otherwise than attrs: none that is compared above."""
    own, bases = vars(kind), [vars(base) for base in kind.__mro__[1:-1] if attrs.has(base)]
    is_left_to_base = any(name in base and name not in own for base in bases for name in METHODS)
    return is_left_to_base or any(field.eq_key is not None or field.hash is not None for field in attrs.fields(kind))


def test_of_the_products_classes_attrs_compiles_no_more() -> None:
    compiled, odd = set(), set()
    for kind in product_classes():
        files = [way.__code__.co_filename for name in METHODS if hasattr(way := vars(kind).get(name), "__code__")]
        compiled |= {kind.__name__} if any("attrs generated" in file for file in files) else set()
        odd |= {kind.__name__} if differs(kind) else set()
    assert odd == set()
    # Three are hashed for every job, hence once for each object; one has a hash of its own.
    assert compiled == {"ArgumentSpec", "CommandSpec", "Handover", "RedisKeys"}
