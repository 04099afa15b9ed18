"""The examples in every `--help`, and what the group's help says of exit codes."""

import re
import shlex
import time

import pytest
from typer import _click
from typer.core import TyperGroup

from restbroker.cli import order
from restbroker.cli.app import COMMANDS, load
from restbroker.cli.examples import examples, walk
from restbroker.cli.exits import MEANINGS, Exit
from restbroker.connectors import registry
from restbroker.rules import where
from restbroker.rules.where import FIELDS
from tests.docs.code_tables import table
from tests.support.process import run

ADVICE = (
    "Give `restbroker {path}` two to four examples in restbroker/cli/examples.txt, below a line [{path}]: real command "
    "lines, with a remark (# …) in front where one is needed."
)
LOADED = {name: load(name) for name in COMMANDS}
PATHS = {path: command for name, command in LOADED.items() for path, command in walk(command, name)}
LINES = [
    pytest.param(path, line, id=line[:60])
    for path, lines in examples().items()
    for line in lines
    if not line.startswith("#")
]


def test_every_command_has_examples_and_every_example_a_command() -> None:
    shown = examples()
    for path in PATHS:
        lines = [line for line in shown.get(path, ()) if not line.startswith("#")]
        assert 1 <= len(lines) <= 5, ADVICE.format(path=path)
        for line in lines:
            assert line.startswith(f"restbroker {path}"), line
    assert set(shown) - set(PATHS) == {"restbroker"}


@pytest.mark.parametrize(("path", "line"), LINES)
def test_each_example_is_a_line_that_its_command_reads(path: str, line: str) -> None:
    words = shlex.split(line)
    assert words.pop(0) == "restbroker"
    name = words.pop(0)
    parameters = _read(LOADED[name], name, words)
    for condition in parameters.get("where") or ():
        (found,) = where.read([condition], time.time())
        assert found.argument is not None or found.field in FIELDS
    if name == "enqueue" and parameters.get("command") is not None:
        named, given = order.joined((), parameters["command"], parameters["words"])
        spec = registry.catalogue(registry.KINDS[0]).commands[named]
        taken = {argument.name for argument in spec.arguments}
        assert {re.split("[:=]", word)[0] for word in given} <= taken, taken


def _read(command: _click.Command, name: str, words: list[str]) -> dict[str, object]:
    """What the command's parameters become; nothing is run."""
    with command.make_context(name, words) as context:
        rest = [*context._protected_args, *context.args] if isinstance(command, TyperGroup) else []
        if not rest or not isinstance(command, TyperGroup):
            return context.params
        below, found, rest = command.resolve_command(context, rest)
    assert found is not None
    assert below is not None
    return _read(found, below, rest)


def test_help_shows_the_examples_as_they_are_written() -> None:
    shown = run(["dead", "retry", "--help"]).stdout
    for line in examples()["dead retry"]:
        assert f"\n    {line}\n" in shown


def test_the_groups_help_says_what_each_exit_code_means() -> None:
    shown = run(["--help"]).stdout
    assert set(MEANINGS) >= set(Exit)
    for code, meaning in MEANINGS.items():
        assert f"\n    {code:<4d} {meaning}\n" in shown


def test_the_page_says_what_each_exit_code_means() -> None:
    rows = table("docs/cli.md", "## Exit codes")
    assert {int(code): meaning.replace(r"\|", "|") for code, meaning in rows} == dict(MEANINGS)
