"""What the page "Write a server kind" shows is of a whole package: it installs, its tests pass, a broker runs it."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import clean_environment, run, started
from tests.support.receiver import Receiver
from tests.support.redis_server import RedisServer
from tests.support.server_kind import CHATTER, PAGE, answer, beside, document, installed, written


@pytest.fixture(scope="module")
def chatter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the package is installed."""
    place = tmp_path_factory.mktemp("chatter")
    return installed(written(place / "package"), place / "lib")


def test_the_package_s_own_tests_pass(chatter: Path, tmp_path: Path) -> None:
    written(tmp_path)
    command = [sys.executable, "-m", "pytest", "-p", "no:valkey", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(
        command, cwd=tmp_path, env=clean_environment(beside(chatter)), capture_output=True, text=True, check=False
    )
    assert (done.returncode, "3 passed" in done.stdout) == (0, True), done.stdout


def test_a_broker_does_the_page_s_commands_and_check_and_commands_know_the_kind(
    chatter: Path, tmp_path: Path, redis_server: RedisServer
) -> None:
    environ = beside(chatter)
    with Receiver(answer) as server:
        (tmp_path / "env.json").write_text(json.dumps(document(server.url, redis_server.url)))
        checked = run(["check", "--json"], directory=tmp_path, environ=environ)
        listed = run(["commands", "--target", "chat"], directory=tmp_path, environ=environ)
        with started(["run"], directory=tmp_path, environ=environ):
            create = ["enqueue", "--target", "chat", "--wait", "create_user", "password=pw"]
            done = run([*create, "user=ann"], directory=tmp_path, environ=environ)
            refused = run([*create, "user=taken"], directory=tmp_path, environ=environ)
            sent = run(
                ["enqueue", "--target", "chat", "--wait", "send_message", "to=ann", "text=Hello"],
                directory=tmp_path,
                environ=environ,
            )
    found = {one["code"]: one for one in json.loads(checked.stdout)["findings"] if one["area"] == "chat"}
    assert "Chatter 2.1 answers." in found["Reachable"]["message"]
    assert [line.split("\t")[0] for line in listed.stdout.splitlines()] == [
        "create_user",
        "delete_user",
        "get_user",
        "send_message",
    ]
    assert (done.returncode, refused.returncode, sent.returncode) == (0, 1, 0), (done, refused, sent)
    assert "AlreadyExists" in refused.stderr + refused.stdout
    assert json.loads(server.of("POST")[-1].body) == {"to": "ann", "text": "Hello", "notify": False}


def test_what_the_page_shows_of_a_file_is_in_that_file() -> None:
    shown = re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(shown) >= 5
    assert [name for name, text in shown if text not in (CHATTER / name).read_text("utf-8")] == []


def test_the_package_imports_nothing_of_restbroker_but_what_the_page_lists() -> None:
    public = re.findall(r"`(restbroker\.[\w.]+)`", PAGE.read_text("utf-8").partition("## What you may import")[2])
    imported = {
        node.module
        for file in CHATTER.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("restbroker.")
    }
    assert imported
    assert {one for one in imported if one not in public and one.rpartition(".")[0] not in public} == set()
