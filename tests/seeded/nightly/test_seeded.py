"""A test of `make test` finds each fault of `faults.toml`: which lines a test runs says nothing of what it sees."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from dev.tools.pages import ROOT
from tests.seeded.test_texts import FAULTS

ENDLESS_S: Final = 300


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["name"])
def test_seeded_fault_is_found(fault: dict[str, Any], tmp_path: Path) -> None:
    """The fault is in a copy of the package, which comes first in the path, as the wheel does in `make test`."""
    shutil.copytree(ROOT / "restbroker", tmp_path / "restbroker")
    file = tmp_path / fault["file"]
    text = file.read_text("utf-8")
    assert text.count(fault["before"]) == 1, "This text is gone: seed the same fault in what took its place."
    file.write_text(text.replace(fault["before"], fault["after"]), "utf-8")
    paths = {"PYTHONSAFEPATH": "1", "PYTHONPATH": f"{tmp_path}:{ROOT}", "TESTED_FROM": str(tmp_path)}
    # In written order and with one seed: a fault is found every night or in none.
    options = ["-x", "--randomly-seed=1", "--randomly-dont-reorganize", "-o", "pythonpath=", "-m", "not nightly"]
    command = [sys.executable, "-m", "pytest", *options, *fault["tests"]]
    environment = {**os.environ, **paths}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=ENDLESS_S
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout[-2000:] + done.stderr
