"""Each test that docs/guarantees.md calls a proof exists."""

import ast
import re

from tests.docs.pages import ROOT

PROOF = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_each_proof_that_a_guarantee_names_is_a_test() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
    proofs = PROOF.findall(page)
    assert len(proofs) == page.count("::test_") > 0
    missing = [f"{file}::{name}" for file, name in proofs if name not in functions(file)]
    assert missing == []


def functions(file: str) -> set[str]:
    """The names of the functions of this file; none if there is no such file."""
    path = ROOT / file
    tree = ast.parse(path.read_text("utf-8") if path.exists() else "")
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
