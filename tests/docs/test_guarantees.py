"""Each test that a page calls a proof exists, and each row that needs a proof has one."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.docs.pages import ROOT

PROOF = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PRODUCT = re.compile(r"`((?:restbroker|contrib)/[\w./]+)`")
PAGES_OF_PROOFS = ("docs/guarantees.md", "docs/migrate.md", "docs/sidekiq.md", "SECURITY.md")


@pytest.mark.parametrize("name", PAGES_OF_PROOFS)
def test_each_proof_that_a_page_names_is_a_test(name: str) -> None:
    page = (ROOT / name).read_text("utf-8")
    proofs = PROOF.findall(page)
    assert len(proofs) == page.count("::test_") > 0
    missing = [f"{file}::{name}" for file, name in proofs if name not in functions(file)]
    assert missing == []


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


def functions(file: str) -> set[str]:
    """The names of the functions of this file; none if there is no such file."""
    path = ROOT / file
    tree = ast.parse(path.read_text("utf-8") if path.exists() else "")
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
