"""A Redis that answers, but not as one would like: it loads its data, or it is full."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from restbroker.errors import StoreUnavailable
from restbroker.store.client import items, raw
from tests.support.bench import Bench, headline, job_id, payload
from tests.support.counting_proxy import refusal
from tests.support.redis_line import LOAD, Line
from tests.support.redis_server import RedisServer, redis_binary, valkey_binary
from tests.support.shared import TOKEN
from tests.support.wait import NEVER_S, until

FILLER_KEYS = 1000
# Redis looks at its clients after each kilobyte of data. It takes 10 s, unless it is told meanwhile to be quick.
SLOW_TO_LOAD = {"key-load-delay": "10000", "loading-process-events-interval-bytes": "1024"}
FULL = {
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory": "8mb",
    "maxmemory-policy": "noeviction",
    # Valkey frees what is deleted in the background, which takes a moment where no core is free.
    "lazyfree-lazy-user-del": "no",
}
EACH = 40
"""The number of jobs of each kind in a full Redis."""
PADDING = "x" * 20_000


@pytest.mark.promise("No command is lost", "Redis takes its time to load its data")
@pytest.mark.nightly
@pytest.mark.parametrize("how", ["restart", "reload"])
def test_a_redis_that_loads_its_data_is_waited_for(
    make_redis: Callable[..., RedisServer],
    make_bench: Callable[[RedisServer], Bench],
    make_line: Callable[[Bench], Line],
    how: str,
) -> None:
    redis = make_redis(enable_debug_command="local")
    line = make_line(make_bench(redis))
    assert redis.command(f"DEBUG POPULATE {FILLER_KEYS}").startswith("+OK")
    line.under_load()
    if how == "restart":
        redis.stop(save=True)
        redis.options = {**redis.options, **SLOW_TO_LOAD}
        line.bench.client.close()
        redis.launch()
    else:  # no connection ends, and the refusals are all that is seen of it
        for name, value in SLOW_TO_LOAD.items():
            assert redis.command(f"CONFIG SET {name} {value}").startswith("+OK")
        with contextlib.suppress(TimeoutError):
            redis.command("DEBUG RELOAD", timeout_s=0.1)
    until(lambda: says(redis, "-LOADING"), "it loads")
    line.wait_until_lost()
    until(lambda: says(redis, "-LOADING"), "it loads still")
    assert line.ready() == 503
    assert redis.command("CONFIG SET key-load-delay 0", timeout_s=NEVER_S).startswith("+OK")
    until(lambda: says(redis, "+PONG"), "it has loaded")
    back_s = time.monotonic()
    line.assert_it_goes_on()
    line.report(f"{line.name}: every job was answered {time.monotonic() - back_s:.2f} s after it had loaded")
    if how == "reload":
        assert "is loading its data" in line.broker.output()


def says(redis: RedisServer, word: str) -> bool:
    """Whether PING is answered so."""
    try:
        return redis.command("PING", timeout_s=1).startswith(word)
    except (OSError, TimeoutError):
        return False


@pytest.fixture(params=[redis_binary, pytest.param(valkey_binary, marks=pytest.mark.nightly)], ids=["redis", "valkey"])
def full_line(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    make_bench: Callable[[RedisServer], Bench],
    make_line: Callable[[Bench], Line],
) -> Iterator[Line]:
    """On a server that is soon full."""
    binary: Callable[[], Path] = request.param
    server = RedisServer(binary(), tmp_path_factory.mktemp("full"), FULL).start()
    yield make_line(make_bench(server))
    server.close()


def fill(line: Line, with_jobs: bool) -> int:
    """Until a producer is refused; returns how many jobs were pushed."""
    key, pushed = ("queue:rest" if with_jobs else "filler"), line.pushed
    while True:
        jobs = [payload(n, "check_account", user=PADDING) for n in range(pushed, pushed + 20)]
        try:
            line.bench.client.command("LPUSH", key, *jobs)
        except StoreUnavailable:
            return pushed
        pushed += len(jobs)


@pytest.mark.promise("No command is lost", "Redis is full (also Valkey)")
def test_full_redis_is_drained_and_every_settlement_is_written(full_line: Line) -> None:
    line, bench = full_line, full_line.bench
    line.configure(AtMostOnce=["send_message"])
    marked, answered, dead, retried = (range(n * EACH, (n + 1) * EACH) for n in range(4))
    bench.push([headline(n) for n in marked])
    bench.push([line.job(n) for n in answered])
    bench.push([payload(n, "check_account", user="u").replace(TOKEN.encode(), b"a wrong one") for n in dead])
    bench.push([payload(n, "check_account", user="u") for n in retried])
    bench.proxy.instead.update({job_id(n): [refusal(500, "internal_error")] for n in retried})
    line.pushed = retried.stop
    total = fill(line, with_jobs=True)
    bench.proxy.answers.clear()
    bench.start()
    until(lambda: bench.client.command("KEYS", "restbroker:sent:*"), "marks are written")
    bench.proxy.answers.set()
    bench.wait_until_finished()

    sendings = bench.proxy.of_jobs()
    done = {job for job, sent in sendings.items() if sent[-1].done}
    assert done == {job_id(n) for n in range(total) if n not in dead}
    assert {job: len(sent) for job, sent in sendings.items()} == {
        job_id(n): 2 if n in retried else 1 for n in range(total) if n not in dead
    }
    assert sorted(reply_id for _, reply_id in bench.replies()) == sorted(f"reply-{n}" for n in answered)
    assert {job["jid"] for job in bench.members("dead")} == {job_id(n) for n in dead}
    line.assert_outages(0)


@pytest.mark.promise("No command is lost", "Redis is full (also Valkey)")
@pytest.mark.nightly
def test_broker_lives_on_beside_a_full_redis_without_jobs(full_line: Line) -> None:
    line, bench = full_line, full_line.bench
    bench.start()
    until(lambda: line.ready() == 200, "it is ready")
    fill(line, with_jobs=False)
    before = beats(bench)
    until(lambda: beats(bench) >= before + 2, "it beats on")
    assert line.ready() == 200
    line.assert_outages(0)
    bench.client.command("DEL", "filler")
    line.push(LOAD)
    line.assert_each_is_answered_once()
    line.assert_each_was_sent_once()
    line.assert_outages(0)


def beats(bench: Bench) -> int:
    """How often the only broker has beaten."""
    (count,) = items(bench.client.command("HVALS", "restbroker:beats"))
    return int(raw(count))
