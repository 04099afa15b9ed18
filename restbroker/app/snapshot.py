"""Makes the JSON object that a pool writes with each heartbeat, for `restbroker stats`."""

from collections.abc import Mapping

from restbroker.broker.token_watch import digests
from restbroker.broker.worker_pool import WorkerPool
from restbroker.config.target import Target
from restbroker.job.json_types import Json
from restbroker.telemetry.counters import Counters


def snapshot(pool: WorkerPool, counters: Counters) -> Mapping[str, Json]:
    """Return a small JSON object: the breaker's state, the jobs in progress, and the counts of the pool's target."""
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
        "workers": pool.plan.workers,
        "concurrency": target.concurrency,
        "limit": breaker.semaphore.limit,
        "limits": _limits(target, breaker.semaphore.limit),
        "limited": pool.hindrance,
        "server_version": breaker.server_version,
        "tokens": digests(pool.plan.tokens, [target]),
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
