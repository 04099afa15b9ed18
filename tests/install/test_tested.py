"""Which restbroker the tests run: the wheel under `make test`, which names its folder; the tree's own otherwise."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import restbroker
from dev.tools.pages import ROOT
from tests.support.process import clean_environment

WANTED: Final = Path(os.environ.get("TESTED_FROM", ROOT))
WHERE: Final = "import pathlib, restbroker.cli; print(pathlib.Path(restbroker.__file__).parents[1])"


def test_this_process_and_each_child_run_the_built_package() -> None:
    assert Path(restbroker.__file__).parents[1] == WANTED
    for environment in (clean_environment(), os.environ):
        said = subprocess.run([sys.executable, "-c", WHERE], cwd=ROOT, env=environment, check=True, capture_output=True)
        assert Path(said.stdout.decode().strip()) == WANTED


def test_continuous_integration_runs_the_wheel() -> None:
    assert "TESTED_FROM" in os.environ or "CI" not in os.environ
