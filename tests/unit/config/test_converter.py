"""What the converter loads and refuses, and how a duration is written and shown.

What it makes of each value of each key is in tests/golden.
"""

import subprocess
import sys

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.converter import read
from restbroker.config.key import key
from restbroker.config.problems import Problems
from restbroker.config.values import duration_text, seconds


@attrs.frozen(kw_only=True)
class Bare:
    count: int = key("Count", default=1)
    """A number of which nobody has said how it is written."""


def test_a_type_without_a_form_is_refused_whatever_is_written() -> None:
    with pytest.raises(TypeError, match="no written form"):
        read(Bare, {"Count": 1}, Problems())


def test_no_kind_is_loaded_but_those_that_are_configured() -> None:
    script = (
        "import sys; from pathlib import Path; from restbroker.config.load import load;"
        "from restbroker.servers import registry; from restbroker.events import registry as sources;"
        "load(Path('env.json.sample'), {}, {}, registry.kinds(), sources.kinds());"
        "print([name for name in sys.modules if name.endswith('.options')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['restbroker.servers.ejabberd.options']"


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


@given(st.floats(0.001, 86_400))
def test_a_duration_may_be_written_as_it_is_shown(length_s: float) -> None:
    shown = duration_text(length_s)
    assert duration_text(seconds(shown)) == shown


@given(st.floats(0, 1e12))
def test_a_duration_is_never_shown_as_more_than_a_twentieth_off(length_s: float) -> None:
    units = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86_400}
    words = duration_text(length_s).split()
    written_s = sum(float(count) * units[unit] for count, unit in zip(words[::2], words[1::2], strict=True))
    assert len(words) in (2, 4)
    assert abs(written_s - length_s) <= max(length_s / 20, 0.000_06)
