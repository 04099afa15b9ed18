"""How fast a queue is emptied, and at what cost. Most scenarios call `drain` for each candidate in turn.

Always holds: start-up and the last jobs are left out (what is measured lies between a tenth and 95 % of the jobs), and
a candidate that sends fewer requests than jobs, or more, is a failure.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from benchmarks import cores
from benchmarks.peers import WORKERS, Bench, Peer
from benchmarks.processes import cpu_s, memory_mib, started

_DEADLINE_S: Final = 120.0
_LOOK_S: Final = 0.01
_EXTRA: Final = 5
"""A few more requests than jobs are allowed: restbroker asks a server whether it is there before the first job."""


@attrs.frozen
class Drained:
    """One measurement."""

    jobs_per_s: float
    cpu_us_per_job: float
    redis_cpu_us_per_job: float
    server_cpu_us_per_job: float
    memory_mib: float


@attrs.frozen
class Mark:
    """How far a worker was at one moment, and what it had used."""

    jobs: int
    at_s: float
    cpu_s: float
    redis_cpu_s: float
    server_cpu_s: float


def drain(peer: Peer, bench: Bench, jobs: int, filling: Bench | None = None) -> Drained:
    """Fills the queue (over another way to Redis, if one is given) and measures until nearly all is done."""
    bench.around.redis.flushall()
    peer.enqueue(filling or bench, jobs)
    began = bench.around.answered()
    with worker(peer, bench) as pid:
        gauge = Gauge(bench, pid, lambda: bench.around.answered() - began)
        start = gauge.mark(0)
        first = gauge.mark(jobs // 10)
        memory = memory_mib(pid)
        last = gauge.mark(jobs * 95 // 100)
        memory = max(memory, memory_mib(pid))
        gauge.mark(jobs)
    sent = bench.around.answered() - began
    if sent > jobs + _EXTRA * max(1, jobs // 5000):
        raise SystemExit(f"{peer.name} sent {sent} requests for {jobs} jobs")
    # So few jobs that all were done between two looks: with its start-up, then.
    return between(first if first.jobs < last.jobs else start, last, memory)


def between(first: Mark, last: Mark, memory: float) -> Drained:
    """What was done from one moment to another."""
    done = last.jobs - first.jobs
    return Drained(
        jobs_per_s=done / (last.at_s - first.at_s),
        cpu_us_per_job=(last.cpu_s - first.cpu_s) / done * 1e6,
        redis_cpu_us_per_job=(last.redis_cpu_s - first.redis_cpu_s) / done * 1e6,
        server_cpu_us_per_job=(last.server_cpu_s - first.server_cpu_s) / done * 1e6,
        memory_mib=memory,
    )


@attrs.frozen
class Gauge:
    """Looks at a worker; `done` counts its jobs, `server_pid` is who answers it (None: the stub)."""

    bench: Bench
    pid: int
    done: Callable[[], int]
    server_pid: int | None = None

    def mark(self, jobs: int) -> Mark:
        """Returns when this many jobs are done."""
        deadline_s = time.monotonic() + _DEADLINE_S
        while (done := self.done()) < jobs:
            if time.monotonic() > deadline_s:
                log = log_of(self.bench).read_text(errors="replace")[-2000:]
                raise SystemExit(f"only {done} of {jobs} jobs were done in {_DEADLINE_S:.0f} s:\n{log}")
            time.sleep(_LOOK_S)
        return self._now(done)

    def mark_after(self, lasts_s: float) -> Mark:
        """Returns after this time."""
        time.sleep(lasts_s)
        return self._now(self.done())

    def _now(self, done: int) -> Mark:
        around = self.bench.around
        server_cpu_s = cpu_s(self.server_pid or around.stub_pid)
        return Mark(done, time.monotonic(), cpu_s(self.pid), around.redis_cpu_s(), server_cpu_s)


@contextmanager
def worker(peer: Peer, bench: Bench, command: Sequence[str] = (), *, is_group: bool = False) -> Iterator[int]:
    """Runs a candidate (by another command, if one is given) on its core, a group on all; yields its process id."""
    words = (cores.on_all if is_group else cores.on_last)(command or peer.command(bench))
    if not peer.name.startswith("restbroker"):
        # The workers of the peers are found in their folder: each is started in it.
        words = ["env", "--chdir", str(WORKERS), *words]
    with started(words, bench.environment, log_of(bench)) as process:
        yield process.pid


def log_of(bench: Bench) -> Path:
    """What the last worker printed."""
    return bench.around.directory / "worker.out"
