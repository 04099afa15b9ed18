"""The house keeps its measures; what measures it counts right."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import house

ROOT = Path(__file__).parents[2]
LONGEST_FILE_LINES = 320
LONGEST_FUNCTION_LINES = 60


@pytest.fixture(scope="module")
def product() -> house.House:
    return house.measured(house.kept("restbroker"), ROOT)


def test_no_file_and_no_function_is_longer_than_a_reader_bears(product: house.House) -> None:
    too_long = [one for one in product.files if one.lines > LONGEST_FILE_LINES]
    too_long += [one for one in product.functions if one.lines > LONGEST_FUNCTION_LINES]
    assert not too_long


def test_lengths_leave_out_docstrings_and_decorators_and_private_classes_are_not_public(tmp_path: Path) -> None:
    source = tmp_path / "one.py"
    source.write_text(
        '''"""Module."""
import functools


class Shown:
    """Says so."""

    @functools.cache
    def told(self, number: int) -> int:
        """Two lines

        of docstring.
        """
        # Counted.
        return number

    def untold(self, number):
        return number


class _Hidden:
    def anything(self) -> None:
        def inner(self) -> None: ...
''',
        encoding="utf-8",
    )
    found = house.measured([source], tmp_path)
    assert {one.where.split()[1]: one.lines for one in found.functions} == {
        "told": 3,
        "untold": 2,
        "anything": 2,
        "inner": 1,
    }
    assert (found.public, found.documented, found.annotated, found.comments) == (2, 1, 3, 1)
    assert found.files == [house.Length(23, "one.py")]


def test_what_make_house_runs_prints_what_is_longest_and_the_table_that_the_page_shows_about_so() -> None:
    command = [sys.executable, "-m", "tests.house"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert printed.startswith("| | restbroker | its tests | norm |\n")
    assert "\nLongest functions:\n" in printed
    page = (ROOT / "docs" / "house.md").read_text("utf-8")
    assert figures(page.partition("\n| files ")[2].partition("\n\n")[0]) == pytest.approx(
        figures(printed.partition("\n| files ")[2].partition("\n\n")[0]), rel=0.15, abs=0.3
    )


def figures(table: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?(?=\D)", table + " ")]
