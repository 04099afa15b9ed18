"""What the commands stand on: a folder with an env.json for the run's Redis, a shell there, and a client."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from restbroker.operate import audit
from restbroker.store.client import Client, StoreSettings, items, open_client
from tests.support.process import run_here

Shell = Callable[..., CompletedProcess[str]]
NOW_S = 1_700_000_000


@pytest.fixture
def keys() -> Mapping[str, Any]:
    """What env.json has besides, or has not (None); a file of tests may have its own."""
    return {}


@pytest.fixture
def place(tmp_path: Path, redis_url: str, keys: Mapping[str, Any]) -> Path:
    """The folder."""
    document: dict[str, Any] = {
        "RedisURL": redis_url,
        "RedisNamespace": "ns",
        "RestURL": "http://127.0.0.1:1/api",
        "RestQueue": "rest",
        "Token": "right-token",
    }
    document = {key: value for key, value in (document | {**keys}).items() if value is not None}
    (tmp_path / "env.json").write_text(json.dumps(document))
    return tmp_path


@pytest.fixture
def shell(place: Path) -> Shell:
    """Runs a command there: `shell("dead", "--json", stdin="")`."""
    return lambda *words, **more: run_here(words, directory=place, **more)


@pytest.fixture
def store(redis_url: str) -> Iterator[Client]:
    with closing(open_client(StoreSettings(redis_url, namespace="ns"))) as client:
        yield client


def put(store: Client, zset: str, at_s: float, jid: str, command: str = "register", **more: Any) -> None:
    """Put a failed job into a set."""
    args = [command, {"user": jid, "host": "h", "password": "hush-hush"}, "right-token"]
    fields = {"class": "Add", "args": args, "jid": jid, "queue": "rest", "retry_count": 1, "failed_at": NOW_S + 0.5}
    fields |= {"error_class": "ServerError", "error_message": "It failed.", **more}
    store.command("ZADD", f"ns:{zset}", at_s, json.dumps(fields))


def jobs_in(store: Client, key: str) -> list[dict[str, Any]]:
    """Return the jobs of a queue, the next one first, or of a set."""
    words = ("LRANGE" if key.startswith("queue:") else "ZRANGE", f"ns:{key}", 0, -1)
    found = [json.loads(member) for member in items(store.command(*words)) if isinstance(member, bytes)]
    return found[::-1] if key.startswith("queue:") else found


def configure(place: Path, **more: object) -> None:
    """Change the configuration of the folder."""
    path = place / "env.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


def noted(store: Client) -> list[tuple[str, str, str]]:
    """Return action, place and state of each entry of the audit log, oldest first."""
    notes = [entry.note for entry in audit.entries(store, 50)]
    return [(note.action, note.place, note.state) for note in reversed(notes)]
