"""The model is compared with a real Redis and a real Valkey."""

from collections.abc import Iterator

import pytest
import redis

from tests.store.lanes import Server
from tests.support.redis_server import RedisServer


@pytest.fixture(params=["redis_server", "valkey_server"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    process: RedisServer = request.getfixturevalue(request.param)
    raw = redis.Redis(port=process.port, socket_timeout=60)
    yield Server(request.param, process, raw)
    raw.close()
