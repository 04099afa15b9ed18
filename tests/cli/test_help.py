"""Examples in every `--help`, and what the Tab key offers by the scripts of zsh and fish."""

import re
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
import typer

from restbroker.cli.app import COMMANDS, load
from restbroker.cli.examples import examples, walk
from restbroker.console import completion
from restbroker.kinds import FLAT
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
    for node in PATHS.values():
        # Nothing is run: what would be run gets the parameters, as read.
        monkeypatch.setattr(node, "callback", parameters.update)
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
            spec = registry.catalogue(FLAT).commands[parameters["command"]]
            taken = {argument.name for argument in spec.arguments}
            assert {re.split("[:=]", word)[0] for word in given} <= taken, taken


def offered(line: str, directory: Path) -> list[str]:
    """The lines that the scripts of zsh and fish get."""
    question = {"_RESTBROKER_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    environ = {**question, "_TYPER_COMPLETE_ARGS": f"restbroker {line}", "RESTBROKER_REDISURL": "redis://127.0.0.1:1"}
    done = run_here([], directory=directory, environ=environ)
    assert (done.returncode, done.stderr) == (0, "")
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("queues peek ", ["rest"]),
        ("dead list --where error!=BadTok", ["error!=BadToken"]),
        ('dead list --where "error = Alr', ["error = AlreadyExists"]),
        # Not again what the line has, and no secret but from a file.
        ("enqueue register user=bob ", ["host=\tstring", "password=@\tstring, secret"]),
        ("enqueue register password=@se", ["password=@secret/"]),
        ("enqueue register password=@secret/", ["password=@secret/of-bob"]),
    ],
)
def test_fitting_words_are_offered(place: Path, line: str, words: list[str]) -> None:
    (place / "secret").mkdir()
    (place / "secret" / "of-bob").write_text("hunter2")
    assert offered(line, place) == words


def test_no_word_is_offered_that_a_shell_could_run() -> None:
    words = ("rest", "rest$(touch run)", "rest 2", "rest\x1b[2J")
    found = completion.offer(lambda *_: [(word, "") for word in words])
    assert found(typer.Context(load("stats")), "") == [("rest", "")]


def test_file_names_are_left_to_the_shell_at_each_path_parameter() -> None:
    completed = [
        (path, parameter.name)
        for name in COMMANDS
        for path, command in walk(load(name), name)
        for parameter in command.params
        if parameter.type.name == "path"
        and [completion.value for completion in parameter.shell_complete(typer.Context(command), "en")] != ["en*"]
    ]
    assert completed == []


def test_unusable_configuration_is_ignored_in_silence(tmp_path: Path) -> None:
    (tmp_path / "env.json").write_text('{"RestQueu": "hunter2"}')
    assert offered("targets pause ", tmp_path) == []
    assert offered("enqueue register us", tmp_path) == ["user=\tstring"]
