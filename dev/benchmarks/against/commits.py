"""A commit's wheel, built and installed as its users would, with the libraries that its own lock names.

Always holds: nothing of this tree is on the path of what is measured, and its working directory is none of a commit's;
what was installed stays in build/against, so that a second comparison begins at once (`make clean` removes it).
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import attrs

from dev.benchmarks.run import say

_ROOT: Final = Path(__file__).parents[3]
_KEPT: Final = _ROOT / "build" / "against"


@attrs.frozen
class Installed:
    """A commit, and its program."""

    commit: str
    executable: str


def installed(name: str) -> Installed:
    """Return it, after half a minute where it was not there; raise `SystemExit` if there is no such commit."""
    commit = _git("rev-parse", "--short=8", "--verify", f"{name}^{{commit}}").decode().strip()
    # With another Python its figures are others.
    folder = _KEPT / f"{commit}-{platform.python_version()}"
    done = folder / "done"
    if not done.exists():
        say(f"Installing {commit} into {folder.relative_to(_ROOT)} (half a minute)")
        shutil.rmtree(folder, ignore_errors=True)
        _install(commit, folder)
        done.touch()
    return Installed(commit, str(folder / "installed" / "bin" / "restbroker"))


def has_uncommitted() -> bool:
    """Return whether the tree has something that no wheel of a commit has."""
    return bool(_git("status", "--porcelain", "--", "restbroker", "requirements", "pyproject.toml"))


def _install(commit: str, folder: Path) -> None:
    tree, build, target = folder / "tree", folder / "build", folder / "installed"
    tree.mkdir(parents=True)
    _run("tar", "x", "-C", str(tree), content=_git("archive", commit))
    locks = [("-r", str(tree / "requirements" / name)) for name in ("run.lock", "build.lock")]
    _pip(build, "install", "--require-hashes", *locks[0], *locks[1])
    _pip(build, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(tree))
    _pip(target, "install", "--require-hashes", *locks[0])
    _pip(target, "install", "--no-index", "--no-deps", *map(str, folder.glob("*.whl")))
    for used in (tree, build):
        shutil.rmtree(used)


def _pip(environment: Path, *words: str) -> None:
    python = environment / "bin" / "python"
    if not python.exists():
        _run(sys.executable, "-m", "venv", str(environment))
    _run(str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *words)


def _git(*words: str) -> bytes:
    return _run("git", "-C", str(_ROOT), *words)


def _run(*words: str, content: bytes = b"") -> bytes:
    # pip would take a restbroker that it finds by PYTHONPATH for the one to be installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, input=content, capture_output=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout
