"""The metrics of a process that delivers, about itself, for /metrics. Called by `build`, where `Stats` is on.

Always holds: it costs no I/O but reading the process' own memory use; what it returns is copied.
"""

import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

import trio

from restbroker import __version__
from restbroker.broker.status.record import rss_kib
from restbroker.broker.status.status import Status
from restbroker.broker.worker_pool import WorkerPool
from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.job.json_types import Json
from restbroker.light import frozen
from restbroker.servers import registry
from restbroker.telemetry.counters import Counters, code_label
from restbroker.telemetry.latency import Histogram
from restbroker.telemetry.metrics import Labels, Samples, Value

_SLEEP_S = 1.0


@frozen
class LoopLag:
    """A service that measures how late the event loop is."""

    histogram: Histogram

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Measure once a second until cancelled."""
        task_status.started()
        while True:
            due_s = trio.current_time() + _SLEEP_S
            await trio.sleep_until(due_s)
            self.histogram.add((max(0.0, trio.current_time() - due_s),))


def process_samples(counters: Counters, status: Status, worker: int | None = None) -> Samples:
    """Return the values of this moment. `worker`: the number of this worker under a supervisor; None: there is none."""
    own: Samples = {"restbroker_workers": {(): 1}, "restbroker_workers_wanted": {(): 1}}
    if worker is not None:
        number = (str(worker),)
        own = {
            "restbroker_worker_cpu_seconds_total": {number: time.process_time()},
            "restbroker_worker_memory_bytes": {number: rss_kib() * 1024},
        }
    age_s = status.heartbeat_age_s
    return {
        **counters.samples(),
        **_target_samples(status.pools),
        "restbroker_ready": {(): float(status.view().unready is None)},
        "restbroker_beat_age_seconds": {} if age_s is None else {(): age_s},
        "restbroker_build_info": {(__version__,): 1},
        **own,
    }


def catalogue_commands(current: Callable[[], Config]) -> Callable[[str], Container[str]]:
    """Return a function from a target's name to its commands' names, by the configuration that counts at the call."""

    def commands_of(name: str) -> Container[str]:
        target = next((target for target in current().targets if target.name == name), None)
        return () if target is None else registry.catalogue_of(target, None).commands

    return commands_of


def _target_samples(pools: Iterable[WorkerPool]) -> Samples:
    samples: dict[str, dict[Labels, Value]] = {}
    for pool in pools:
        for name, labels, value in _gauges(pool):
            samples.setdefault(name, {})[pool.plan.target.name, *labels] = value
    return samples


def _gauges(pool: WorkerPool) -> Iterator[tuple[str, Labels, float]]:
    """Yield each gauge of a target, with the labels beside its name."""
    breaker = pool.breaker
    yield "restbroker_target_open", (), float(breaker.admits)
    if breaker.reason is not None:
        yield "restbroker_target_closed_reason", (code_label(breaker.reason.code),), 1
    yield "restbroker_target_limit", (), breaker.semaphore.limit
    yield "restbroker_target_concurrency", (), pool.plan.target.concurrency
    if pool.hindrance is not None:
        yield "restbroker_target_held_back", (pool.hindrance,), 1
    yield "restbroker_jobs_in_hand", (), len(pool.reservations.jobs)
    yield "restbroker_jobs_at_work", (), sum(job.is_at_work for job in pool.reservations.jobs.values())


def snapshot(pool: WorkerPool, counters: Counters, late: Sequence[str] = ()) -> Mapping[str, Json]:
    """Return a small JSON object: the breaker's state, the jobs in progress, and the counts of the pool's target.

    `late`: the keys that take effect only after a restart.
    """
    breaker = pool.breaker
    target = pool.plan.target
    jobs = pool.reservations.jobs.values()
    at_work = sum(job.is_at_work for job in jobs)
    return {
        "target": target.name,
        "kind": target.kind,
        "gate": "open" if breaker.admits else "denied" if breaker.denied is not None else "closed",
        "gate_code": None if breaker.reason is None else breaker.reason.code,
        "gate_reason": None if breaker.reason is None else breaker.reason.message,
        "gate_cure": None if breaker.reason is None else breaker.reason.hint,
        "closed_for_s": None if breaker.admits else round(breaker.tripped_for_s, 1),
        "in_hand": len(jobs),
        # What else is reserved has ended, and is about to be written down.
        "at_work": at_work,
        "ahead": sum(job.settlement is None for job in jobs) - at_work,
        "workers": pool.plan.places,
        "concurrency": target.concurrency,
        "limit": breaker.semaphore.limit,
        "limits": _limits(target, breaker.semaphore.limit),
        "limited": pool.hindrance,
        "server_version": breaker.server_version,
        "unfit_commands": pool.plan.unfit_commands(breaker.server_version),
        "tokens": pool.plan.tokens.digests([target]),
        "needs_restart": [*late],
        "quiet": pool.quiet.is_set(),
        # A pool that only finishes what it has is not the one that its target's metrics are about.
        **({"finishing": True} if pool.stopping.is_set() else counters.snapshot(target.name)),
    }


def _limits(target: Target, now: int) -> dict[str, Json]:
    """Return what bounds the target, as configured, and `now`: how many jobs it may get at once at the moment."""
    rate = target.rate
    return {
        "concurrency": target.concurrency,
        "now": now,
        "rate_per_s": None if rate is None else rate.per_s,
        "burst": None if rate is None else rate.burst,
        "in_flight": target.max_in_flight,
    }
