"""Fixtures for every test: real Redis and Valkey servers, one of each per run, emptied before each test; an ejabberd.

A test that stops, kills or fills a server asks for `make_redis` or `own_ejabberd` and breaks one of its own.
"""

import fcntl
import gc
import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import hypothesis
import pytest

from restbroker.store.client import Client, StoreSettings, open_client
from tests.support import process, sweeper
from tests.support.ejabberd import Ejabberd
from tests.support.paths import Paths
from tests.support.redis_server import RedisServer, redis_binary, valkey_binary

# A shell has what it starts in the background ignore Ctrl-C, and every process of a test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Also a pytest that is killed leaves no process behind.
sweeper.watch()

# A busy machine makes an example slow, and no claim wrong. The blob repeats an example elsewhere. `.ci/soak fuzz`
# tries many more.
hypothesis.settings.register_profile(
    "patient",
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    print_blob=True,
)
hypothesis.settings.load_profile("patient")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what lies in a folder `nightly`, so that `-m nightly` finds it; `make test` does not read these folders."""
    if "nightly" in item.path.parts:
        item.add_marker("nightly")


def pytest_runtest_setup() -> None:
    process.forget_ended()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report a failure with the last output of its test's processes: the machine may be out of reach."""
    report = yield
    if report.failed:
        report.sections += process.last_words()
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Have one worker read the tests first, and keep the garbage collector from what is made here and stays.

    pytest compiles a test file where no compiled one lies; three workers would do so at the same time, each all of
    them. The garbage collector would take 40 % of the time.
    """
    gc.disable()
    try:
        with _first_alone(session.config):
            return (yield)
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _first_alone(config: pytest.Config) -> Iterator[None]:
    """Have the other workers of a run wait until the one that came first has left."""
    compiled = Path(__file__).parent / "__pycache__"
    if not hasattr(config, "workerinput") or not compiled.is_dir():
        yield
        return
    with (compiled / "read-by").open("a+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        run = config.workerinput["testrunuid"]
        if file.read() == run:
            fcntl.flock(file, fcntl.LOCK_UN)
            yield
        else:
            yield
            file.truncate(0)
            file.write(run)


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Note a figure that a test measured; the figures of all tests are printed at the end of the run."""
    return lambda line: record_property("measured", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that the tests of all workers measured."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    ends = [report for report in reports if getattr(report, "when", "") == "teardown"]
    figures = [figure for end in ends for name, figure in end.user_properties if name == "measured"]
    if figures:
        terminalreporter.section("measured")
    for figure in figures:
        terminalreporter.line(figure)


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(redis_binary(), tmp_path_factory.mktemp("redis")).start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(valkey_binary(), tmp_path_factory.mktemp("valkey")).start()
    yield server
    server.close()


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """The run's Redis, empty."""
    shared_redis.flush()
    return shared_redis


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of an empty Redis."""
    return redis_server.url


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    """A client of the empty Redis."""
    with closing(open_client(StoreSettings(redis_url))) as client:
        yield client


@pytest.fixture
def paths(redis_server: RedisServer, tmp_path: Path, client: Client) -> Paths:
    return Paths(redis_server, tmp_path, client)


@pytest.fixture
def valkey_server(shared_valkey: RedisServer) -> RedisServer:
    """The run's Valkey, empty."""
    shared_valkey.flush()
    return shared_valkey


@pytest.fixture
def make_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RedisServer]]:
    """Starts a Redis of the test's own: `make_redis(appendonly="yes")`; redis.conf's dashes are underscores here."""
    servers: list[RedisServer] = []

    def make(**options: str) -> RedisServer:
        lines = {key.replace("_", "-"): value for key, value in options.items()}
        servers.append(RedisServer(redis_binary(), tmp_path_factory.mktemp("own-redis"), lines))
        return servers[-1].start()

    yield make
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def ejabberd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ejabberd]:
    """The run's ejabberd, with what other tests left there."""
    server = Ejabberd(tmp_path_factory.mktemp("ejabberd")).start()
    yield server
    server.kill()


@pytest.fixture
def own_ejabberd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ejabberd]:
    server = Ejabberd(tmp_path_factory.mktemp("own-ejabberd")).start()
    yield server
    server.kill()
