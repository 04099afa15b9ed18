"""The manual pages: each wheel has those of its own code, or there is no wheel; an editable install needs none."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from dev.tools import man_pages
from dev.tools.pages import ROOT
from restbroker import __version__
from restbroker.cli.app import COMMANDS
from tests.install.conftest import build


def test_the_wheel_has_a_page_for_each_command(tmp_path: Path) -> None:
    (wheel,) = build(ROOT, tmp_path, "wheel")
    place = f"restbroker-{__version__}.data/data/share/man/"
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith(place)]
        found = {name.removeprefix(place): archive.read(name).decode("ascii") for name in names}
    assert found == man_pages.pages()
    assert {f"man1/restbroker-{name}.1" for name in COMMANDS} < set(found)


def test_wheel_needs_pages_and_editable_install_does_not(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ImportError('no Typer here')", encoding="utf-8")
    built = {}
    for target in ("wheel:standard", "wheel:editable"):
        built[target] = subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "--directory", str(tmp_path / "dist"), "--target", target],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}, check=False, capture_output=True, text=True,
        )  # fmt: skip
    assert built["wheel:standard"].returncode != 0
    assert "manual pages cannot be made: no Typer here" in built["wheel:standard"].stderr
    assert "requirements/run.lock" in built["wheel:standard"].stderr
    assert built["wheel:editable"].returncode == 0, built["wheel:editable"].stderr
    assert len(list((tmp_path / "dist").iterdir())) == 1
