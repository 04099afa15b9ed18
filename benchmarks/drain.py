"""How fast a queue is emptied, and at what cost. `python -m benchmarks` calls `drain` for each candidate in turn.

Always holds: start-up and the last jobs are left out (what is measured lies between a tenth and 95 % of the jobs), and
a candidate that sends fewer requests than jobs, or more, is a failure.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from benchmarks.peers import WORKERS, Bench, Peer
from benchmarks.processes import cpu_s, memory_mib, started

_DEADLINE_S = 120.0
_LOOK_S = 0.02


@attrs.frozen
class Drained:
    """One measurement."""

    jobs_per_s: float
    cpu_us_per_job: float
    redis_cpu_us_per_job: float
    memory_mib: float


@attrs.frozen
class _Mark:
    jobs: int
    at_s: float
    cpu_s: float
    redis_cpu_s: float


def drain(peer: Peer, bench: Bench, jobs: int) -> Drained:
    """Fills the queue, starts the worker, and measures until nearly all is done; then waits for the rest."""
    bench.around.redis.flushall()
    peer.enqueue(bench, jobs)
    began = bench.around.answered()
    with _worker(peer, bench) as pid:
        first = _mark(bench, pid, began, jobs // 10)
        memory = memory_mib(pid)
        last = _mark(bench, pid, began, jobs * 95 // 100)
        memory = max(memory, memory_mib(pid))
        _mark(bench, pid, began, jobs)
    sent = bench.around.answered() - began
    if sent > jobs + 5:
        # A few may be more: restbroker asks the server whether it is there before it sends the first job.
        raise SystemExit(f"{peer.name} sent {sent} requests for {jobs} jobs")
    done = last.jobs - first.jobs
    return Drained(
        jobs_per_s=done / (last.at_s - first.at_s),
        cpu_us_per_job=(last.cpu_s - first.cpu_s) / done * 1e6,
        redis_cpu_us_per_job=(last.redis_cpu_s - first.redis_cpu_s) / done * 1e6,
        memory_mib=memory,
    )


@contextmanager
def _worker(peer: Peer, bench: Bench) -> Iterator[int]:
    # The workers of the peers are found in their folder: each is started in it.
    command = ["env", "--chdir", str(WORKERS), *peer.command(bench)]
    if peer.name.startswith("restbroker"):
        command = list(peer.command(bench))
    with started(command, bench.environment, bench.around.directory / "worker.out") as process:
        yield process.pid


def _mark(bench: Bench, pid: int, began: int, jobs: int) -> _Mark:
    """Returns when this many jobs have been answered."""
    deadline_s = time.monotonic() + _DEADLINE_S
    while (done := bench.around.answered() - began) < jobs:
        if time.monotonic() > deadline_s:
            log = (bench.around.directory / "worker.out").read_text(errors="replace")[-2000:]
            raise SystemExit(f"only {done} of {jobs} jobs were done in {_DEADLINE_S:.0f} s:\n{log}")
        time.sleep(_LOOK_S)
    return _Mark(done, time.monotonic(), cpu_s(pid), bench.around.redis_cpu_s())
