"""The wheel in one environment with another Typer application: `.ci/versions`, as it installs from an index.

Always holds: nothing of the clone is on the path; the other application says which Typer there is.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from restbroker import __version__
from tests.install.conftest import Built, build

SMALL = """
import typer

app = typer.Typer()

@app.command()
def double(number: int) -> None:
    "Print twice the number."
    print(2 * number)
"""
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "small"
version = "1"
dependencies = ["{typer}"]
scripts = {{ small = "small:app" }}
"""
BARE = {"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")}


@pytest.mark.parametrize("typer", ["typer==0.20.0", "typer"], ids=["oldest", "newest"])
def test_restbroker_and_a_typer_application_share_an_environment(
    built: Built, tmp_path: Path, typer: str, report: Callable[[str], None]
) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "small.py").write_text(SMALL)
    (tmp_path / "small" / "pyproject.toml").write_text(PROJECT.format(typer=typer))
    (small,) = build(tmp_path / "small", tmp_path, "wheel")
    programs = tmp_path / "one" / "bin"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "one")], check=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(programs / "python")]
    outside = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    subprocess.run([*pip, "install", "--quiet", str(built.wheel), str(small)], env=outside, check=True)
    subprocess.run([*pip, "check"], env=outside, check=True)

    def said(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [programs / words[0], *words[1:]], env=BARE, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    version = said("python", "-c", "import importlib.metadata as found; print(found.version('typer'))").strip()
    assert version == typer.partition("==")[2] or "==" not in typer
    report(f"beside an application that needs {typer}: Typer {version}")
    assert said("restbroker", "--version") == f"restbroker {__version__}\n"
    assert "restbroker" in said("restbroker", "--help")
    assert "--ok-if-exists" in said("restbroker", "enqueue", "--help")
    assert "_RESTBROKER_COMPLETE" in said("restbroker", "completion", "bash")
    assert "Print twice the number." in said("small", "--help")
    assert said("small", "21") == "42\n"
    said("small", "many", code=2)
