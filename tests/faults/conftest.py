"""The bench of each fault test. One ejabberd serves all tests of this folder."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from restbroker.store.client import Client, StoreSettings, open_client
from tests.support.bench import Bench
from tests.support.counting_proxy import CountingProxy
from tests.support.ejabberd import Ejabberd
from tests.support.ports import free_port
from tests.support.redis_line import Line, Report
from tests.support.redis_server import RedisServer
from tests.support.several import Several
from tests.support.shared import FAST_RETRIES
from tests.support.tcp_proxy import TcpProxy
from tests.support.wait import NEVER_S


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
def several(tmp_path: Path, redis_url: str, client: Client) -> Several:
    """A broker with several targets, to be configured."""
    return Several(tmp_path / "env.json", redis_url, client)


@pytest.fixture
def durable_redis(make_redis: Callable[..., RedisServer]) -> RedisServer:
    """A Redis that loses nothing when it is killed."""
    return make_redis(appendonly="yes", appendfsync="always")


@pytest.fixture
def make_bench(tmp_path: Path, ejabberd: Ejabberd) -> Iterator[Callable[[RedisServer], Bench]]:
    """Sets the bench of a test up on a Redis."""
    with ExitStack() as stack:

        def make(redis: RedisServer) -> Bench:
            client = open_client(StoreSettings(redis.url), NEVER_S)
            stack.callback(client.close)
            proxy = stack.enter_context(CountingProxy(ejabberd.port))
            bench = Bench(tmp_path, redis, client, ejabberd, proxy)
            bench.configure(Backoff=FAST_RETRIES)
            stack.enter_context(bench.stack)
            return bench

        yield make


@pytest.fixture
def bench(make_bench: Callable[[RedisServer], Bench], redis_server: RedisServer) -> Bench:
    return make_bench(redis_server)


@pytest.fixture
def durable_bench(make_bench: Callable[[RedisServer], Bench], durable_redis: RedisServer) -> Bench:
    """A bench whose Redis the test may kill."""
    return make_bench(durable_redis)


@pytest.fixture
def make_line(report: Report, request: pytest.FixtureRequest) -> Iterator[Callable[[Bench], Line]]:
    """Puts a bad network between the brokers of a bench and their Redis; at the end no broker may have crashed."""
    lines: list[Line] = []
    with ExitStack() as stack:

        def make(bench: Bench) -> Line:
            proxy = stack.enter_context(TcpProxy(bench.redis.port))
            short = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))
            lines.append(Line(bench, proxy, free_port(), report, short))
            lines[-1].configure()
            return lines[-1]

        yield make
        for line in lines:
            for broker in line.bench.brokers:
                assert "Traceback" not in broker.output()


@pytest.fixture
def line(make_line: Callable[[Bench], Line], bench: Bench) -> Line:
    """On the run's Redis, which is not to be killed."""
    return make_line(bench)


@pytest.fixture
def own_line(make_line: Callable[[Bench], Line], durable_bench: Bench) -> Line:
    """On a Redis of its own, which loses nothing when it is killed."""
    return make_line(durable_bench)
