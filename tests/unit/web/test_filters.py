"""What pages write for values that anybody may have put into Redis."""

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from restbroker.console.times import local
from restbroker.operate.job import ShownJob
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


def listed(*given: object, command: str = "register") -> list[ShownJob]:
    """Jobs with these arguments, as a list shows them."""
    return [ShownJob(key="k", at_s=0.0, size_bytes=1, message=None, command=command, arguments=one) for one in given]  # type: ignore[arg-type]


def test_columns_hold_the_arguments_that_tell_jobs_apart() -> None:
    """Those that are the same in all are none; few letters have room for the most telling ones alone."""
    jobs = listed(*({"host": "h", "kind": n % 2, "user": f"u{n}", "text": "x" * 90 + str(n)} for n in range(4)))
    found = filters.argument_columns(jobs, 90)
    assert found is not None
    assert (found.same, found.more) == ([("host", "h")], 0)
    assert [name for name, _ in found.columns] == ["kind", "user", "text"]
    assert [cells[3] for _, cells in found.columns] == ["1", "u3", "x" * 39 + "…"]
    narrow = filters.argument_columns(jobs, 10)
    assert narrow is not None
    assert ([name for name, _ in narrow.columns], narrow.more) == (["kind", "user"], 1)
    wide = filters.argument_columns(listed({str(n): 1 for n in range(30)}, {str(n): 2 for n in range(30)}), 90)
    assert wide is not None
    assert (len(wide.columns), wide.more) == (6, 24)


def test_jobs_that_differ_in_kind_have_no_columns() -> None:
    others = [listed(), listed({"a": 1}), listed({"a": 1}) + listed({"a": 2}, command="ban"), listed({"a": 1}, "***")]
    assert [filters.argument_columns(jobs, 90) for jobs in others] == [None] * 4
    unlike = filters.argument_columns(listed({"a": 1}, {"a": True}, {"b": None}), 90)
    assert unlike is not None
    assert unlike.columns == [("a", ["1", "true", ""]), ("b", ["", "", "null"])]


def test_backticks_make_code_and_all_else_is_escaped() -> None:
    assert filters.with_code("See `Token` & `<b>`.") == Markup("See <code>Token</code> &amp; <code>&lt;b&gt;</code>.")
    assert filters.with_code("a ` alone\x00") == Markup("a ` alone\\u0000")
    assert filters.with_code(None) == filters.UNKNOWN
