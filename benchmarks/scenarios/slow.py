"""A server that takes 50 ms for each answer: how much of concurrency/latency is reached.

Always holds: more jobs wait than can be done in the time. It begins when there were five for each connection, so that
most of them are up.
"""

from functools import partial
from typing import Any, Final

from benchmarks.drain import Drained, Gauge, between, worker
from benchmarks.peers import Bench, Peer
from benchmarks.processes import memory_mib
from benchmarks.run import Case, Run, alternate
from benchmarks.surroundings import SLOW_MS

_CONCURRENCIES: Final = (20, 200, 1000)
_PEERS: Final = ("restbroker", "BullMQ + undici", "the pipeline on asyncio + aiohttp")
_LASTS_S: Final = 5.0
_FIRST: Final = 5


def measure(run: Run) -> dict[str, Any]:
    """Rows are concurrencies."""
    lasts_s = max(1.0, _LASTS_S * run.scale)
    cases = [
        Case(str(concurrency), peer.name, partial(_measure, peer, run.bench(concurrency, "slow"), lasts_s))
        for concurrency in _CONCURRENCIES
        for peer in run.peers(*_PEERS)
    ]
    return {"cases": alternate(run, cases), "latency_ms": SLOW_MS}


def _measure(peer: Peer, bench: Bench, lasts_s: float) -> Drained:
    around, first_jobs = bench.around, _FIRST * bench.concurrency
    around.redis.flushall()
    # Half a second more than is measured: the last look may come late.
    peer.enqueue(bench, first_jobs + round(bench.concurrency / SLOW_MS * 1000 * (lasts_s + 0.5)))
    began = around.answered()
    with worker(peer, bench) as pid:
        gauge = Gauge(bench, pid, lambda: around.answered() - began)
        first = gauge.mark(first_jobs)
        return between(first, gauge.mark_after(lasts_s), memory_mib(pid))
