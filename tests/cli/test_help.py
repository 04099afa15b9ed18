"""The examples in every `--help`."""

import re
import shlex
import time
from typing import Any

import pytest

from restbroker.cli.app import COMMANDS, load
from restbroker.cli.examples import examples, walk
from restbroker.operate import where
from restbroker.operate.where import FIELDS
from restbroker.servers import registry
from tests.support.process import run_here

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


def test_an_example_is_never_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pasted half could lack its `--dry-run`."""
    monkeypatch.setenv("COLUMNS", "50")
    shown = run_here(["dead", "retry", "--help"]).stdout
    assert all(f"    {line}\n" in shown for line in examples()["dead retry"])


def test_each_example_is_a_line_that_its_command_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters: dict[str, Any] = {}
    for one in PATHS.values():
        # Nothing is run: what would be run gets the parameters, as read.
        monkeypatch.setattr(one, "callback", parameters.update)
    for line in LINES:
        words = shlex.split(line)
        assert words.pop(0) == "restbroker"
        name = words.pop(0)
        parameters.clear()
        command: Any = LOADED[name]
        command.main(words, prog_name=name, standalone_mode=False)
        for condition in parameters.get("where") or ():
            (found,) = where.read([condition], time.time())
            assert found.argument is not None or found.field in FIELDS
        # With "-" each row of the file names its command.
        if name == "enqueue" and parameters.get("command") not in (None, "-"):
            given = parameters["words"] or []
            spec = registry.catalogue(registry.KINDS[0]).commands[parameters["command"]]
            taken = {argument.name for argument in spec.arguments}
            assert {re.split("[:=]", word)[0] for word in given} <= taken, taken
