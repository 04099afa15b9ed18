"""A job that was given up, as a person meets it: found by a filter, understood, sent again, and seen delivered.

Everything is real: the broker and each command are processes, Redis is Redis, and the server takes what is sent.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from tests.support.process import Running, started
from tests.support.process import run_here as run
from tests.support.receiver import Answer, Received, Receiver
from tests.support.wait import until

TOKEN = "a-token-of-4711"
JIDS = {"ann": "b4ac0ffee000000000000001", "bob": "b4ac0ffee000000000000002"}
REFUSED = Answer(400, b'{"error":"no such room"}')
Shell = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(lambda _received: REFUSED) as running:
        yield running


@pytest.fixture
def shell(tmp_path: Path, redis_url: str, receiver: Receiver) -> Shell:
    commands = {"invite": {"Path": "rooms/{room}/guests"}}
    target = {
        "Kind": "http",
        "URL": receiver.url,
        "Queues": ["hooks"],
        "Options": {"Commands": commands, "AllowPrivate": True},
    }
    document = {"RedisURL": redis_url, "Token": TOKEN, "History": "24h", "Targets": {"hook": target}}
    (tmp_path / "env.json").write_text(json.dumps(document))
    return lambda *words: run(words, directory=tmp_path)


@pytest.fixture
def broker(shell: Shell, tmp_path: Path) -> Iterator[Running]:
    assert shell("config", "show").returncode == 0
    with started(["run"], directory=tmp_path) as running:
        running.wait_for(r"broker\.started")
        yield running


def sent(receiver: Receiver) -> list[Received]:
    return receiver.of("POST")


def story(shell: Shell, jid: str) -> Any:
    """As a program reads it."""
    return json.loads(shell("explain", jid, "--json").stdout)


def test_a_dead_job_is_found_by_a_filter_understood_retried_and_seen_delivered(
    shell: Shell, broker: Running, receiver: Receiver, redis_url: str
) -> None:
    client = open_client(StoreSettings(redis_url))
    for user, jid in JIDS.items():
        args = ["invite", {"room": "lobby", "user": user, "password": "hush-hush"}, TOKEN]
        queues.push(
            client, "hooks", [json.dumps({"class": "Add", "jid": jid, "queue": "hooks", "args": args}).encode()]
        )
    until(lambda: client.command("ZCARD", "dead") == 2, "both are parked")
    jid = JIDS["bob"]

    found = shell("dead", "list", "--where", "user = bob", "--where", "command = invite")
    (line,) = found.stdout.splitlines()
    assert line.split("\t")[1:3] == [jid, "invite"]
    assert found.stderr == "1 of 2 jobs in the dead set.\n"

    parked = shell("explain", jid)
    assert "nothing happens until somebody retries or deletes it" in parked.stdout
    assert "status 400" in parked.stdout
    assert "no such room" in parked.stdout
    assert f"restbroker dead retry {jid}" in parked.stderr
    assert "hush-hush" not in parked.stdout + parked.stderr
    assert TOKEN not in parked.stdout + parked.stderr

    receiver.act = lambda _received: Answer(201, b'{"ok":true}')
    done = shell("dead", "retry", jid)
    assert (done.returncode, done.stderr) == (0, "1 job retried.\n")
    until(lambda: story(shell, jid)["ends"], "its story has an end")
    assert [json.loads(one.body).get("user") for one in sent(receiver)].count("bob") == 2

    ended = shell("explain", jid)
    assert (ended.returncode, ended.stderr) == (0, "")
    told = dict(line.split("\t", 1) for line in ended.stdout.splitlines())
    assert told["where"].startswith("It was parked at ")
    assert "delivered  status 201" in told["ended"]
    assert told["ended"].endswith("invite (hook)")
    assert "retry (dead)" in told["done by"]
    left = shell("dead", "list").stdout.splitlines()
    assert [line.split("\t")[1] for line in left] == [JIDS["ann"]], "the other one stays"
    assert broker.stop() == 0
