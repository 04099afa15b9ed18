"""The wheel and the source archive: all that is needed, nothing else, and the same from either."""

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Final

from dev.tools import man_pages
from restbroker import __version__
from tests.install.conftest import Built, build

INFO: Final = f"restbroker-{__version__}.dist-info"
MAN: Final = f"restbroker-{__version__}.data/data/share/man/"
"""Where manual pages are in it, so that they come to share/man of an environment."""


def test_wheel_has_every_file_of_the_package_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
    own = {name for name in names if not name.startswith((f"{INFO}/", MAN))}
    assert own == {name for name in built.tree if name.startswith("restbroker/")}
    assert {name.removeprefix(MAN) for name in names if name.startswith(MAN)} == set(man_pages.pages())
    # Not only Python: what is read at run time, and the marker of types for type checkers.
    assert {Path(name).suffix for name in own} >= {".py", ".lua", ".gz", ".html", ".css", ".js"}
    assert "restbroker/py.typed" in own
    assert f"{INFO}/licenses/LICENSE" in names


def test_the_source_archive_is_the_tree(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert names == {*built.tree, "PKG-INFO"}


def test_the_source_archive_makes_the_same_wheel(built: Built, tmp_path: Path) -> None:
    # Debian 12's Python has no filters yet, and newer ones warn of their absence.
    subprocess.run(["tar", "--extract", "--file", built.sdist, "--directory", tmp_path], check=True)
    (again,) = build(tmp_path / f"restbroker-{__version__}", tmp_path / "dist", "wheel")
    assert again.read_bytes() == built.wheel.read_bytes()


def test_a_plain_install_brings_no_pydantic(built: Built) -> None:
    """Pip takes the newest that pyproject.toml allows, not what the locks hold; pydantic costs each command a third."""
    plan = subprocess.run(
        [
            sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet",
            "install", "--dry-run", "--ignore-installed", "--report", "-", str(built.wheel),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    names = {package["metadata"]["name"].lower() for package in json.loads(plan.stdout)["install"]}
    assert "typer" in names
    assert not {name for name in names if name.startswith("pydantic")}
