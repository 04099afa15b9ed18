"""How a duration is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.values import duration_text


@pytest.mark.parametrize(
    ("length_s", "shown"),
    [
        (-3.0, "0 s"), (0, "0 s"), (0.0004, "0.4 ms"), (0.0032, "3.2 ms"), (0.004, "4 ms"), (0.0415, "42 ms"),
        (0.25, "250 ms"), (0.9994, "999 ms"), (0.9996, "1 s"), (1, "1 s"), (3.52, "3.5 s"), (9.96, "10 s"),
        (59.4, "59 s"), (59.6, "1 min"), (60, "1 min"), (90, "1 min 30 s"), (3600, "1 h"), (3601, "1 h"),
        (13_223, "3 h 40 min"), (14_400, "4 h"), (86_400, "1 d"), (90_000, "1 d 1 h"), (10_000_000, "115 d 17 h"),
    ],
)  # fmt: skip
def test_a_duration_is_shown_in_its_one_or_two_largest_units(length_s: float, shown: str) -> None:
    assert duration_text(length_s) == shown


@given(st.floats(0, 1e12))
def test_a_duration_is_never_shown_as_more_than_a_twentieth_off(length_s: float) -> None:
    units = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86_400}
    words = duration_text(length_s).split()
    told_s = sum(float(count) * units[unit] for count, unit in zip(words[::2], words[1::2], strict=True))
    assert len(words) in (2, 4)
    assert abs(told_s - length_s) <= max(length_s / 20, 0.000_06)
