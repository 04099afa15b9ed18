"""The wheel and the source archive of this tree, built once for each process that runs tests of them."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

from dev.tools.pages import ROOT


@attrs.frozen
class Built:
    """What can be handed out. `tree` are the files of this tree that git knows, or would if they were added."""

    wheel: Path
    sdist: Path
    tree: Sequence[str]


def build(source: Path, into: Path, *targets: str) -> list[Path]:
    """Builds these targets ("wheel", "sdist") of a source tree; the files, in that order."""
    words = [word for target in targets for word in ("--target", target)]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", str(into), *words],
        cwd=source, env={**os.environ, "PYTHONPATH": ""}, check=True, capture_output=True,
    )  # fmt: skip
    endings = {"wheel": "*.whl", "sdist": "*.tar.gz"}
    return [next(into.glob(endings[target])) for target in targets]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    wheel, sdist = build(ROOT, tmp_path_factory.mktemp("dist"), "wheel", "sdist")
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return Built(wheel, sdist, [name for name in listing.stdout.splitlines() if (ROOT / name).is_file()])
