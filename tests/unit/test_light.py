"""`light` gives what `attrs.frozen` gives, but for the check while it runs that nobody changes a value."""

import attrs

from restbroker.light import light


@light
class Pair:
    """Two fields, one with a default."""

    left: int
    right: str = ""


def test_equal_values_are_equal_and_have_one_place_in_a_set() -> None:
    assert Pair(1, "a") == Pair(1, "a") != Pair(1, "b")
    assert len({Pair(1, "a"), Pair(1, "a"), Pair(1, "b")}) == 2


def test_it_has_slots_and_can_be_matched_and_changed_into_another() -> None:
    assert not hasattr(Pair(1), "__dict__")
    match attrs.evolve(Pair(1), right="c"):
        case Pair(left, right):
            assert (left, right) == (1, "c")
