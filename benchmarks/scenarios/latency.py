"""How soon a job's request arrives: on an idle broker, and at half of what it can do. And what idling costs.

Always holds: the rate is half of what the same candidate drained just before, in the same round; the first tenth of the
jobs (connections come up, code is loaded) is left out.
"""

import math
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, Final

import attrs

from benchmarks.drain import drain, log_of, worker
from benchmarks.listener import Listener
from benchmarks.peers import PEERS, WORKERS, Bench, Peer
from benchmarks.processes import cpu_s, memory_mib, started
from benchmarks.run import Case, Found, Run, alternate

_PEERS: Final = ("restbroker", "BullMQ + undici", "Sidekiq + Net::HTTP persistent")
_QUEUES: Final = {"restbroker": "rest", "Sidekiq + Net::HTTP persistent": "default"}
_IDLE_JOBS: Final = 1000
_HALF_S, _REST_S = 10.0, 20.0
_LEAST_S: Final = 1.0
_LEFT_OUT: Final = 0.1
_PATIENCE_S: Final = 60.0


@attrs.frozen
class Latency:
    """From just before the push until the request has come; `rate` in jobs/s, 0 for single jobs."""

    rate: float
    jobs: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


@attrs.frozen
class Rest:
    """A broker that has nothing to do."""

    cpu_percent: float
    memory_mib: float


def measure(run: Run) -> dict[str, Any]:
    """Rows are `idle`, `half` and `rest`; `pooled` has the quantiles over the jobs of all rounds."""
    waits: dict[tuple[str, str], list[float]] = {}
    cases = []
    for peer in run.peers(*_PEERS):
        for row, measured in (("idle", _idle), ("half", _half)):
            kept = waits.setdefault((row, peer.name), [])
            cases.append(Case(row, peer.name, partial(measured, run, peer, kept)))
    cases.append(Case("rest", PEERS[0].name, partial(_rest, run)))
    found: Found = alternate(run, cases)
    pooled: Found = {}
    for (row, name), every in waits.items():
        pooled.setdefault(row, {})[name] = [attrs.asdict(_latency(found[row][name][0]["rate"], every))]
    return {"cases": found, "pooled": pooled}


def _idle(run: Run, peer: Peer, kept: list[float]) -> Latency:
    return _measured(run, peer, 0, run.jobs(_IDLE_JOBS), kept)


def _half(run: Run, peer: Peer, kept: list[float]) -> Latency:
    rate = drain(peer, run.bench(), run.jobs(peer.jobs)).jobs_per_s / 2
    return _measured(run, peer, rate, round(rate * max(_LEAST_S, _HALF_S * run.scale)), kept)


def _measured(run: Run, peer: Peer, rate: float, jobs: int, kept: list[float]) -> Latency:
    with _listener(run) as (bench, listener), worker(peer, bench):
        _produce(bench, peer, 0, 20, listener)
        _produce(bench, peer, rate, jobs, listener)
    waits = listener.waits_ms[20 + round(jobs * _LEFT_OUT) :]
    kept += waits
    return _latency(rate, waits)


def _rest(run: Run) -> Rest:
    lasts_s = max(_LEAST_S, _REST_S * run.scale)
    with _listener(run) as (bench, listener), worker(PEERS[0], bench) as pid:
        _produce(bench, PEERS[0], 0, 20, listener)
        listener.serve(2**60, 1.0)
        before_s = cpu_s(pid)
        listener.serve(2**60, lasts_s)
        return Rest((cpu_s(pid) - before_s) / lasts_s * 100, memory_mib(pid))


@contextmanager
def _listener(run: Run) -> Iterator[tuple[Bench, Listener]]:
    run.around.redis.flushall()
    with closing(Listener(socket.create_server(("127.0.0.1", 0), backlog=100))) as listener:
        bench = run.bench()
        yield attrs.evolve(bench, around=attrs.evolve(run.around, stub_port=listener.port)), listener


def _produce(bench: Bench, peer: Peer, rate: float, jobs: int, listener: Listener) -> None:
    """Returns when all of them have arrived."""
    expected = len(listener.waits_ms) + jobs
    if peer.name in _QUEUES:
        words = [sys.executable, "-m", "benchmarks.producer", bench.around.redis_url, _QUEUES[peer.name]]
    else:
        words = ["node", str(WORKERS / "bullmq_producer.mjs")]
    with started([*words, str(rate), str(jobs)], bench.environment, bench.around.directory / "producer.out"):
        if not listener.serve(expected, _PATIENCE_S + (jobs / rate if rate else jobs * 0.03)):
            log = log_of(bench).read_text(errors="replace")[-2000:]
            raise SystemExit(f"{peer.name}: {expected - len(listener.waits_ms)} of {jobs} jobs have not come:\n{log}")


def _latency(rate: float, waits_ms: Sequence[float]) -> Latency:
    ordered = sorted(waits_ms)

    def quantile(share: float) -> float:
        return ordered[math.ceil(share * len(ordered)) - 1]

    return Latency(rate, len(ordered), quantile(0.5), quantile(0.99), quantile(0.999), ordered[-1])
