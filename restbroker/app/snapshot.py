"""What a lane reports of itself with each heartbeat, for `restbroker stats`."""

from collections.abc import Mapping

from restbroker.broker.lane import Lane
from restbroker.config.target import Target
from restbroker.job.json_types import Json
from restbroker.telemetry.counters import Counters


def snapshot(lane: Lane, counters: Counters) -> Mapping[str, Json]:
    """Return a small JSON object: the breaker's state, the jobs in progress, and the counts of the lane's target."""
    gate = lane.gate
    target = lane.plan.target
    unsettled = [item for item in lane.in_hand.values() if item.settlement is None]
    at_work = sum(item.sending for item in unsettled)
    return {
        "target": target.name,
        "kind": target.kind,
        "gate": "open" if gate.is_open else "denied" if gate.denied is not None else "closed",
        "gate_code": None if gate.reason is None else gate.reason.code,
        "gate_reason": None if gate.reason is None else gate.reason.message,
        "gate_cure": None if gate.reason is None else gate.reason.cure,
        "closed_for_s": None if gate.is_open else round(gate.closed_for_s, 1),
        "in_hand": len(lane.in_hand),
        # What else is in hand has ended, and is about to be written down.
        "at_work": at_work,
        "ahead": len(unsettled) - at_work,
        "workers": lane.plan.workers,
        "concurrency": target.concurrency,
        "limit": gate.limit,
        "limits": _limits(target, gate.limit),
        "limited": "refused" if lane.refused else lane.limited,
        "server_version": gate.server_version,
        "quiet": lane.quiet.is_set(),
        # A lane that only finishes what it has is not the one that its target's metrics are about.
        **({"finishing": True} if lane.stopping.is_set() else counters.snapshot(target.name)),
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
