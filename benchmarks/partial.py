"""Measures a part of what waits: the scenarios use it that leave jobs in the queue, or have several queues."""

from collections.abc import Sequence

from benchmarks.drain import Drained, Gauge, between, worker
from benchmarks.peers import PEERS, Bench
from benchmarks.processes import memory_mib


def first_jobs(bench: Bench, jobs: int, command: Sequence[str] = (), *, is_group: bool = False) -> Drained:
    """From a tenth to 95 % of so many jobs; then restbroker is stopped, whatever is left."""
    began = bench.around.answered()
    with worker(PEERS[0], bench, command, is_group=is_group) as pid:
        gauge = Gauge(bench, pid, lambda: bench.around.answered() - began)
        first = gauge.mark(jobs // 10)
        last = gauge.mark(jobs * 95 // 100)
        return between(first, last, memory_mib(pid))
