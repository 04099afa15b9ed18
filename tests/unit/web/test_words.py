"""How pages write numbers and texts, whatever others wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.web import words

NUMBERS = st.one_of(
    st.integers(), st.floats(), st.integers(10**300, 10**310), st.none(), st.booleans(), st.text(), st.just([])
)


@given(NUMBERS)
def test_whatever_is_there_instead_of_a_number_is_written_and_breaks_nothing(value: object) -> None:
    for write in (words.number, words.decimal, words.duration, words.milliseconds, words.moment):
        assert write(value)


@pytest.mark.parametrize(
    ("write", "value", "written"),
    [
        (words.number, 1234567, "1,234,567"),
        (words.number, 1.5, "–"),
        (words.decimal, 12.345, "12.3"),
        (words.decimal, 1234.5, "1,234"),
        (words.duration, 0.0004, "1 ms"),
        (words.duration, 3.45, "3.5 s"),
        (words.duration, 90, "1.5 min"),
        (words.milliseconds, 10**400, "–"),
        (words.decimal, float("nan"), "–"),
        (words.moment, 0, "1970-01-01 00:00:00"),
        (words.moment, 1e300, "–"),
    ],
)
def test_numbers_are_short(write: object, value: object, written: str) -> None:
    assert callable(write)
    assert write(value) == written


@given(st.text(st.characters(), max_size=50))
def test_a_text_on_a_page_has_no_character_that_cannot_be_seen(text: str) -> None:
    written = str(words.plain(text))
    assert written == words.plain(written)
    written.encode()
