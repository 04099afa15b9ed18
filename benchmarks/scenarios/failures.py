"""One request in ten, at random, is answered with 500: what trying again costs.

Always holds: each candidate waits one second before it tries again, as far as it lets its users say so (Sidekiq adds up
to nine), and jobs are counted when they succeed. The rate is that of the first tries, before many of the second begin;
CPU is counted until 98 % of the jobs have succeeded, which is after most second tries: the last ones only wait.
"""

from typing import Any, Final

import attrs

from benchmarks.drain import Drained, Gauge, between, worker
from benchmarks.peers import Bench, Peer, restbroker
from benchmarks.processes import memory_mib
from benchmarks.run import Case, Run, alternate

_PEERS: Final = ("restbroker", "BullMQ + undici", "Sidekiq + Net::HTTP persistent")
_SHARE: Final = 0.5
_FIRST_TRIES: Final = 0.85
_SUCCEEDED: Final = 0.98
_BACKOFF: Final = {"Base": "1s", "Factor": 1, "Cap": "1s"}


def measure(run: Run) -> dict[str, Any]:
    """Rows: without failures and with them."""
    cases = [_case(run, path, peer) for path in ("api", "flaky") for peer in run.peers(*_PEERS)]
    return {"cases": alternate(run, cases)}


def _case(run: Run, path: str, peer: Peer) -> Case:
    row = "10 %" if path == "flaky" else "none"
    return Case(row, peer.name, lambda: _drain(peer, run.bench(path=path), run.jobs(peer.jobs * _SHARE)))


def _drain(peer: Peer, bench: Bench, jobs: int) -> Drained:
    around = bench.around
    around.redis.flushall()
    peer.enqueue(bench, jobs)
    began = around.succeeded()
    command = restbroker(bench, Backoff=_BACKOFF) if peer.name == "restbroker" else peer.command(bench)
    with worker(peer, bench, command) as pid:
        gauge = Gauge(bench, pid, lambda: around.succeeded() - began)
        first = gauge.mark(jobs // 10)
        tried = gauge.mark(round(jobs * _FIRST_TRIES))
        memory = memory_mib(pid)
        last = gauge.mark(round(jobs * _SUCCEEDED))
    return attrs.evolve(between(first, last, memory), jobs_per_s=between(first, tried, memory).jobs_per_s)
