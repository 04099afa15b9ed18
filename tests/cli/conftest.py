"""What the commands stand on: a folder with an env.json for the run's Redis, a shell there, and a client."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from restbroker.store import heartbeats, jobs
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.identities import ProcessInfo
from tests.support.process import run_here

Shell = Callable[..., CompletedProcess[str]]


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


def serve(store: Client, snapshot: bytes, queue: str = "rest") -> None:
    """Has a process serve this queue, which says this of its target."""
    facts = ProcessInfo(77, "node", "boot", "ns", 1, "ejabberd")
    assert jobs.register(store, "node:77:abc", facts, [queue])
    assert heartbeats.write_heartbeats(store, [("node:77:abc", 1)], {"node:77:abc": snapshot}) == [True]
