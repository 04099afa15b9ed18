"""The package that the page "Write a server kind" shows: it installs, and a broker does its commands."""

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


@pytest.mark.slow
def test_broker_check_and_commands_know_an_installed_kind(tmp_path: Path, redis_server: RedisServer) -> None:
    environ = beside(installed(written(tmp_path / "package"), tmp_path / "lib"))
    with Receiver(answer) as server:
        (tmp_path / "env.json").write_text(json.dumps(document(server.url, redis_server.url)))
        checked = run(["check", "--json"], directory=tmp_path, environ=environ)
        listed = run(["commands", "--target", "chat"], directory=tmp_path, environ=environ)
        with started(["run"], directory=tmp_path, environ=environ):
            ends = [
                run(["enqueue", "--target", "chat", "--wait", *words], directory=tmp_path, environ=environ)
                for words in (
                    ["create_user", "password=pw", "user=ann"],
                    ["create_user", "password=pw", "user=taken"],
                    ["send_message", "to=ann", "text=Hello"],
                )
            ]
    found = {row["code"]: row for row in json.loads(checked.stdout)["findings"] if row["area"] == "chat"}
    assert "Chatter 2.1 answers." in found["Reachable"]["message"]
    names = [line.split("\t")[0] for line in listed.stdout.splitlines()]
    assert names == ["create_user", "delete_user", "get_user", "send_message"]
    assert [end.returncode for end in ends] == [0, 1, 0], ends
    assert "AlreadyExists" in ends[1].stderr + ends[1].stdout
    assert json.loads(server.of("POST")[-1].body) == {"to": "ann", "text": "Hello", "notify": False}


def test_the_page_shows_what_is_in_the_package() -> None:
    shown = re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(shown) >= 5
    assert [name for name, text in shown if text not in (CHATTER / name).read_text("utf-8")] == []


def test_the_page_has_the_whole_file_of_at_most_120_lines() -> None:
    block = re.compile(r'^```python title="restbroker_chatter.py"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
    shown = block.findall(PAGE.read_text("utf-8"))
    file = (CHATTER / "restbroker_chatter.py").read_text("utf-8")
    assert "".join(shown).split() == file.split()
    assert sum(bool(line.strip()) for line in file.splitlines()) <= 120


def test_a_file_loads_no_trio_where_jobs_are_pushed() -> None:
    code = "import sys, restbroker_chatter as kind; kind.for_version(None); print({'trio', 'httpx'} & set(sys.modules))"
    environ = clean_environment(beside(CHATTER))
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=True)
    assert done.stdout == b"set()\n"


@pytest.mark.parametrize("example", [CHATTER, CHATTER.parent / "restbroker_synapse"], ids=lambda folder: folder.name)
def test_an_example_imports_what_the_page_allows(example: Path) -> None:
    allowed = re.findall(r"`(restbroker\.[\w.]+)`", PAGE.read_text("utf-8").partition("## What you may import")[2])
    imported = {
        node.module
        for file in example.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("restbroker.")
    }
    assert imported
    assert {name for name in imported if name not in allowed and name.rpartition(".")[0] not in allowed} == set()
