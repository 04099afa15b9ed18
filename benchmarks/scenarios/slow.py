"""A server that takes 50 ms for each answer: how much of concurrency/latency is reached."""

from typing import Any, Final

from benchmarks.drain import drain
from benchmarks.peers import Peer
from benchmarks.run import Case, Run, alternate
from benchmarks.surroundings import SLOW_MS

_CONCURRENCIES: Final = (20, 200, 1000)
_PEERS: Final = ("restbroker", "BullMQ + undici", "the pipeline on asyncio + aiohttp")
_LASTS_S: Final = 5.0
_AT_LEAST_S: Final = 1.0
"""Less would measure how connections come up, not how they are used."""


def measure(run: Run) -> dict[str, Any]:
    """Rows are concurrencies."""
    cases = [_case(run, concurrency, peer) for concurrency in _CONCURRENCIES for peer in run.peers(*_PEERS)]
    return {"cases": alternate(run, cases), "latency_ms": SLOW_MS}


def _case(run: Run, concurrency: int, peer: Peer) -> Case:
    bench = run.bench(concurrency, "slow")
    bound = concurrency / SLOW_MS * 1000
    jobs = round(bound * max(_AT_LEAST_S, _LASTS_S * run.scale))
    return Case(str(concurrency), peer.name, lambda: drain(peer, bench, jobs))
