"""What a job costs: a candidate works on a full queue, or on jobs that come at a rate, and its CPU is read twice.

Always holds: start-up and the last jobs are left out (what is measured lies between a tenth and 95 % of the jobs), and
a candidate that sends more requests than jobs, a few probes aside, is a failure.
"""

import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

import attrs

from dev.benchmarks import cores
from dev.benchmarks.listener import listening
from dev.benchmarks.peers import OURS, WORKERS, Bench, Load, Peer, Words
from dev.benchmarks.processes import cpu_s, has_ended, memory_mib, started
from dev.benchmarks.surroundings import Surroundings, is_open

_DEADLINE_S: Final = 300.0
_LOOK_S: Final = 0.01
_PROBES: Final = 5
"""As many requests more than jobs are allowed: MongooseIM's probe goes the way of its jobs."""
_WARM_UP: Final = Load(20, rate=50)
_UP_S: Final = 30.0


@attrs.frozen
class Cost:
    """One measurement; the latency only of jobs at a rate, from push to request, and of one who posts beside others.

    `commands`: how many Redis executed for a job, those inside of scripts and what pushed it too.
    """

    jobs_per_s: float
    cpu_us: float
    redis_us: float
    commands: float
    memory_mib: float
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


@attrs.frozen
class Mark:
    """How many jobs were done at one moment, and what the candidate and Redis had used until then."""

    jobs: int
    moment_s: float
    cpu_s: float
    redis_s: float
    commands: int

    def since(self, start: "Mark") -> "Mark":
        """Return what came after `start`, without the look at Redis itself."""
        return Mark(
            self.jobs - start.jobs,
            self.moment_s - start.moment_s,
            self.cpu_s - start.cpu_s,
            self.redis_s - start.redis_s,
            self.commands - start.commands - 1,
        )


def mark(around: Surroundings, pid: int, jobs: int = 0) -> Mark:
    """Return what was used until now."""
    return Mark(jobs, time.monotonic(), cpu_s(pid), around.redis_cpu_s(), around.commands())


@attrs.frozen
class Gauge:
    """Looks at a worker every `look_s`; `done` counts its jobs."""

    bench: Bench
    pid: int
    done: Callable[[], int]
    look_s: float = _LOOK_S

    def mark(self, jobs: int) -> Mark:
        """Return what was used when this many jobs are done."""
        deadline_s = time.monotonic() + _DEADLINE_S
        while (done := self.done()) < jobs:
            if time.monotonic() > deadline_s or has_ended(self.pid):
                how = "before it ended" if has_ended(self.pid) else f"in {_DEADLINE_S:.0f} s"
                raise SystemExit(f"only {done} of {jobs} jobs were done {how}:\n{_last_words(self.bench)}")
            time.sleep(self.look_s)
        return mark(self.bench.around, self.pid, done)

    def cost(self, jobs: int) -> Cost:
        """Measure between a tenth and 95 % of so many jobs."""
        start, first = self.mark(0), self.mark(jobs // 10)
        last = self.mark(jobs * 95 // 100)
        # So few jobs that all were done between two looks: with its start-up, then.
        used = last.since(first if first.jobs < last.jobs else start)
        each_us = 1e6 / used.jobs
        return Cost(
            jobs_per_s=used.jobs / used.moment_s,
            cpu_us=used.cpu_s * each_us,
            redis_us=used.redis_s * each_us,
            commands=used.commands / used.jobs,
            memory_mib=memory_mib(self.pid),
        )


def full_queue(
    peer: Peer,
    bench: Bench,
    done: Callable[[], int] | None = None,
    beside: Callable[[], AbstractContextManager[None]] | None = None,
) -> Cost:
    """Measure how a full queue is emptied. `done` counts jobs of another server than nginx.

    `beside`: what runs meanwhile; the broker's queue is then shown to it when that runs.
    """
    around, load = bench.around, bench.load
    around.redis.flushall()
    produce(peer, bench, load)
    if beside:
        around.redis.rename(f"queue:{load.queues[0]}", "kept")
    before = around.answered(load.server)
    counted = done or (lambda: around.answered(load.server) - before)
    with worker(peer, bench) as pid, beside() if beside else nullcontext():
        gauge = Gauge(bench, pid, counted)
        if beside:
            around.redis.rename("kept", f"queue:{load.queues[0]}")
        found = gauge.cost(load.jobs)
        if not load.waiting:
            gauge.mark(load.jobs)
    if not load.waiting and counted() > load.jobs + _PROBES:
        raise SystemExit(f"{peer.name} sent {counted()} requests for {load.jobs} jobs")
    if peer.name == OURS and not beside and around.redis.zcard("dead"):
        raise SystemExit(f"jobs of {load.server} died: {around.redis.zrange('dead', 0, 0)}")
    return found


def at_rate(peer: Peer, bench: Bench) -> Cost:
    """Measure jobs that come one by one. nginx answers for other kinds than ejabberd, and then no latency is known."""
    around, load = bench.around, bench.load
    around.redis.flushall()
    with listening() as (listener, port):
        if load.server == "ejabberd":
            around = attrs.evolve(around, ports={**around.ports, load.server: port})
            bench = attrs.evolve(bench, around=around)
        before = around.answered(load.server)
        with worker(peer, bench) as pid:
            gauge = Gauge(bench, pid, lambda: len(listener.waits_ms) + around.answered(load.server) - before)
            warm_up(peer, gauge)
            counted = attrs.evolve(gauge, done=lambda: gauge.done() - _WARM_UP.jobs)
            words, log = peer.produce(bench, load), around.directory / "producer.out"
            with started(_at_home(peer, words), log, **bench.environment):
                found = counted.cost(load.jobs)
                counted.mark(load.jobs)
    waits_ms = listener.waits_ms[_WARM_UP.jobs + load.jobs // 10 :]
    cuts = statistics.quantiles(waits_ms, n=100) if waits_ms else [None] * 99
    return attrs.evolve(found, p50_ms=cuts[49], p99_ms=cuts[98])


def until_listening(bench: Bench, pid: int, port: int) -> None:
    """Return when a worker listens there; raise `SystemExit` with what it said if it does not."""
    deadline_s = time.monotonic() + _UP_S
    while not is_open(port):
        if has_ended(pid) or time.monotonic() > deadline_s:
            raise SystemExit(f"nothing listens:\n{_last_words(bench)}")
        time.sleep(_LOOK_S)


def _last_words(bench: Bench) -> str:
    return (bench.around.directory / "worker.out").read_text(errors="replace")[-2000:]


def warm_up(peer: Peer, gauge: Gauge) -> None:
    """Let some jobs pass, and wait until all processes of a group are there."""
    bench, deadline_s = gauge.bench, time.monotonic() + _UP_S
    produce(peer, bench, attrs.evolve(_WARM_UP, server=bench.load.server))
    gauge.mark(_WARM_UP.jobs)
    while bench.around.redis.scard("processes") < bench.load.processes > 1 and time.monotonic() < deadline_s:
        time.sleep(_LOOK_S)


@contextmanager
def worker(peer: Peer, bench: Bench) -> Iterator[int]:
    """Run a candidate on its core, or a group of processes on all; yield its process id."""
    words = cores.pinned(peer.command(bench), is_group=bench.load.processes > 1)
    with started(_at_home(peer, words), bench.around.directory / "worker.out", **bench.environment) as process:
        yield process.pid


def produce(peer: Peer, bench: Bench, load: Load) -> None:
    """Push these jobs; return when all are pushed."""
    done = subprocess.run(
        _at_home(peer, peer.produce(bench, load)),
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **bench.environment},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{peer.name}: jobs could not be pushed:\n{done.stderr[-2000:]}")


def _at_home(peer: Peer, words: Words) -> list[str]:
    """Start what belongs to a peer in the folder where its files are."""
    is_module = "dev.benchmarks.producer" in words
    return [*words] if is_module or peer.name.startswith(OURS) else ["env", "--chdir", str(WORKERS), *words]
