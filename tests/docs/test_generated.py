"""What is made from the code is what the code says now: pages, manual, codes, locks."""

import re
import subprocess
import tomllib
from pathlib import Path

from dev.tools import codes_page, config_page, drawings, man_pages, proofs, telemetry_page
from dev.tools import openfire_commands as commands
from dev.tools.pages import ROOT
from restbroker.config import reference as options
from restbroker.events import registry as sources
from restbroker.servers import registry


def test_output_of_make_reference_is_up_to_date() -> None:
    page = ROOT / "docs" / "configuration.md"
    made = {
        page: config_page.renew(page.read_text("utf-8"), registry.kinds(), sources.kinds()),
        ROOT / "env.json.sample": options.sample_text(),
        ROOT / "docs" / "telemetry.md": telemetry_page.markdown(),
        ROOT / commands.PAGE: commands.page(),
        ROOT / proofs.PAGE: proofs.page(),
        **{ROOT / name: text for name, text in codes_page.pages()},
        **{drawings.FOLDER / name: text for name, text in drawings.drawings().items()},
    }
    assert [str(file) for file, text in made.items() if file.read_text("utf-8") != text] == [], "make docs"


def test_the_manual_is_well_formed(tmp_path: Path) -> None:
    man_pages.write(tmp_path)
    files = sorted(tmp_path.rglob("*.[15]"))
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", *files], capture_output=True, text=True, check=False
    )
    # A date would change with each run.
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []
    assert done.stderr == ""


def test_each_lock_hashes_every_package_and_names_no_registry() -> None:
    locks = sorted((ROOT / "requirements").glob("*.lock"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(project["optional-dependencies"]) <= {lock.stem for lock in locks}
    for lock in locks:
        text = lock.read_text("utf-8")
        packages = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
        assert packages, lock
        assert [package for package in packages if "--hash=sha256:" not in package] == [], lock
        assert "://" not in text, lock
