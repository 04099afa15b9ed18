"""Each test that proves a promise exists, pages name those of the table, and each row that needs a proof has one."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from pathlib import Path

from tests.support.process import clean_environment
from tests.support.promises import promises, proofs_of
from tools.pages import ROOT

PROOF = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PRODUCT = re.compile(r"`((?:restbroker|contrib)/[\w./]+)`")
PLAYER = ROOT / "tests" / "support" / "player.py"
PAGES_OF_PROOFS = ("docs/appendix/proofs.md", "docs/appendix/security.md", "docs/appendix/sidekiq.md")


def test_each_test_of_the_table_exists_and_a_page_names_those_that_the_table_has_for_it() -> None:
    proofs = [test.split("::") for page in promises().values() for test in proofs_of(page)]
    assert [f"{file}::{test}" for file, test in proofs if test not in functions(file)] == []
    for name in PAGES_OF_PROOFS:
        page = (ROOT / name).read_text("utf-8")
        named = PROOF.findall(page)
        assert len(named) == page.count("::test_") > 0, name
        assert {f"{file}::{test}" for file, test in named} == proofs_of(promises()[name]), name


def test_each_row_of_a_table_of_proofs_has_one_and_each_file_that_defends_against_a_threat_exists() -> None:
    for name in PAGES_OF_PROOFS:
        rows = list(rows_to_prove((ROOT / name).read_text("utf-8")))
        assert len(rows) >= 10, name
        assert [row for row in rows if not PROOF.search(row)] == []
    named = PRODUCT.findall((ROOT / "docs/appendix/security.md").read_text("utf-8"))
    assert [file for file in named if not (ROOT / file).is_file()] == []


def test_a_run_of_all_tests_fails_that_left_out_one_which_proves_a_promise(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests.support.promises import Proofs\n"
        "def pytest_configure(config):\n"
        "    config.pluginmanager.register(Proofs(frozenset({'test_it.py::test_a', 'test_it.py::test_b'})))\n"
    )
    tests = tmp_path / "test_it.py"
    tests.write_text("import pytest\n\n@pytest.mark.parametrize('x', [1])\ndef test_a(x): ...\n")

    environ = clean_environment({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})

    def ran(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    code, told = ran()
    assert (code, "test_it.py::test_b" in told, "test_it.py::test_a" in told) == (1, True, False)
    assert ran("test_it.py")[0] == 0
    tests.write_text(f"{tests.read_text()}\n@pytest.mark.skip\ndef test_b(): ...\n")
    assert ran("-p", "xdist", "-n1")[0] == 1


def test_no_promise_is_proved_by_assumed_answers_alone(tmp_path: Path) -> None:
    tests = sorted(test for page in promises().values() for test in proofs_of(page))
    of_files = {file: list(some) for file, some in groupby(tests, key=lambda test: test.partition("::")[0])}
    playing = [some for file, some in of_files.items() if PLAYER in modules_of(ROOT / file)]
    assert playing
    assert [test for some in playing for test in resting_on_assumed(ROOT, tmp_path, some)] == []


def test_a_proof_that_is_given_nothing_but_assumed_answers_or_none_is_found(tmp_path: Path) -> None:
    given, none = tmp_path / "test_given.py", tmp_path / "test_none.py"
    given.write_text(
        "import httpx\n"
        "from tests.support import player\n\n"
        "def ask(name, **how):\n"
        "    exchanges = player.recorded(f'mongooseim/6.8/{name}', 'mongooseim/6.8/account')\n"
        "    one = next(one for one in exchanges if (one.assumed != '') == how['assumed'])\n"
        "    with player.Player([one]) as server:\n"
        "        httpx.request(one.method, server.url + one.path, content=one.body, headers=one.headers)\n\n"
        "def test_assumed():\n    ask('user', assumed=True)\n\n"
        "def test_recorded():\n    ask('user', assumed=False)\n\n"
        "def test_both():\n    ask('user', assumed=True)\n    ask('user', assumed=False)\n"
    )
    none.write_text("def test_none(): ...\n")
    assert resting_on_assumed(tmp_path, tmp_path, [given.name]) == ["test_given.py::test_assumed"]
    assert resting_on_assumed(tmp_path, tmp_path, [none.name]) == ["test_none.py::test_none"]


def resting_on_assumed(root: Path, folder: Path, tests: Iterable[str]) -> list[str]:
    """Return those of these tests, all of one file, that rest on assumed answers alone, or on none at all."""
    note = folder / "played.json"
    watched = ["-p", "tests.support.played", "--played", str(note)]
    command = [sys.executable, "-m", "pytest", "-o", "pythonpath=", "-p", "no:cacheprovider", *watched, *tests]
    done = subprocess.run(command, cwd=root, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return [test for test, answers in json.loads(note.read_text("utf-8")).items() if not answers["recorded"]]


def rows_to_prove(page: str) -> Iterator[str]:
    """The rows of every table whose last column is called "proved by"."""
    proved = False
    for before, line in zip(["", *page.splitlines()], page.splitlines(), strict=False):
        if line.startswith("|") and not before.startswith("|"):
            proved = line.rstrip(" |").endswith("| proved by")
        elif line.startswith("|") and proved and not line.startswith("|--"):
            yield line


@cache
def functions(file: str) -> set[str]:
    """The names of the functions of this file; none if there is no such file."""
    path = ROOT / file
    text = path.read_text("utf-8") if path.exists() else ""
    return set(re.findall(r"^(?:async )?def (\w+)", text, re.MULTILINE))


def modules_of(test: Path) -> Iterable[Path]:
    """The file of a test, the `conftest.py` of its folders, and each module of tests that these import."""
    known: set[Path] = set()
    pending = [test, *(conftest for folder in test.parents if (conftest := folder / "conftest.py").exists())]
    while pending:
        known.add(file := pending.pop())
        files = {(ROOT / name.replace(".", "/")).with_suffix(".py") for name in imported(file)}
        pending += [one for one in files - known if one.exists()]
    return known


@cache
def imported(file: Path) -> frozenset[str]:
    """What of tests it may import: by `from a import b` both `a` and `a.b`."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        match node:
            case ast.Import():
                names += [one.name for one in node.names]
            case ast.ImportFrom(module=str(module)):
                names += [module, *(f"{module}.{one.name}" for one in node.names)]
            case _:
                pass
    return frozenset(name for name in names if name.startswith("tests."))
