"""The frame around the commands: help, streams that are of no use, and the smaller commands.

What it refuses is in tests/golden/data/verbs.txt, below "== frame".
"""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from typer.core import TyperOption

from restbroker import __version__
from restbroker.cli.app import COMMANDS, command_line, load
from restbroker.cli.examples import walk
from restbroker.errors import ConfigError
from restbroker.store.client import Client
from tests.cli.conftest import NOW_S, Shell, configure, put
from tests.operate.pools import serve
from tests.support.process import RESTBROKER, clean_environment, run_into
from tests.support.process import run_here as run

REPOSITORY = Path(__file__).parents[2]


def test_no_option_has_a_value_for_one_verb_and_none_for_another() -> None:
    for name in COMMANDS:
        kinds: dict[str, bool] = {}
        for path, command in walk(load(name), name):
            for option in (parameter for parameter in command.params if isinstance(parameter, TyperOption)):
                for spelling in option.opts:
                    assert kinds.setdefault(spelling, option.is_flag) == option.is_flag, (path, spelling)


def test_help_and_version_need_no_configuration() -> None:
    for name in ("", "queues", "queues peek", "dead", "dead retry", "enqueue", "ctl", "token new", "config", "demo"):
        whole = run([*name.split(), "--help"]).stdout
        assert whole.lstrip().startswith(f"Usage: restbroker {name}".rstrip())
        assert run([*name.split(), "-h"]).stdout == whole
        assert run(["--config", "none.json", *name.split(), "-h"]).stdout == whole
    rows = {"--version": f"restbroker {__version__}\n", "completion bash": "_", "config schema": "{"}
    for words, begins in rows.items():
        done = run(["--config=none.json", *words.split()])
        assert (done.returncode, done.stdout.startswith(begins), done.stderr) == (0, True, "")


def test_commands_are_those_of_the_servers_version(shell: Shell, store: Client) -> None:
    """The commands of the configured version, else of the one that a process reports, else of the newest."""

    def count(**environ: str) -> int:
        variables = {f"RESTBROKER_{name}": value for name, value in environ.items()}
        return len(shell("commands", environ=variables).stdout.splitlines())

    newest, oldest = count(), count(SERVERVERSION="23.01")
    assert oldest < newest == count(REDISURL="redis://127.0.0.1:1")
    serve(store, "ejabberd", 77, ["rest"], server_version="23.01")
    assert count() == oldest


def test_config_show_hides_secrets_and_nothing_else(place: Path, shell: Shell) -> None:
    """An argument's place in a template is no secret, whatever the argument is called."""
    query = {"api_key": "hunter2", "page": "1", "password": "{password}"}
    order = {"Path": "orders", "Method": "PUT", "Query": query, "Body": {"auth": [{"token": "hunter2", "n": 1}]}}
    http = {"Kind": "http", "URL": "https://a.example.org", "Queues": ["h"], "Options": {"Commands": {"order": order}}}
    auth = {"Basic": {"User": "admin", "Pass": "hunter2"}}
    one = {"Kind": "ejabberd", "URL": "http://u:hunter2@127.0.0.1", "Queues": ["q"], "Auth": auth}
    tokens = {"app": {"Secret": "hunter2", "PreviousSecretFile": "env.json", "Hosts": ["example.org"]}}
    configure(place, Targets={"one": one, "two": http}, Tokens=tokens)
    done = shell("config", "show", "--json", environ={"RESTBROKER_CONCURRENCY": "7", "RESTBROKER_RESTQUEUE": "r"})
    assert "hunter2" not in done.stdout + done.stderr
    shown = json.loads(done.stdout)
    assert (shown["Targets"]["origin"], shown["Concurrency"]["origin"]) == ("file", "RESTBROKER_CONCURRENCY")
    hidden = {"URL": "http://…@127.0.0.1", "Auth": {"Basic": {"User": "admin", "Pass": "…"}}}
    assert shown["Targets"]["value"]["one"] == {**one, **hidden}
    found = shown["Targets"]["value"]["two"]["Options"]["Commands"]["order"]
    assert found == {**order, "Query": {**query, "api_key": "…"}, "Body": {"auth": [{"token": "…", "n": 1}]}}
    assert shown["Tokens"]["value"]["app"] == {**tokens["app"], "Secret": "…"}
    assert (shown["DeadLimit"], shown["RateLimit"]["origin"]) == ({"value": 100_000, "origin": "default"}, "default")


def test_a_file_that_may_not_be_read_is_said_in_our_words(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "env.json").write_text("{}")
    # Root may read everything.
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with pytest.raises(ConfigError, match=r"env\.json cannot be used"):
        command_line().main(["stats", "--config", str(place / "env.json")], standalone_mode=False)
    assert "Usage" not in capsys.readouterr().err


def test_a_reader_that_went_away_is_no_traceback() -> None:
    for words in ("commands", "--help", "stats --help"):
        read, write = os.pipe()
        os.close(read)
        done = run_into(write, words.split(), REPOSITORY)
        os.close(write)
        assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_disk_that_takes_a_part_only_ends_with_8(place: Path, unbuffered: str) -> None:
    """A raw file, as with PYTHONUNBUFFERED, writes what fits and raises nothing."""
    done = in_a_shell("ulimit -f 8; exec $@ >whole.json", "commands --json", place, PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, (place / "whole.json").stat().st_size) == (8, 8192)


@pytest.mark.parametrize(
    ("line", "redirection", "code", "message"),
    [
        ("enqueue -", "<&-", 2, "restbroker: standard input cannot be read"),
        ("enqueue register user=a host=b password=-", "<&-", 2, "restbroker: Standard input is closed."),
        ("dead retry --all", "<&-", 2, "This needs your confirmation, but stdin is not a terminal."),
        ("stats", ">&-", 8, "restbroker: The output cannot be written"),
        ("nonsense", "<&- >&- 2>&-", 2, ""),
        ("commands", ">/dev/full", 8, "restbroker: The output cannot be written: No space left on device.\n"),
        ("--help", ">/dev/full", 8, "restbroker: The output cannot be written: No space left on device.\n"),
    ],
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_useless_standard_stream_is_said_in_plain_words(
    place: Path, store: Client, line: str, redirection: str, code: int, message: str, unbuffered: str
) -> None:
    put(store, "dead", NOW_S, "1")
    done = in_a_shell(f"exec $@ {redirection}", line, place, PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, "Traceback" in done.stderr, message in done.stderr) == (code, False, True)


def in_a_shell(script: str, line: str, place: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a script in which `$@` is restbroker with the words of this line."""
    words = ["bash", "-c", script, "bash", *RESTBROKER, *line.split()]
    env = clean_environment({**environ, "PYTHONDONTWRITEBYTECODE": "1"})
    return subprocess.run(words, cwd=place, env=env, capture_output=True, text=True, check=False)
