"""`make release` begins only at a commit with the tag of its version, and says what is missing."""

import shutil
import subprocess
from pathlib import Path

import pytest

from dev.tools.pages import ROOT
from restbroker import __version__


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in (".ci/release", "restbroker/__init__.py"):
        (tmp_path / name).parent.mkdir()
        shutil.copy(ROOT / name, tmp_path / name)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", "all")
    return tmp_path


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True)


def refusal(folder: Path) -> str:
    done = subprocess.run([folder / ".ci" / "release"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr.strip()


def test_a_commit_without_a_tag_is_not_released(checkout: Path) -> None:
    wanted = f"HEAD has no tag; a release is made of one: git tag -a v{__version__}"
    assert refusal(checkout) == f"make release: {wanted}"


def test_a_tag_of_another_version_is_not_released(checkout: Path) -> None:
    git(checkout, "tag", "v99.0")
    wanted = f"HEAD has the tag v99.0, but restbroker/__init__.py says {__version__}"
    assert refusal(checkout) == f"make release: {wanted}"


def test_changes_that_are_in_no_commit_are_not_released(checkout: Path) -> None:
    git(checkout, "tag", f"v{__version__}")
    (checkout / "new").touch()
    assert refusal(checkout) == "make release: the tree has changes that are in no commit; git status lists them"
