"""Every row of `make bench ARGS="--against COMMIT"` can be measured, and a commit can be installed."""

import subprocess
from pathlib import Path

import pytest

from dev.benchmarks.against.commits import installed
from dev.benchmarks.against.rows import ROWS, Row
from dev.benchmarks.run import Run
from dev.benchmarks.surroundings import surroundings


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_measured(row: Row, tmp_path: Path) -> None:
    with surroundings(tmp_path) as around:
        found = row.measure(Run(around, scale=0.01))
    assert found
    assert max(found.values()) > 0


def test_the_wheel_of_a_commit_is_installed() -> None:
    found = installed("HEAD")
    said = subprocess.run([found.executable, "--version"], capture_output=True, text=True, check=True).stdout
    assert said.startswith("restbroker ")
