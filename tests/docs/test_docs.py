"""What README and docs say is so: their JSON, their commands, their links, and the codes that they explain."""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup

from restbroker.cli.app import COMMANDS
from restbroker.cli.app import load as load_command
from restbroker.cli.lists import ListsFirst
from restbroker.config.load import load
from restbroker.connectors import registry
from restbroker.events import registry as sources
from tests.docs.pages import PAGES, ROOT, anchors, blocks, name_of
from tests.transport.authority import authority

README = ROOT / "README.md"
PRODUCERS = ROOT / "docs" / "producers.md"
JSON_BLOCKS = [
    pytest.param(text, id=f"{name_of(page)}-{number}")
    for page in PAGES
    for number, text in enumerate(blocks(page, "json"))
]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
USE = re.compile(r"(?:^|[`$ ])restbroker ((?:[a-z]+ ?)(?:[^`|\n]*))", re.MULTILINE)
CODE_ROW = re.compile(r"^\| `([A-Z]\w+)` \|", re.MULTILINE)


@pytest.mark.parametrize("text", JSON_BLOCKS)
def test_each_json_block_parses_and_a_configuration_loads(text: str, tmp_path: Path) -> None:
    value = json.loads(text)
    assert value
    if isinstance(value, dict) and "RestQueue" in value:
        secret = tmp_path / "secret"
        secret.write_text("a-secret-of-many-letters\n", encoding="utf-8")
        files = {}
        if "CertFile" in text:
            files["CertFile"], files["KeyFile"] = authority(tmp_path).pair("server")
        file = tmp_path / "env.json"
        file.write_text(json.dumps(_placed(value, files, secret)), encoding="utf-8")
        assert load(file, {}, {}, registry.kinds(), sources.kinds()).config.targets[0].queues == (value["RestQueue"],)


def _placed(value: Any, files: Mapping[str, Path], otherwise: Path) -> Any:
    """The value with files that are there."""
    match value:
        case dict():
            return {
                key: str(files.get(key, otherwise)) if key.endswith("File") else _placed(item, files, otherwise)
                for key, item in value.items()
            }
        case list():
            return [_placed(item, files, otherwise) for item in value]
        case _:
            return value


def test_each_command_line_of_a_page_exists_with_its_options() -> None:
    uses = [use.split() for page in PAGES for use in USE.findall(page.read_text("utf-8"))]
    known = [words for words in uses if words[0] in COMMANDS]
    assert {words[0] for words in known} == set(COMMANDS)
    for words in map(before_a_foreign_command, known):
        assert {word for word in words if word.startswith("--")} <= options_of(words), words


def before_a_foreign_command(words: list[str]) -> list[str]:
    """Without the command of another program, which has options of its own."""
    if load_command(words[0]).context_settings.get("allow_interspersed_args", True):
        return words
    return [words[0], *takewhile(lambda word: word.startswith("-"), words[1:])]


def options_of(words: list[str]) -> set[str]:
    """Every option of the command that these words begin with."""
    command = load_command(words[0])
    alone = len(words) == 1 or words[1].startswith("-")
    if isinstance(command, ListsFirst) and alone:
        command = command.commands["list"]
    elif isinstance(command, TyperGroup) and not (alone and (len(words) > 1 or command.invoke_without_command)):
        found = command.commands.get(words[1])
        assert found is not None, words
        command = found
    return {option for parameter in command.params for option in parameter.opts} | {"--help"}


def test_what_the_readme_has_one_write_into_the_clone_is_ignored_by_git() -> None:
    written = {*re.findall(r"> ([\w-]+)\)?$", README.read_text("utf-8"), re.MULTILINE), "env.json", "token", "password"}
    assert "bobs-password" in written
    assert {f"/{name}" for name in written} <= set((ROOT / ".gitignore").read_text("utf-8").splitlines())


def test_what_httpx_costs_is_what_was_measured() -> None:
    rows = [
        row
        for row in (ROOT / "docs" / "performance.md").read_text("utf-8").splitlines()
        if "restbroker on httpx" in row
    ]
    factors = [float(row.split(" | ")[4].rstrip("×")) for row in rows if row.count("×") == 2]
    for page in ("configuration.md", "targets.md"):
        assert "several times the CPU" in " ".join((ROOT / "docs" / page).read_text("utf-8").split())
    assert factors
    assert all(factor >= 2.5 for factor in factors), factors


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_relative_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text("utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_each_code_that_a_job_can_fail_with_is_explained_and_no_other() -> None:
    assert set(CODE_ROW.findall(PRODUCERS.read_text("utf-8"))) == set(codes())


def codes() -> Iterator[str]:
    """Every text that the code uses as a reason's code."""
    for file in (ROOT / "restbroker").rglob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        named = dict(constants(tree))
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name("Reason"), args=[ast.Name(constant), *_]) if constant in named:
                    yield from texts(named[constant])
                case ast.Call(func=ast.Name("Reason"), args=[first, *_]):
                    yield from texts(first)
                case ast.AnnAssign(target=ast.Name("_REFUSALS"), value=ast.Tuple(rows)):
                    # The one table of codes: pattern, code, cure.
                    yield from (text for row in rows if isinstance(row, ast.Tuple) for text in texts(row.elts[1]))
                case _:
                    pass


def constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The module's annotated names and what they are set to."""
    for node in tree.body:
        match node:
            case ast.AnnAssign(target=ast.Name(name), value=ast.expr() as value):
                yield name, value
            case _:
                pass


def texts(expression: ast.expr) -> Iterator[str]:
    """The texts that this expression may be: itself, or both sides of a condition."""
    match expression:
        case ast.Constant(str(text)):
            yield text
        case ast.IfExp(_, body, orelse):
            yield from texts(body)
            yield from texts(orelse)
        case _:
            pass
