"""What the Tab key offers: what the scripts of zsh and fish are told."""

import json
import time
from pathlib import Path

import pytest
import typer

from restbroker.cli.app import COMMANDS, load
from restbroker.cli.examples import walk
from restbroker.store.client import Client
from tests.support.process import run_here

JID = "5c1f0e9a7b3d4826a1c0ffee"


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
    done = run_here([], directory=directory, environ=environ)
    assert (done.returncode, done.stderr) == (0, "")
    return [line for line in done.stdout.splitlines() if line]


def test_queues_are_those_of_the_configuration_and_of_redis_and_none_that_a_shell_could_run(place: Path) -> None:
    assert offered("queues peek ", place) == ["rest\tserved by this configuration", "rest_other"]


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
