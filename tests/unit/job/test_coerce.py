"""Texts from a command line become the types that a command takes; cells are shown by a spreadsheet, and not run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.bulk.rows import guard, unguard
from restbroker.errors import UsageError
from restbroker.job.coerce import coerce
from restbroker.job.command import ArgumentSpec, CommandSpec
from restbroker.job.json_types import Json
from tests.support.rows import rows

SPEC = CommandSpec(
    "c",
    (
        ArgumentSpec("text", "string"),
        ArgumentSpec("days", "integer", aliases=("age",)),
        ArgumentSpec("pin", "integer", secret=True),
        ArgumentSpec("groups", "list", element="string"),
        ArgumentSpec("options", "list", element="object"),
        ArgumentSpec("anything", "any"),
    ),
    "unsafe",
)


@rows(("given", "expected"), [
    ({"days": "30"}, {"days": 30}),
    ({"age": "-1"}, {"age": -1}),
    ({"days": "9" * 30}, {"days": int("9" * 30)}),
    ({"text": "30"}, {"text": "30"}),
    ({"anything": "30"}, {"anything": "30"}),
    ({"groups": "a, b,c"}, {"groups": ["a", "b", "c"]}),
    ({"groups": "a"}, {"groups": ["a"]}),
    ({"groups": ""}, {"groups": []}),
    ({"unknown": "30"}, {"unknown": "30"}),
    ({"days": 1.5, "groups": 7, "text": None}, {"days": 1.5, "groups": 7, "text": None}),
    ({"groups": ["a,b"]}, {"groups": ["a,b"]}),
])  # fmt: skip
def test_texts_get_the_commands_types(given: dict[str, Json], expected: dict[str, Json]) -> None:
    assert coerce(SPEC, given) == expected


@rows("text", ["", "abc", "1.5", "1_000", " 7", "7\n", "٣", "0x10"])
def test_text_that_is_no_integer_is_an_error_naming_the_argument(text: str) -> None:
    with pytest.raises(UsageError, match="c: days must be an integer"):
        coerce(SPEC, {"days": text})


@rows(("given", "shown", "hint"), [
    ({"days": "3.5"}, 'must be an integer, not "3.5".', "days=30"),
    ({"days": "30 d"}, 'must be an integer, not "30 d".', "days=30"),
    ({"days": "password=hunter2X"}, "must be an integer, not a string of 17 characters.", "days=30"),
    ({"days": "x"}, "must be an integer, not a string of 1 character.", "days=30"),
    ({"pin": "hunter2"}, "must be an integer, not something else.", "pin=30"),
    ({"options": "a"}, "c: options is a list of objects", "options:="),
])  # fmt: skip
def test_wrong_value_is_shown_with_a_right_way_to_write_it(given: dict[str, Json], shown: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        coerce(SPEC, given)
    assert shown in caught.value.message
    assert caught.value.hint is not None
    assert hint in caught.value.hint


@rows("first", ["=", "+", "@", "\t", "\r", "\n", "'=", "''@", " =", "\u3000+", "\ufeff@", "' -"])
def test_cell_like_a_formula_gets_an_apostrophe_and_reads_back(first: str) -> None:
    assert guard(f"{first}1+1") == f"'{first}1+1"
    assert unguard(f"'{first}1+1") == f"{first}1+1"


@given(st.text("'=+-@\t\r\n \ufeffa1", max_size=6) | st.text(max_size=6))
def test_every_cell_is_read_back_the_same_and_none_is_a_formula(cell: str) -> None:
    assert unguard(guard(cell)) == cell
    assert not guard(cell).startswith(("\t", "\r", "\n"))
    assert not guard(cell).strip("\ufeff \xa0").startswith(("=", "+", "-", "@"))
