"""The store's tests run on a real Redis, and those `on_both` on a real Valkey too; each is emptied for every test."""

from collections.abc import Iterator

import pytest
import redis

from restbroker.store.client import Client, open_client
from restbroker.store.jobs import register
from tests.store.pools import FACTS, QUEUES, Pool, Server
from tests.support.redis_server import RedisServer


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    name = getattr(request, "param", "redis_server")
    process: RedisServer = request.getfixturevalue(name)
    raw = redis.Redis(port=process.port, socket_timeout=60)
    yield Server(name, process, raw)
    raw.config_set("maxmemory", 0)
    raw.close()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    opened = open_client(server.settings)
    yield opened
    opened.close()


@pytest.fixture
def pool(client: Client) -> Pool:
    identity = "h:1:abc:t"
    assert register(client, identity, FACTS, QUEUES)
    return Pool(client, identity)
