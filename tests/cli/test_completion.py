"""What the Tab key offers: what the scripts of zsh and fish are told."""

from pathlib import Path

import pytest
import typer

from restbroker.cli.app import COMMANDS, load
from restbroker.cli.examples import walk
from restbroker.console import completion
from tests.support.process import run_here


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
def test_what_fits_is_offered(place: Path, line: str, words: list[str]) -> None:
    (place / "secret").mkdir()
    (place / "secret" / "of-bob").write_text("hunter2")
    assert offered(line, place) == words


def test_no_word_is_offered_that_a_shell_could_run() -> None:
    words = ("rest", "rest$(touch run)", "rest 2", "rest\x1b[2J")
    found = completion.offer(lambda *_: [(word, "") for word in words])
    assert found(typer.Context(load("stats")), "") == [("rest", "")]


def test_names_of_files_are_left_to_the_shell_at_each_parameter_that_takes_a_path() -> None:
    asked = [
        (path, parameter.name)
        for name in COMMANDS
        for path, command in walk(load(name), name)
        for parameter in command.params
        if parameter.type.name == "path"
        and [one.value for one in parameter.shell_complete(typer.Context(command), "en")] != ["en*"]
    ]
    assert asked == []


def test_a_configuration_that_cannot_be_used_is_passed_over_in_silence(tmp_path: Path) -> None:
    (tmp_path / "env.json").write_text('{"RestQueu": "hunter2"}')
    assert offered("targets pause ", tmp_path) == []
    assert offered("enqueue register us", tmp_path) == ["user=\tstring"]
