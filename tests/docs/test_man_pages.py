"""The manual pages are there for every command, say what the program says, and are well formed."""

import subprocess
import tomllib
from pathlib import Path

from restbroker.cli import help_pages
from restbroker.cli.app import COMMANDS
from tests.docs import help_texts, man_pages
from tests.docs.pages import ROOT


def test_the_pages_are_those_that_the_program_makes() -> None:
    found = {str(file.relative_to(man_pages.FOLDER)): file.read_text("ascii") for file in _files()}
    assert found == dict(man_pages.pages()), "make man"


def test_every_command_has_a_page() -> None:
    assert {f"restbroker-{name}.1" for name in COMMANDS} < {file.name for file in _files()}


def test_the_pages_are_well_formed() -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", *_files()], capture_output=True, text=True, check=False
    )
    # A date would change with each run.
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []
    assert done.stderr == ""


def test_an_example_and_a_default_stand_on_the_page_as_they_are_typed() -> None:
    shown = _shown("man1/restbroker-dead.1")
    assert "restbroker dead retry --where 'failed_at = yesterday' --dry-run\n" in shown
    shown = _shown("man5/restbroker-env.json.5")
    assert 'RedisURL (text; default "redis://localhost:6379/0")\n' in shown
    assert '"RateLimit": "200/s",\n' in shown


def test_the_wheel_brings_the_pages_where_man_looks_for_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert shared == {"contrib/man": "share/man"}


def test_the_ready_made_help_is_what_the_commands_say() -> None:
    assert help_pages.FILE.read_text("utf-8") == help_texts.written(), "make reference"


def _files() -> list[Path]:
    return sorted(man_pages.FOLDER.rglob("*.[15]"))


def _shown(page: str) -> str:
    """As a reader sees it, without bold letters."""
    command = f"mandoc -T ascii -O width=200 {man_pages.FOLDER / page} | sed 's/.\b//g'"
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
