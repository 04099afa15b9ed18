# ruff: noqa: SLF001 - privates of Typer: its groups
"""The examples in every `--help`, and what the group's help says of exit codes."""

import re
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from typer import _click
from typer.core import TyperGroup

from restbroker.cli import help_pages
from restbroker.cli.app import COMMANDS, load
from restbroker.cli.examples import examples, walk
from restbroker.console import order
from restbroker.operate import where
from restbroker.operate.where import FIELDS
from restbroker.servers import registry

ADVICE = (
    "Give `restbroker {path}` two to four examples in restbroker/cli/examples.txt, below a line [{path}]: real command "
    "lines, with a remark (# …) in front where one is needed."
)
LOADED = {name: load(name) for name in COMMANDS}
PATHS = {path: command for name, command in LOADED.items() for path, command in walk(command, name)}
LINES = [line for lines in examples().values() for line in lines if not line.startswith("#")]


def test_every_command_has_examples_and_every_example_a_command() -> None:
    shown = examples()
    for path in PATHS:
        lines = [line for line in shown.get(path, ()) if not line.startswith("#")]
        assert 1 <= len(lines) <= 5, ADVICE.format(path=path)
        for line in lines:
            assert line.startswith(f"restbroker {path}"), line
    assert set(shown) - set(PATHS) == {"restbroker"}


def test_each_example_is_a_line_that_its_command_reads() -> None:
    for line in LINES:
        words = shlex.split(line)
        assert words.pop(0) == "restbroker"
        name = words.pop(0)
        parameters = _read(LOADED[name], name, words)
        for condition in parameters.get("where") or ():
            (found,) = where.read([condition], time.time())
            assert found.argument is not None or found.field in FIELDS
        if name == "enqueue" and parameters.get("command") is not None:
            named, given = order.joined((), parameters["command"], parameters["words"] or [])
            spec = registry.catalogue(registry.KINDS[0]).commands[named]
            taken = {argument.name for argument in spec.arguments}
            assert {re.split("[:=]", word)[0] for word in given} <= taken, taken


def _read(command: _click.Command, name: str, words: list[str]) -> dict[str, Any]:
    """What the command's parameters become; nothing is run."""
    with command.make_context(name, words) as context:
        rest = [*context._protected_args, *context.args] if isinstance(command, TyperGroup) else []
        if not rest or not isinstance(command, TyperGroup):
            return context.params
        below, found, rest = command.resolve_command(context, rest)
    assert found is not None
    assert below is not None
    return _read(found, below, rest)


def test_what_is_not_surely_a_question_for_help_is_left_to_the_command() -> None:
    rows: list[list[str]] = [
        ["dead", "--why", "--help"],
        ["enqueue", "--json", "--help"],
        ["nonsense", "--help"],
        ["--help", "x"],
        [],
    ]
    for words in rows:
        assert help_pages.ready(words) is None


def test_a_narrow_terminal_and_a_page_that_may_be_old_are_left_to_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert help_pages.ready(["dead", "--help"]) is None
    monkeypatch.setenv("COLUMNS", "80")
    assert help_pages.below(["token"]) == {
        "new": "Make a secret of 32 random bytes and print it, or write it to a file.",
        "list": "Show each token: what it allows, its last use, and how many waiting jobs carry it.",
    }
    monkeypatch.setattr(help_pages, "size", lambda: 1)
    assert help_pages.ready(["dead", "--help"]) is None
    assert help_pages.below(["token"]) == {}
    monkeypatch.setattr(help_pages, "FILE", tmp_path / "none.json")
    assert help_pages.ready(["dead", "--help"]) is None
