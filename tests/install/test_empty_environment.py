"""The wheel in an environment that has nothing else, as pipx and uvx make one: no compiler, no Redis, no clone."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from restbroker import __version__
from tests.install.conftest import Built
from tools.pages import ROOT

WHEELHOUSE: Final = ROOT / "build" / "wheelhouse"
"""`make test` fills it; `make build/wheelhouse/.done` does it alone."""


@pytest.fixture
def program(built: Built, tmp_path: Path) -> Path:
    """`restbroker` of an environment of its own. Nothing is fetched: each package is a wheel of the wheelhouse."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "empty")], check=True)
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check"]
    pip += ["--python", str(tmp_path / "empty" / "bin" / "python")]
    install = ["install", "--quiet", "--no-compile", "--no-index", "--only-binary", ":all:"]
    subprocess.run([*pip, *install, "--find-links", str(WHEELHOUSE), f"{built.wheel}[demo]"], check=True, env={})
    return tmp_path / "empty" / "bin" / "restbroker"


def test_the_wheel_installs_where_nothing_is_and_plays_the_demo(program: Path, tmp_path: Path) -> None:
    nothing = {"PATH": str(program.parent), "TMPDIR": str(tmp_path)}
    version = subprocess.run([program, "--version"], env=nothing, capture_output=True, text=True, check=True)
    assert version.stdout == f"restbroker {__version__}\n"
    demo = subprocess.run(
        [program, "demo"], env=nothing, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "All as promised: " in demo.stdout
    # Not by a Redis of this machine.
    assert str(tmp_path / "empty") in demo.stdout.partition("\n")[0]
