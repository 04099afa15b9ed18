"""Cells that a spreadsheet shows and does not run."""

from hypothesis import given
from hypothesis import strategies as st

from restbroker.job.cells import guard, unguard
from tests.support.rows import rows


@rows("first", ["=", "+", "@", "\t", "\r", "\n", "'=", "''@", " =", "\u3000+", "\ufeff@", "' -"])
def test_a_cell_that_would_be_a_formula_begins_with_an_apostrophe_and_is_read_back_the_same(first: str) -> None:
    assert guard(f"{first}1+1") == f"'{first}1+1"
    assert unguard(f"'{first}1+1") == f"{first}1+1"


@given(st.text("'=+-@\t\r\n \ufeffa1", max_size=6) | st.text(max_size=6))
def test_every_cell_is_read_back_the_same_and_none_is_a_formula(cell: str) -> None:
    assert unguard(guard(cell)) == cell
    assert not guard(cell).startswith(("\t", "\r", "\n"))
    assert not guard(cell).strip("\ufeff \xa0").startswith(("=", "+", "-", "@"))
