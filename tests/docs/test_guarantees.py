"""Each test that proves a promise exists, pages name those of the table, and each row that needs a proof has one."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from tests.support.player import FOLDER
from tests.support.process import clean_environment
from tests.support.promises import promises, proofs_of
from tools.pages import ROOT

PROOF = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PRODUCT = re.compile(r"`((?:restbroker|contrib)/[\w./]+)`")
PAGES_OF_PROOFS = ("docs/guarantees.md", "docs/migrate.md", "docs/sidekiq.md", "SECURITY.md")


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
    named = PRODUCT.findall((ROOT / "SECURITY.md").read_text("utf-8"))
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


def test_no_promise_is_proved_by_assumed_answers_alone() -> None:
    """Of each test's file, and what it imports of tests, the files of answers that `recorded("…")` names."""
    assert names_of('recorded(f"a/{b}/c", "f/1/e")\nother("g")') == {"a/*/c", "f/1/e"}
    proofs = {test.split("::")[0] for page in promises().values() for test in proofs_of(page)}
    for proof in proofs:
        names = {name for file in modules_of(ROOT / proof) for name in names_of(file.read_text("utf-8"))}
        for file in (file for name in names - {"*"} for file in FOLDER.glob(f"{name}.json")):
            exchanges = json.loads(file.read_text("utf-8"))["exchanges"]
            assert not all("assumed" in one for one in exchanges), f"{proof} rests on {file.name}, all of it assumed"


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
        imported = re.findall(r"^from (tests[\w.]*) import (.+)$", file.read_text("utf-8"), re.MULTILINE)
        names = {name for room, names in imported for name in (room, *(f"{room}.{one}" for one in names.split(", ")))}
        files = {(ROOT / name.replace(".", "/")).with_suffix(".py") for name in names}
        pending += [one for one in files - known if one.exists()]
    return known


@cache
def names_of(text: str) -> frozenset[str]:
    """The names that are given to `recorded`, with a star for what is put into them."""
    calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    given = (name for call in calls if ast.unparse(call.func).endswith("recorded") for name in call.args)
    parts = (name.values if isinstance(name, ast.JoinedStr) else [name] for name in given)
    return frozenset(
        "".join(str(one.value) if isinstance(one, ast.Constant) else "*" for one in some) for some in parts
    )
