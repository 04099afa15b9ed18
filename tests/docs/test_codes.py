"""Every code that an operator can meet is explained: of warnings, of notes on the configuration, of findings."""

import ast
import re
from collections.abc import Iterator

from tests.docs.pages import ROOT

CODE = re.compile(r"`([A-Z]\w+)`")
EVENT = re.compile(r"^\| `([a-z.]+)` \|")
TELLERS = {"Warned", "Trouble", "complain", "_complain", "_warn_once"}
"""Those get a code as their first argument; what is no text there is passed on by one that got it so."""


def test_each_warning_of_the_log_is_explained_and_no_other() -> None:
    rows = section("docs/operations.md", "## Warnings in the log")
    # What has no code is shown with the sources alone.
    assert documented(rows) == set(codes(TELLERS)) - {""}


def test_each_note_on_the_configuration_is_explained() -> None:
    assert set(codes({"note"})) <= documented(section("docs/check.md", "**config**"))


def test_each_finding_that_is_not_well_is_explained_and_no_other() -> None:
    page = (ROOT / "docs" / "check.md").read_text("utf-8")
    explained = documented(page.partition("## What the codes mean")[2].partition("\n## ")[0])
    source = "\n".join(file.read_text("utf-8") for file in (ROOT / "restbroker").rglob("*.py"))
    assert set(findings()) <= explained
    assert {code for code in explained if f'"{code}"' not in source} == set()


def findings() -> Iterator[str]:
    """The code of each `Finding` but those that say that all is well."""
    for file in (ROOT / "restbroker").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name("Finding"), args=[ast.Constant("ok"), *_]):
                    pass
                case ast.Call(func=ast.Name("Finding"), args=[_, _, code, *_]):
                    yield from texts(code)
                case _:
                    pass


def test_each_line_of_the_log_is_explained_and_no_other() -> None:
    explained = {
        found for row in section("docs/telemetry.md", "## Log events").splitlines() for found in EVENT.findall(row)
    }
    assert explained == set(events())


def events() -> Iterator[str]:
    """That of each `Line` which is made."""
    for file in (ROOT / "restbroker" / "telemetry").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and name_of(node.func) == "Line":
                yield from texts(node.args[1])


def section(page: str, heading: str) -> str:
    """The first table behind the heading."""
    text = (ROOT / page).read_text("utf-8")
    return text[text.index(heading) :].split("\n|---|", 1)[1].split("\n\n", 1)[0]


def documented(table: str) -> set[str]:
    return {code for row in table.splitlines() if row.startswith("| ") for code in CODE.findall(row.split("|")[1])}


def codes(tellers: set[str]) -> Iterator[str]:
    """Each text that is the first argument of one of these functions or methods."""
    for file in (ROOT / "restbroker").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and node.args and name_of(node.func) in tellers:
                yield from texts(node.args[0])


def name_of(function: ast.expr) -> str:
    match function:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def texts(expression: ast.expr) -> Iterator[str]:
    match expression:
        case ast.Constant(str(text)):
            yield text
        case ast.IfExp(_, body, orelse):
            yield from texts(body)
            yield from texts(orelse)
        case _:
            pass
