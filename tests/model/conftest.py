"""The model is compared with a real Redis and a real Valkey."""

from collections.abc import Iterator

import pytest
import redis

from tests.store.pools import Server
from tests.support.redis_server import RedisServer
from tests.support.transitions import watched


@pytest.fixture(params=["redis_server", "valkey_server"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    process: RedisServer = request.getfixturevalue(request.param)
    raw = redis.Redis(port=process.port, socket_timeout=60)
    yield Server(request.param, process, raw)
    raw.close()


@pytest.fixture(autouse=True)
def _legal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No job of a broker in the test takes a step that is not in the table."""
    with watched(monkeypatch):
        yield
