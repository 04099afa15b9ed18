"""Each fault of `faults.toml` fits the code of today; `nightly/test_seeded.py` seeds it, and it must be found."""

import tomllib
from pathlib import Path
from typing import Any, Final

from dev.tools.pages import ROOT

FAULTS: Final[list[dict[str, Any]]] = tomllib.loads((Path(__file__).parent / "faults.toml").read_text("utf-8"))["fault"]


def can_be_seeded(fault: dict[str, Any]) -> bool:
    """Whether its text stands in its file, once, and its tests are there."""
    file = ROOT / fault["file"]
    is_there = file.exists() and file.read_text("utf-8").count(fault["before"]) == 1
    return is_there and all((ROOT / test.partition("::")[0]).exists() for test in fault["tests"])


def test_each_fault_fits_the_code() -> None:
    """A change of such a line seeds the same fault in its successor."""
    assert [fault["name"] for fault in FAULTS if not can_be_seeded(fault)] == []
