"""What `queues`, `targets` and `processes` tell programs, what they would do, and what is found in a queue."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from restbroker.operate import audit
from restbroker.store import pauses, queues
from restbroker.store.client import Client, StoreSettings, open_client
from tests.operate.lanes import serve
from tests.support.process import run_here as run

Do = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def place(tmp_path: Path, redis_url: str) -> Path:
    document = {"RedisURL": redis_url, "RedisNamespace": "ns", "RestQueue": "rest", "Token": "right-token"}
    (tmp_path / "env.json").write_text(json.dumps(document))
    return tmp_path


@pytest.fixture
def store(redis_url: str) -> Client:
    return open_client(StoreSettings(redis_url, namespace="ns"))


@pytest.fixture
def do(place: Path) -> Do:
    return lambda *words: run(words, directory=place)


def push(store: Client, count: int) -> None:
    jobs = [
        {"class": "Add", "jid": f"j{n}", "args": ["register", {"password": "hush"}, "right-token"]}
        for n in range(count)
    ]
    queues.push(store, "rest", [json.dumps({**job, "enqueued_at": time.time() - 60}).encode() for job in jobs])


def noted(store: Client) -> list[tuple[str, str, str]]:
    """What the record of actions says, oldest first."""
    found = [one.note for one in audit.listed(store, 50)]
    return [(note.action, note.place, note.state) for note in reversed(found)]


def test_a_dry_run_of_a_pause_or_its_end_changes_nothing(do: Do, store: Client) -> None:
    push(store, 1)
    serve(store, "ejabberd", 7, ["rest"])
    for group, name in (("queues", "rest"), ("targets", "ejabberd")):
        paused = do(group, "pause", name, "--for", "1h", "--dry-run")
        assert paused.stderr.startswith(f"{name} would be paused for 1 h;")
        assert "paused" in do(group, "resume", name, "--dry-run").stderr
    assert pauses.paused_queues(store) == {}
    assert pauses.paused_targets(store, ["ejabberd"]).get("ejabberd", ()) == ()
    assert noted(store) == []


def test_waiting_jobs_are_searched_by_conditions_and_it_says_where_to_go_on(do: Do, store: Client) -> None:
    push(store, 30)
    done = do("queues", "peek", "rest", "--where", "jid = j1*", "--limit", "2")
    assert [line.split("\t")[1] for line in done.stdout.splitlines()] == ["j1", "j10"]
    assert "hush" not in done.stdout
    after = done.stderr.split("--after ")[1].strip()
    (last,) = json.loads(do("queues", "peek", "rest", "--where", "jid = j19", "--after", after, "--json").stdout)
    assert (last["jid"], last["arguments"]) == ("j19", {"password": "***"})
    assert do("queues", "peek", "rest", "--where", "comand = x").returncode == 2
    assert do("queues", "peek", "rest", "--after", "5").returncode == 2
