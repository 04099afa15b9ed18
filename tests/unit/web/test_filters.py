"""What pages write for values that anybody may have put into Redis."""

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from restbroker.console.times import local
from restbroker.web import filters
from restbroker.web.filters import UNKNOWN

NUMBERS = (filters.number, filters.decimal, filters.duration, filters.milliseconds, filters.moment)


def test_unshowable_number_is_a_dash() -> None:
    values: tuple[object, ...] = (10**400, -(10**400), 1e300, True, None, "5", [], {})
    values += tuple(map(float, ("inf", "-inf", "nan")))
    assert {word(value) for word in NUMBERS for value in values} == {UNKNOWN}


def test_a_moment_in_milliseconds_is_named_as_such() -> None:
    """A producer took the wrong unit for the score of a job in `schedule`."""
    assert filters.when(1_795_983_007_585) == local(1_795_983_007_585) == "the year 58,882 (milliseconds?)"
    assert (filters.when(10**18), local(10**18)) == (UNKNOWN, str(10**18))


def test_numbers_are_short() -> None:
    assert (filters.number(12345), filters.decimal(12.34), filters.decimal(1234.5)) == ("12,345", "12.3", "1,234")
    durations = {0: "0 s", 0.25: "250 ms", 3.5: "3.5 s", 720: "12 min", 18_000: "5 h", 259_200: "3 d"}
    assert {value: filters.duration(value) for value in durations} == durations
    assert (filters.milliseconds(1234), filters.moment(1_700_000_000)) == ("1.2 s", "2023-11-14 22:13:20")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    )
)
def test_whatever_is_there_has_some_words(value: Any) -> None:
    shown = [word(value) for word in (*NUMBERS, filters.brief)]
    shown += [str(filters.plain(value))] if isinstance(value, str) else []
    for text in shown:
        # A template puts all of them in so.
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2028\ud800-\udfff]", str(filters.plain(text)))


def test_backticks_make_code_and_all_else_is_escaped() -> None:
    assert filters.with_code("See `Token` & `<b>`.") == Markup("See <code>Token</code> &amp; <code>&lt;b&gt;</code>.")
    assert filters.with_code("a ` alone\x00") == Markup("a ` alone\\u0000")
    assert filters.with_code(None) == filters.UNKNOWN
