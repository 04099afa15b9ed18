"""The bench of each fault test, and a way to tell what was measured. One ejabberd serves all tests of this folder."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from restbroker.store.client import StoreSettings, open_client
from tests.support.bench import FAST_RETRIES, Bench
from tests.support.counting_proxy import CountingProxy
from tests.support.ejabberd import Ejabberd
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="session")
def breakable_ejabberd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ejabberd]:
    server = Ejabberd(tmp_path_factory.mktemp("ejabberd"))
    yield server
    server.kill()


@pytest.fixture
def ejabberd(breakable_ejabberd: Ejabberd) -> Ejabberd:
    """A running ejabberd, however the test before left it; it keeps the accounts of earlier tests."""
    if breakable_ejabberd.process is None:
        breakable_ejabberd.start()
    return breakable_ejabberd


@pytest.fixture
def durable_redis(make_redis: Callable[..., RedisServer]) -> RedisServer:
    """A Redis that loses nothing when it is killed."""
    return make_redis(appendonly="yes", appendfsync="always")


@pytest.fixture
def bench(tmp_path: Path, redis_server: RedisServer, ejabberd: Ejabberd) -> Iterator[Bench]:
    yield from _bench(tmp_path, redis_server, ejabberd)


@pytest.fixture
def durable_bench(tmp_path: Path, durable_redis: RedisServer, ejabberd: Ejabberd) -> Iterator[Bench]:
    """A bench whose Redis the test may kill."""
    yield from _bench(tmp_path, durable_redis, ejabberd)


def _bench(directory: Path, redis: RedisServer, ejabberd: Ejabberd) -> Iterator[Bench]:
    client = open_client(StoreSettings(redis.url))
    with CountingProxy(ejabberd.port) as proxy:
        bench = Bench(directory, redis, client, ejabberd, proxy)
        bench.configure(Backoff=FAST_RETRIES)
        with bench.stack:
            yield bench
    client.close()


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Shows a result on the terminal, also while output is captured."""

    def say(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}")
            sys.stdout.flush()

    return say
