"""The benchmarks measure what they say: the cheap ones, small, on real parts. No speed is asserted."""

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import attrs
import pytest
import redis

from benchmarks import paging, watched
from benchmarks.__main__ import keep
from benchmarks.drain import Drained, drain
from benchmarks.figures import Results
from benchmarks.filling import Filler
from benchmarks.listener import Listener
from benchmarks.peers import PEERS, Bench
from benchmarks.run import Case, Run, alternate
from benchmarks.scenarios.names import SCENARIOS
from benchmarks.surroundings import Surroundings, surroundings
from tests.support.redis_server import RedisServer
from tests.support.wait import until

RESTBROKER = PEERS[0]
HEAD = b"POST /api/set_presence HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
def around(tmp_path: Path) -> Iterator[Surroundings]:
    with surroundings(tmp_path) as found:
        yield found


@pytest.fixture
def run(around: Surroundings) -> Run:
    return Run(around, "no peers here", scale=0.02, only=("restbroker",), longest_queue=1000)


@contextmanager
def _listening() -> Iterator[tuple[Listener, socket.socket]]:
    listener = Listener(socket.create_server(("127.0.0.1", 0)))
    with closing(listener), socket.create_connection(("127.0.0.1", listener.port), 5) as client:
        yield listener, client


def test_the_client_alone_says_what_it_wants_to_know() -> None:
    command = [sys.executable, "-m", "benchmarks.alone"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 1
    assert done.stderr.startswith("usage: python -m benchmarks.alone URL WORKERS REQUESTS\n")


def test_a_drain_counts_each_job_once(run: Run) -> None:
    before = run.around.answered()
    found = drain(RESTBROKER, run.bench(), 400)
    assert 400 <= run.around.answered() - before <= 405
    assert found.jobs_per_s > 0
    assert found.memory_mib > 10
    assert run.around.redis.llen("queue:rest") == 0


def test_a_candidate_that_sends_more_requests_than_jobs_is_refused(run: Run) -> None:
    def enqueue(bench: Bench, count: int) -> None:
        RESTBROKER.enqueue(bench, 2 * count)

    with pytest.raises(SystemExit, match="restbroker sent"):
        drain(attrs.evolve(RESTBROKER, enqueue=enqueue), run.bench(), 400)


@pytest.mark.parametrize(
    ("scenario", "rows"), [("queue", {"1000"}), ("redis", {"1", "5"}), ("failures", {"none", "10 %"})]
)
def test_a_scenario_measures_each_of_its_rows(run: Run, scenario: str, rows: set[str]) -> None:
    found = SCENARIOS[scenario](run)["cases"]
    assert set(found) == rows
    for row in rows:
        (one,) = found[row]["restbroker"]
        # Not its CPU: the kernel counts that in steps of 10 ms, and so few jobs may take less.
        assert Drained(**one).jobs_per_s > 0


def test_the_flaky_path_fails_about_one_request_in_ten_and_counts_those_that_succeed(around: Surroundings) -> None:
    before, statuses = around.succeeded(), []
    with closing(http.client.HTTPConnection("127.0.0.1", around.stub_port)) as client:
        for _ in range(1000):
            client.request("POST", "/flaky/set_presence", b"{}")
            with client.getresponse() as answer:
                statuses.append(answer.status)
    assert 40 <= statuses.count(500) <= 200
    assert statuses.count(200) + statuses.count(500) == 1000
    until(lambda: around.succeeded() - before == statuses.count(200), "the last failure is written down")


def test_latency_runs_from_the_push_to_the_request(run: Run) -> None:
    found = SCENARIOS["latency"](attrs.evolve(run, scale=0.001))
    idle, half = (found["pooled"][row]["restbroker"][0] for row in ("idle", "half"))
    assert idle["jobs"] == 18
    assert half["rate"] > 0
    for one in (idle, half):
        assert 0 < one["p50_ms"] <= one["p99_ms"] <= one["p999_ms"] <= one["max_ms"]


def test_the_listener_reads_requests_in_any_pieces() -> None:
    body = b'{"n": %d}' % (time.time_ns() // 1000 - 5000)
    sent = (HEAD % len(body) + body) * 3
    with _listening() as (listener, client):
        for start in range(0, len(sent), 7):
            client.sendall(sent[start : start + 7])
            listener.serve(99, 0.001)
        assert listener.serve(3, 5)
    assert len(listener.waits_ms) == 3
    assert all(wait >= 5 for wait in listener.waits_ms)


def test_probes_are_answered_and_not_counted() -> None:
    with _listening() as (listener, client):
        client.sendall(HEAD % 2 + b"{}")
        assert not listener.serve(1, 0.2)
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    assert listener.waits_ms == []


def test_no_two_jobs_of_a_filler_have_the_same_id(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as store:
        filler = Filler(store)
        filler.fill(60_000)
        filler.fill(1000)
        jobs = [json.loads(raw) for raw in store.lrange("queue:rest", 0, -1)]
    assert len({job["jid"] for job in jobs}) == 61_000
    assert all(len(job["jid"]) == 24 for job in jobs)


def test_a_round_has_every_case_once(around: Surroundings) -> None:
    order: list[str] = []

    def measured(name: str) -> Case:
        def measure() -> Drained:
            order.append(name)
            return Drained(1, 1, 1, 1)

        return Case("row", name, measure)

    found = alternate(Run(around, "", rounds=2), [measured("a"), measured("b")])
    assert order == ["a", "b", "a", "b"]
    assert {name: len(every) for name, every in found["row"].items()} == {"a": 2, "b": 2}


def test_figures_of_another_machine_are_not_kept_beside_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    keep(path, {"cores": 2}, "queue", {"cases": "old"})
    keep(path, {"cores": 2}, "slow", {"cases": "new"})
    assert set(Results.read(path).document["scenarios"]) == {"queue", "slow"}
    keep(path, {"cores": 4}, "slow", {"cases": "newer"})
    assert set(Results.read(path).document["scenarios"]) == {"slow"}


def test_what_looking_costs_is_measured_for_each_visitor_who_saw_something(run: Run) -> None:
    found = watched.measure(attrs.evolve(run, scale=0.01))
    assert set(found) == set(watched.VISITORS)
    for (one,) in found.values():
        assert Drained(**one).jobs_per_s > 0


def test_the_bound_of_what_an_open_page_costs_is_that_of_the_medians() -> None:
    def rounds(*costs: float) -> list[dict[str, float]]:
        return [{"cpu_us_per_job": cost} for cost in costs]

    kept = watched.table({watched.NOBODY: rounds(40, 50, 41), watched.OPEN: rounds(43, 42, 70)})
    assert kept.endswith("With the overview open: +4.9%, at most 5%.")
    assert "| median | 41.0 | 43.0 |" in kept
    broken = watched.table({watched.NOBODY: rounds(40), watched.OPEN: rounds(44)})
    assert broken.endswith("With the overview open: +10.0%, **more than** 5%.")


def test_pages_of_small_and_large_sets_are_measured_side_by_side(around: Surroundings) -> None:
    found = paging.measure(around, (60, 300), 1)
    assert {zset for zset, _ in found} == set(paging.SETS)
    assert len(found) == 12
    for (_, name), (few, many) in found.items():
        assert few.ms > 0
        assert many.ms > 0
        if name == "a search that none answers":
            assert (few.looked_at, many.looked_at) == ("60", "300")
    assert len(paging.table(found).splitlines()) == 14
