"""Clocks that disagree by an hour: nothing runs early, and nothing waits for an hour more.

libfaketime gives one process a clock of its own; the time that passes is everyone's. It does not get on with the memory
allocator of Debian's redis-server, so the server is Valkey.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def clock(ahead_s: int) -> Iterator[None]:
    """What is started in this block has a clock that is ahead by so much; what measures durations is left alone."""
    if ahead_s == 0:
        yield
        return
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "libfaketime is not installed; `make test` installs it, or: sudo apt-get install faketime"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(found[0]))
        patch.setenv("FAKETIME", f"{ahead_s:+d}s")
        patch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        yield


CLOCKS = {
    "redis one hour back": (-HOUR_S, 0),
    "broker one hour ahead": (0, HOUR_S),
    "broker one hour back": (0, -HOUR_S),
}
"""How far Redis and the broker are ahead of the test."""


@pytest.mark.parametrize("clocks", CLOCKS)
def test_with_clocks_an_hour_apart_nothing_runs_early_and_nothing_stalls(
    make_bench: Callable[[RedisServer], Bench], tmp_path_factory: pytest.TempPathFactory, clocks: str
) -> None:
    redis_ahead_s, broker_ahead_s = CLOCKS[clocks]
    redis = RedisServer(valkey_binary(), tmp_path_factory.mktemp("clock"))
    with clock(redis_ahead_s):
        redis.start()
    try:
        bench = make_bench(redis)
        assert abs(time_s(bench.client) - time.time() - redis_ahead_s) < 60
        runs(bench, broker_ahead_s)
    finally:
        redis.close()


def runs(bench: Bench, broker_ahead_s: int) -> None:
    now, soon, later = range(JOBS), range(JOBS, 2 * JOBS), range(2 * JOBS, 3 * JOBS)
    retried = job_id(now[0])
    bench.proxy.instead[retried] = [refusal(500, "internal_error")]
    due_s = time_s(bench.client) + SOON_S
    for number in soon:
        queues.schedule(bench.client, payload(number, "check_account", user="u"), due_s)
    for number in later:
        queues.schedule(bench.client, payload(number, "check_account", user="u"), due_s + HOUR_S / 2)
    with clock(broker_ahead_s):
        broker = bench.start()
    bench.push([payload(number, "check_account", user="u") for number in now])
    until(lambda: {job_id(number) for number in now} <= done(bench), "what waits runs, and the failed one again")
    until(lambda: {job_id(number) for number in soon} & done(bench), "what is due runs")
    assert time_s(bench.client) >= due_s
    until(lambda: bench.unfinished() == len(later), "what is due is done")
    assert bench.client.command("ZCARD", "schedule") == len(later)
    assert set(bench.proxy.of_jobs()) == {job_id(number) for number in [*now, *soon]}
    assert len(bench.proxy.of_jobs()[retried]) == 2
    assert broker.stop() == 0


def done(bench: Bench) -> set[str]:
    return {job for job, sent in bench.proxy.of_jobs().items() if sent[-1].done}
