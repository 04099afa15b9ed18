"""Redis is far away: a queue is emptied over a connection that takes 1 and 5 ms there and back."""

from contextlib import ExitStack
from typing import Any, Final

import attrs

from benchmarks.delay import delayed
from benchmarks.drain import drain
from benchmarks.peers import Peer
from benchmarks.run import Case, Run, alternate

_ROUND_TRIPS_MS: Final = (1, 5)
_PEERS: Final = ("restbroker", "BullMQ + undici", "Sidekiq + Net::HTTP persistent", "taskiq + aiohttp")
_SHARE: Final = 0.5
"""Of the jobs of a drain: the peers are slower here."""


def measure(run: Run) -> dict[str, Any]:
    """Rows are milliseconds of a round trip; the queue is filled without them."""
    with ExitStack() as stack:
        urls = {
            str(ms): f"redis://127.0.0.1:{stack.enter_context(delayed(run.around.redis_port, ms))}/0"
            for ms in _ROUND_TRIPS_MS
        }
        cases = [_case(run, ms, url, peer) for ms, url in urls.items() for peer in run.peers(*_PEERS)]
        return {"cases": alternate(run, cases)}


def _case(run: Run, ms: str, url: str, peer: Peer) -> Case:
    bench = run.bench()
    far = attrs.evolve(bench, around=attrs.evolve(run.around, redis_url=url))
    return Case(ms, peer.name, lambda: drain(peer, far, run.jobs(peer.jobs * _SHARE), bench))
