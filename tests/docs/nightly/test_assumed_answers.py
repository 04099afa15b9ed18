"""No promise rests on answers of servers that nobody recorded: `assumed` ones may stand beside recorded ones only."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from itertools import groupby
from pathlib import Path

from dev.tools.pages import ROOT
from dev.tools.proofs import proofs
from tests.support.process import clean_environment

PLAYER = ROOT / "tests" / "support" / "player.py"


def test_no_promise_rests_on_assumed_answers_alone(tmp_path: Path) -> None:
    tests = sorted({test for *_, test in proofs()})
    of_files = {file: list(some) for file, some in groupby(tests, key=lambda test: test.partition("::")[0])}
    playing = [some for file, some in of_files.items() if PLAYER in modules_of(ROOT / file)]
    assert playing
    assert [test for some in playing for test in resting_on_assumed(ROOT, tmp_path, some)] == []


def resting_on_assumed(root: Path, folder: Path, tests: Iterable[str]) -> list[str]:
    """Return those of these tests, all of one file, that rest on assumed answers alone, or on none at all."""
    note = folder / "played.json"
    watched = ["-p", "tests.support.played", "--played", str(note)]
    command = [sys.executable, "-m", "pytest", "-o", "pythonpath=", "-p", "no:cacheprovider", *watched, *tests]
    done = subprocess.run(command, cwd=root, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return [test for test, answers in json.loads(note.read_text("utf-8")).items() if not answers["recorded"]]


def modules_of(test: Path) -> Iterable[Path]:
    """The file of a test, the `conftest.py` of its folders, and each module of tests that these import."""
    known: set[Path] = set()
    pending = [test, *(conftest for folder in test.parents if (conftest := folder / "conftest.py").exists())]
    while pending:
        known.add(file := pending.pop())
        files = {(ROOT / name.replace(".", "/")).with_suffix(".py") for name in imported(file)}
        pending += [file for file in files - known if file.exists()]
    return known


@cache
def imported(file: Path) -> frozenset[str]:
    """What of tests it may import: by `from a import b` both `a` and `a.b`."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        match node:
            case ast.Import():
                names += [name.name for name in node.names]
            case ast.ImportFrom(module=str(module)):
                names += [module, *(f"{module}.{name.name}" for name in node.names)]
            case _:
                pass
    return frozenset(name for name in names if name.startswith("tests."))
