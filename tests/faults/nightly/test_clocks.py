"""Clocks that disagree by an hour: nothing runs early, and nothing waits for an hour more.

The broker's clock is moved inside Python, where all that it knows of the time of day comes from: a library before the
system's calls, as libfaketime, changes what waits and sleeps do, too. The server's is moved by that library; it does
not get on with the memory allocator of Debian's redis-server, so that server is Valkey.
"""

import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from restbroker.store import queues
from restbroker.store.server import time_s
from tests.support.bench import Bench, job_id, payload
from tests.support.counting_proxy import refusal
from tests.support.redis_server import RedisServer, valkey_binary
from tests.support.wait import until

HOUR_S = 3600
SOON_S = 3.0
JOBS = 10
MOVED = """
import runpy, sys, time
real, ahead_s = time.time, int(sys.argv.pop(1))
time.time = lambda: real() + ahead_s
runpy.run_module("restbroker", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def redis_an_hour_back(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "libfaketime is not installed; `make test` installs it, or: sudo apt-get install faketime"
    server = RedisServer(valkey_binary(), tmp_path_factory.mktemp("clock"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(found[0]))
        patch.setenv("FAKETIME", f"-{HOUR_S}s")
        patch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        server.start()
    yield server
    server.close()


@pytest.mark.promise("No command is lost", "the clocks of Redis and the broker are an hour apart")
@pytest.mark.parametrize(
    ("server", "redis_ahead_s", "ahead_s"),
    [
        pytest.param("redis_an_hour_back", -HOUR_S, 0, id="redis-back"),
        pytest.param("redis_server", 0, HOUR_S, id="broker-ahead"),
        pytest.param("redis_server", 0, -HOUR_S, id="broker-back"),
    ],
)
def test_clocks_an_hour_apart_neither_hurry_nor_stall_jobs(
    make_bench: Callable[[RedisServer], Bench],
    request: pytest.FixtureRequest,
    server: str,
    redis_ahead_s: int,
    ahead_s: int,
) -> None:
    bench = make_bench(request.getfixturevalue(server))
    assert abs(time_s(bench.client) - time.time() - redis_ahead_s) < 60
    now, soon, later = range(JOBS), range(JOBS, 2 * JOBS), range(2 * JOBS, 3 * JOBS)
    retried = job_id(now[0])
    bench.proxy.instead[retried] = [refusal(500, "internal_error")]
    due_s = time_s(bench.client) + SOON_S
    for number in soon:
        queues.schedule(bench.client, payload(number, "check_account", user="u"), due_s)
    for number in later:
        queues.schedule(bench.client, payload(number, "check_account", user="u"), due_s + HOUR_S / 2)
    broker = bench.start((sys.executable, "-c", MOVED, str(ahead_s)))
    log_began = datetime.fromisoformat(broker.output().split()[0])
    bench.push([payload(number, "check_account", user="u") for number in now])
    until(lambda: {job_id(number) for number in now} <= bench.done(), "what waits runs, and the failed one again")
    until(lambda: {job_id(number) for number in soon} & bench.done(), "what is due runs")
    assert time_s(bench.client) >= due_s
    until(lambda: bench.unfinished() == len(later), "what is due is done")
    assert bench.client.command("ZCARD", "schedule") == len(later)
    assert set(bench.proxy.of_jobs()) == {job_id(number) for number in [*now, *soon]}
    assert len(bench.proxy.of_jobs()[retried]) == 2
    assert broker.stop() == 0
    assert abs(log_began - timedelta(seconds=ahead_s) - datetime.now(UTC)) < timedelta(seconds=HOUR_S / 2)
