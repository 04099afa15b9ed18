"""What the Tab key does: in real shells, and what they are told."""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from restbroker.cli.app import COMMANDS, load
from restbroker.cli.examples import walk
from restbroker.store.client import Client
from tests.support import terminal
from tests.support.process import clean_environment, run
from tests.support.terminal import Terminal

JID = "5c1f0e9a7b3d4826a1c0ffee"
LINES = {
    "enqueu": "enqueue",
    "enqueue register us": "enqueue register user=",
    "enqueue register user=bob pa": "enqueue register user=bob password=@",
    "queues pause rest_": "queues pause rest_other",
    "targets pause ": "targets pause ejabberd",
    "dead show ": f"dead show {JID}",
    "dead list --where err": "dead list --where error=",
    "dead list --where error=TargetUnr": "dead list --where error=TargetUnreachable",
    "explain-error TargetUnr": "explain-error TargetUnreachable",
    "config init en": "config init env.json",
    "dead list --where=error=TargetUnr": "dead list --where=error=TargetUnreachable",
    "enqueue register --target=ej": "enqueue register --target=ejabberd",
    "stats --config=en": "stats --config=env.json",
    "stats --config en": "stats --config env.json",
    "dead list < en": "dead list < env.json",
    "dead list --since en": "dead list --since en",
    "targets pause en": "targets pause en",
    'dead list --where "error = Alr': 'dead list --where "error = AlreadyExists"',
    'dead list --where "error = ': 'dead list --where "error = AlreadyExists"',
    "dead list --where error=": "dead list --where error=AlreadyExists",
    'queues pause --why "mails go out" rest_': 'queues pause --why "mails go out" rest_other',
}
"""What is typed, and what it becomes."""


_TO_BEGIN, _TO_END = "\x01", "\x05"
_MARK = "LINE:"


def completed(shell: Terminal, line: str) -> str:
    # The shell takes what is typed meanwhile when it is done with the Tab. Split, so that it is not found in what the
    # terminal shows of the typing.
    shell.type(f"{line}\t{_TO_BEGIN}echo '{_MARK[:2]}''{_MARK[2:]}<{_TO_END}>'\r")
    shell.until(f"{_MARK}<")
    return shell.until(">")


def environment(home: Path) -> dict[str, str]:
    """Where the shell has `restbroker` on its PATH."""
    folder = home / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "restbroker"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m restbroker "$@"\n')
    program.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    own = {"HOME": str(home), "PATH": path, "TERM": "dumb", "LC_ALL": "C.UTF-8", "XDG_CONFIG_HOME": f"{home}/.config"}
    return clean_environment(own)


def install(shell: str, home: Path) -> None:
    """Have that shell load what `restbroker completion` prints, as docs/cli.md says."""
    home.mkdir()
    # Without a file of its own, zsh would first ask its user questions.
    (home / ".zshrc").touch()
    lines = {"bash": (".bashrc", "", "source <(restbroker completion bash)\n")}
    lines["zsh"] = (".zshrc", "autoload -U compinit && compinit\n", "source <(restbroker completion zsh)\n")
    if shell == "fish":
        script = subprocess.run(
            ["restbroker", "completion", "fish"], env=environment(home), capture_output=True, text=True, check=True
        ).stdout
        file = home / ".config" / "fish" / "completions" / "restbroker.fish"
        file.parent.mkdir(parents=True)
        file.write_text(script)
        return
    name, *texts = lines[shell]
    (home / name).write_text("".join(texts))


@pytest.fixture
def keys() -> dict[str, str]:
    return {"JabberDomain": "example.org"}


@pytest.fixture(autouse=True)
def _filled(store: Client) -> None:
    job = {"class": "Add", "jid": JID, "args": ["register", {"user": "bob", "password": "hunter2"}, "a-token"]}
    store.command("ZADD", "ns:dead", int(time.time()), json.dumps(job | {"error_class": "AlreadyExists"}))
    store.command("SADD", "ns:queues", "rest", "rest_other", "rest$(touch run)", "rest 2", "rest\x1b[2J")


def offered(line: str, directory: Path, *, redis: str | None = None) -> list[str]:
    """The lines that the scripts of zsh and fish get."""
    question = {"_RESTBROKER_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    environ = {
        **question,
        "_TYPER_COMPLETE_ARGS": f"restbroker {line}",
        **({"RESTBROKER_REDISURL": redis} if redis else {}),
    }
    done = run([], directory=directory, environ=environ)
    assert (done.returncode, done.stderr) == (0, "")
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_tab_completes_in_a_real_shell_that_loads_the_script(shell: str, place: Path) -> None:
    home = place / "home"
    install(shell, home)
    # fish ends without a controlling terminal.
    with terminal.opened([shell, "-i"], place, environment(home)) as typing:
        for typed, expected in LINES.items():
            assert completed(typing, f"restbroker {typed}").rstrip() == f"restbroker {expected}"
        (home / "my env.json").touch()
        assert completed(typing, "~/bin/restbroker enqueu").rstrip() == "~/bin/restbroker enqueue"
        for option in ("--config=", "--config "):
            line = completed(typing, f"~/bin/restbroker stats {option}~/my")
            assert line.rstrip() == rf"~/bin/restbroker stats {option}~/my\ env.json"
    assert not (place / "run").exists()


def test_queues_are_those_of_the_configuration_and_of_redis_and_none_that_a_shell_could_run(place: Path) -> None:
    assert offered("queues peek ", place) == ["rest\tserved by this configuration", "rest_other"]


def test_jobs_are_offered_by_their_id_without_their_arguments(place: Path) -> None:
    for line in ("dead show ", "dead retry --dry-run ", "explain "):
        assert offered(line, place) == [f"{JID}\tregister AlreadyExists"], line
    assert offered("retries show ", place) == []
    assert offered(f"dead retry {JID} ", place) == []


def test_a_job_that_is_to_be_explained_may_wait_in_a_queue_too(place: Path, store: Client) -> None:
    jobs = [json.dumps({"class": "Add", "jid": f"j{number}", "args": ["status", {}]}) for number in range(60)]
    store.command("RPUSH", "ns:queue:rest", *jobs)
    lines = offered("explain ", place)
    assert lines[0].startswith(JID)
    # The end of the list is taken next.
    assert lines[1:] == [f"j{number}\tstatus waits in rest" for number in range(59, 9, -1)]
    assert offered("dead show j", place) == []


def test_errors_are_those_of_the_set_and_all_codes_where_none_of_them_begins_so(place: Path) -> None:
    assert offered("dead list --where error=", place) == ["error=AlreadyExists"]
    assert offered("dead list --where error!=BadTok", place) == ["error!=BadToken"]
    assert len(offered("retries list --where error=Bad", place)) > 5
    assert offered('dead list --where "error = A', place) == ["error = AlreadyExists"]
    assert offered("dead list --where error=Al", place, redis="redis://127.0.0.1:1") == ["error=AlreadyExists"]


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


def test_while_redis_is_away_nothing_of_it_is_offered_and_nothing_is_said(place: Path) -> None:
    rows: list[str] = ["redis://127.0.0.1:1", "redis://192.0.2.1:6379"]
    for redis in rows:
        assert offered("dead show ", place, redis=redis) == []
        assert offered("queues peek ", place, redis=redis) == ["rest\tserved by this configuration"]


def test_a_configuration_that_cannot_be_used_is_passed_over_in_silence(tmp_path: Path) -> None:
    (tmp_path / "env.json").write_text('{"RestQueu": "hunter2"}')
    assert offered("targets pause ", tmp_path) == []
    assert offered("enqueue register us", tmp_path) == ["user=\tstring"]


def test_arguments_that_the_line_has_are_not_offered_again_and_a_secret_is_asked_from_a_file(tmp_path: Path) -> None:
    assert offered("enqueue register user=bob ", tmp_path) == ["host=\tstring", "password=@\tstring, secret"]
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "of-bob").write_text("hunter2")
    assert offered("enqueue register password=@se", tmp_path) == ["password=@secret/"]
    assert offered("enqueue register password=@secret/", tmp_path) == ["password=@secret/of-bob"]
