"""restbroker uses what Typer offers in public; what reaches its entry point ends as a message and an exit code."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from restbroker.__main__ import main
from restbroker.cli.app import COMMANDS
from restbroker.errors import StoreUnavailable, UsageError
from tests.support.process import run_here

ROOT = Path(__file__).parents[3]
BESIDE = """
import sys, typer
from restbroker.cli.app import command_line

command_line()
app = typer.Typer()

@app.command()
def double(number: int) -> None:
    print(2 * number)

app(prog_name="small")
"""


def run(command: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments."""
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_small_program_in_the_process_works_as_if_alone() -> None:
    assert run(["-c", BESIDE, "21"]).stdout == "42\n"
    assert run(["-c", BESIDE, "many"]).returncode == 2
    script = run(["-c", BESIDE], _SMALL_COMPLETE="source_bash").stdout
    assert "small" in script
    assert "restbroker" not in script


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_each_command_prints_its_help(name: str) -> None:
    done = run_here([*name.split(), "--help"])
    assert done.returncode == 0, done.stderr
    assert f"restbroker {name}".rstrip() in done.stdout


def test_unusable_command_line_exits_2_and_says_what_is_meant() -> None:
    rows: list[tuple[str, str]] = [
        ("enqeue", "Did you mean enqueue"),
        ("config check", "Did you mean restbroker check?"),
        ("dead list --limit x", "--limit"),
        ("completion tcsh", "'bash'"),
        ("stats --nonsense", "--nonsense"),
    ]
    for line, said in rows:
        done = run(["-m", "restbroker", *line.split()])
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr


def test_typer_answers_what_the_scripts_ask() -> None:
    for line, answer in (
        ("enqueu", "enqueue"),
        ("completion ", "bash zsh fish"),
        ("explain TargetUnr", "TargetUnreachable"),
        ("explain RedisSentinels", "RedisSentinels"),
    ):
        question = {"COMP_WORDS": f"restbroker {line}", "COMP_CWORD": "9999" if line.endswith(" ") else "-1"}
        done = run(["-m", "restbroker"], _RESTBROKER_COMPLETE="complete_bash", **question)
        assert done.stdout.split() == answer.split()


def test_each_release_of_typer_names_values_alike() -> None:
    for words, text in (
        ("dead show", "dead show [OPTIONS] JID"),
        ("dead delete", "--rate N"),
        ("ctl", "ctl [OPTIONS] [COMMAND [ARGUMENT]...]"),
    ):
        shown = run_here([*words.split(), "--help"]).stdout
        # Some releases write {JID}, and each draws its own boxes.
        assert text in " ".join(shown.replace("{", "").replace("}", "").split())


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(prog_name: str) -> None:
        raise error

    monkeypatch.setattr("restbroker.cli.app.command_line", lambda: SimpleNamespace(main=run))


def test_a_group_of_errors_ends_as_its_first_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = ExceptionGroup("", [StoreUnavailable("Redis is away."), UsageError("Another.")])
    raising(monkeypatch, ExceptionGroup("", [inner]))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    assert capsys.readouterr().err == "restbroker: Redis is away.\n"


def test_a_group_with_a_bug_in_it_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, ExceptionGroup("", [UsageError("Known."), ValueError("a bug")]))
    with pytest.RaisesGroup(UsageError, ValueError):
        main()
