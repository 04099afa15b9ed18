"""A broker among Sidekiq's processes, for every test of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.beside_ruby import Beside, beside_ruby
from tests.support.redis_server import RedisServer
from tests.support.scripted import Citizen, ready
from tests.support.sidekiq_web import SidekiqWeb, visiting


@pytest.fixture
def citizen(tmp_path: Path, redis_server: RedisServer) -> Iterator[Citizen]:
    """Everything but a running broker: start one, or several, with `citizen.start()`."""
    with ready(tmp_path, redis_server) as citizen:
        yield citizen


@pytest.fixture(scope="module")
def web(shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidekiqWeb]:
    """Sidekiq Web on the Redis that each test gets empty."""
    with visiting(shared_redis.url, tmp_path_factory.mktemp("web")) as found:
        yield found


@pytest.fixture
def beside(tmp_path: Path, redis_url: str, request: pytest.FixtureRequest) -> Iterator[Beside]:
    """A broker and a Ruby process on one Redis, to be started; a parameter names their namespace."""
    with beside_ruby(tmp_path, redis_url, getattr(request, "param", "")) as one:
        one.configure("rest")
        yield one
