"""Each test that proves a promise exists, pages name those of the table, and each row that needs a proof has one."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.support.process import clean_environment
from tests.support.promises import promises, proofs_of

PROOF = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PRODUCT = re.compile(r"`((?:restbroker|contrib)/[\w./]+)`")
PAGES_OF_PROOFS = ("docs/guarantees.md", "docs/migrate.md", "docs/sidekiq.md", "SECURITY.md")


@pytest.mark.parametrize("name", promises())
def test_each_test_that_proves_a_promise_exists(name: str) -> None:
    proofs = [test.split("::") for test in proofs_of(promises()[name])]
    assert [f"{file}::{test}" for file, test in proofs if test not in functions(file)] == []


@pytest.mark.parametrize("name", PAGES_OF_PROOFS)
def test_a_page_names_the_tests_that_the_table_has_for_it(name: str) -> None:
    page = (ROOT / name).read_text("utf-8")
    named = PROOF.findall(page)
    assert len(named) == page.count("::test_") > 0
    assert {f"{file}::{test}" for file, test in named} == proofs_of(promises()[name])


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
    tests.write_text(tests.read_text().replace("@pytest.mark.skip\n", ""))
    assert ran("-p", "xdist", "-n1")[0] == 0


@pytest.mark.parametrize("name", PAGES_OF_PROOFS)
def test_each_row_of_a_table_of_proofs_has_one(name: str) -> None:
    rows = list(rows_to_prove((ROOT / name).read_text("utf-8")))
    assert len(rows) >= 10
    assert [row for row in rows if not PROOF.search(row)] == []


def test_each_file_that_defends_against_a_threat_exists() -> None:
    named = PRODUCT.findall((ROOT / "SECURITY.md").read_text("utf-8"))
    assert len(named) >= 10
    assert [file for file in named if not (ROOT / file).is_file()] == []


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
    tree = ast.parse(path.read_text("utf-8") if path.exists() else "")
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
