"""Every code that a person can meet is explained: of jobs, warnings, notes on the configuration, findings, lines."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

from dev.tools import codes_page
from dev.tools.pages import ROOT
from restbroker.console import codes
from restbroker.servers.findings import Texts
from restbroker.telemetry.log_events import HINTS, LOG_EVENTS
from tests.docs.nightly.transcripts import recipes
from tests.support.process import run_here

# Which argument of what is a code; what is no text there is passed on by one that got it so.
PLACES = dict.fromkeys(
    ("Reason", "found", "OperatorWarning", "Problem", "complain", "_complain", "_warn_once", "note"), 0
)
PLACES |= {"Finding": 2, "Alarm": 0}
TEXTS = {file.parent: Texts.beside(str(file)).rows for file in (ROOT / "restbroker").rglob("findings.toml")}


def test_each_code_that_is_made_is_explained_and_no_other() -> None:
    explained = {row["code"] for row in codes.every() if row["what"] != "an exit code"}
    sources = [file.read_text("utf-8") for file in (ROOT / "restbroker").rglob("*.py")]
    made = {code for source in sources for code in made_in(ast.parse(source))}
    made |= {name.partition("-")[0] for rows in TEXTS.values() for name, text in rows.items() if text.level != "ok"}
    # What has no code is shown with the sources alone.
    assert made - explained - {""} == set()
    every = "".join(sources)
    assert {code for code in explained - made if f'"{code}"' not in every} == set()


@pytest.mark.parametrize("folder", TEXTS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_each_finding_is_given_what_its_texts_name(folder: Path) -> None:
    rows = TEXTS[folder]
    nodes = [node for file in folder.glob("*.py") for node in ast.walk(ast.parse(file.read_text("utf-8")))]
    used = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    begun = tuple(
        part.value
        for node in nodes
        if isinstance(node, ast.JoinedStr)
        for part in node.values[:1]
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )
    assert {name for name in rows if name not in used and not name.startswith(begun)} == set()
    for node in nodes:
        match node:
            case ast.Call(ast.Name("key")):
                pass  # a key may have the name of a finding
            case ast.Call(func, [ast.Constant(str(name))] | [_, ast.Constant(str(name))], values) if name in rows:
                texts = (rows[name].message, rows[name].why or "", rows[name].hint or "")
                named = {field for text in texts for _, field, _, _ in Formatter().parse(text) if field}
                # The findings of a class have the texts of what the class is about.
                own = {"source", "target"} if ast.unparse(func).startswith("self.") else set()
                assert named <= {value.arg for value in values} | own, name
            case _:
                pass


def test_the_page_of_the_command_line_shows_what_is_printed() -> None:
    (recipe,) = recipes(ROOT / "docs" / "cli.md")
    for step in recipe.steps:
        assert run_here(shlex.split(step.typed)[1:]).stdout == step.printed


def test_each_code_has_one_anchor_to_which_explain_leads() -> None:
    anchors = re.findall(r'<a id="([^"]+)">', (ROOT / codes_page.PAGE).read_text("utf-8"))
    assert len(anchors) == len({*anchors})
    pages = {row["page"] for row in codes.every() if row["what"] != "an exit code"}
    assert pages == {f"{codes_page.PAGE}#{code}" for code in anchors}


def test_a_code_that_a_page_links_to_has_more_there_than_its_name() -> None:
    texts = (page.read_text("utf-8") for page in (ROOT / "docs").rglob("*.md"))
    linked = {code for text in texts for code in re.findall(r"codes\.md#([A-Z]\w+)", text)}
    assert linked
    rows = re.findall("(?m)^[|] .*", (ROOT / codes_page.PAGE).read_text("utf-8"))
    assert linked <= {code for row in rows for code in re.findall(r'<a id="([^"]+)">', row)}


def test_explain_says_what_to_do_and_what_no_message_says() -> None:
    (row,) = codes.explanations_of("CrashedAgain")
    assert row["hint"].startswith(
        "Nothing: a job that kills processes becomes dead after six, as `Poison`. If processes "
    )
    (row,) = codes.explanations_of("MarkRefused")
    assert row["hint"] == "`restbroker:sent:…` must be hashes."


def test_each_hint_is_for_a_line_of_the_log() -> None:
    assert {name for names in HINTS for name in names.split(", ")} <= {*LOG_EVENTS}


def made_in(tree: ast.Module) -> Iterator[str]:
    named: dict[str, ast.expr | None] = {}
    for statement in tree.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(name), value=value):
                named[name] = value
            case _:
                pass
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name("Finding"), args=[ast.Constant("ok"), *_]):
                pass
            case ast.Call(func=ast.Name(name) | ast.Attribute(attr=name), args=arguments) if name in PLACES:
                place = PLACES[name]
                if len(arguments) > place:
                    code = arguments[place]
                    yield from texts(named.get(code.id, code) if isinstance(code, ast.Name) else code)
            case ast.AnnAssign(target=ast.Name("_REFUSALS"), value=ast.Tuple(rows)):
                # The one table of codes: pattern, code, hint.
                yield from (text for row in rows if isinstance(row, ast.Tuple) for text in texts(row.elts[1]))
            case _:
                pass


def texts(expression: ast.expr | None) -> Iterator[str]:
    """The texts that this expression may be: itself, or both sides of a condition."""
    match expression:
        case ast.Constant(str(text)):
            yield text
        case ast.IfExp(_, body, orelse):
            yield from texts(body)
            yield from texts(orelse)
        case _:
            pass
