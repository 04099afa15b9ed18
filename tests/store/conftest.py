"""The store's tests run on a real Redis and a real Valkey, each emptied for every test."""

from collections.abc import Iterator

import pytest
import redis

from restbroker.store.client import Client, open_client
from restbroker.store.jobs import register
from tests.store.lanes import FACTS, QUEUES, Lane, Server
from tests.support.redis_server import RedisServer


@pytest.fixture(params=["redis_server", "valkey_server"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    process: RedisServer = request.getfixturevalue(request.param)
    raw = redis.Redis(port=process.port, socket_timeout=60)
    yield Server(request.param, process, raw)
    raw.config_set("maxmemory", 0)
    raw.close()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    opened = open_client(server.settings)
    yield opened
    opened.close()


@pytest.fixture
def lane(client: Client) -> Lane:
    identity = "h:1:abc:t"
    assert register(client, identity, FACTS, QUEUES)
    return Lane(client, identity)
