"""The figures of the whole system as one plain value: totals, queues, and processes with their targets.

Called by `restbroker stats`. Always holds: a process' own figures (its snapshot) are another version's perhaps, so
every field of them may be missing.
"""

from collections.abc import Collection, Mapping
from typing import TypedDict

from restbroker.rules import rubyjson
from restbroker.rules.json_types import Json
from restbroker.store import limits
from restbroker.store.client import Client
from restbroker.store.stats import LaneView, QueueView, overview

SNAPSHOT_FIELDS = (
    "kind",
    "gate",
    "gate_reason",
    "gate_cure",
    "at_work",
    "ahead",
    "workers",
    "concurrency",
    "limit",
    "limited",
    "rate_per_s",
    "p50_ms",
    "p99_ms",
    "delivered",
    "failed",
    "server_version",
    "quiet",
    "finishing",
)
"""`at_work`: jobs that the server has been sent and did not answer yet, of as many as there are `workers` (Concurrency
and the places of Slots) at most. `ahead`: those that wait in the process. `limit`: how many jobs the target is
given at once now. `limited`: what held the last fetch back (rate, in_flight, dead, paused; refused: by Redis, or
settling is). `finishing`: it only ends what it has, since the process took a new configuration or stops.
"""


class Figures(TypedDict):
    """Ready for JSON. `lanes` has one row for each target in each process."""

    totals: dict[str, int]
    queues: list[dict[str, Json]]
    lanes: list[dict[str, Json]]


def figures(client: Client, wanted: Collection[str]) -> Figures:
    """All figures, also of the queues `wanted`, whoever knows these.

    Times are seconds unless their names say ms. Raises `StoreUnavailable`.
    """
    seen = overview(client, wanted)
    targets = {lane.registered.facts.target for lane in seen.lanes if lane.registered is not None}
    pauses = {target: dict(limits.pauses(client, target)) for target in sorted(targets)}
    return {
        "totals": {
            "processed": seen.processed,
            "failed": seen.failed,
            "retry": seen.retry,
            "schedule": seen.schedule,
            "dead": seen.dead,
        },
        "queues": [_queue(queue) for queue in seen.queues],
        "lanes": [_lane(lane, pauses) for lane in seen.lanes],
    }


def _queue(queue: QueueView) -> dict[str, Json]:
    latency_s = None if queue.latency_s is None else round(queue.latency_s, 3)
    return {"name": queue.name, "size": queue.size, "latency_s": latency_s, "paused": queue.paused}


def _lane(lane: LaneView, pauses: Mapping[str, Mapping[str, float | None]]) -> dict[str, Json]:
    """One target in one process. `in_hand` is what Redis counts, not what the process said last.

    `pauses` has for each target why it is paused, and for how many seconds more; None: until somebody resumes it.
    """
    known = lane.registered
    snapshot = {} if known is None else read_snapshot(known.snapshot)
    shown: dict[str, Json] = {
        "identity": lane.identity,
        "process": None if known is None else f"{known.facts.hostname}:{known.facts.pid}",
        "target": None if known is None else known.facts.target,
        "queues": [] if known is None else list(known.queues),
        "beat_age_s": lane.age_s,
        "dying": lane.dying,
        "in_hand": lane.in_hand,
        "paused": {} if known is None else dict(pauses[known.facts.target]),
    }
    return shown | {name: snapshot.get(name) for name in SNAPSHOT_FIELDS}


def takes_jobs(snapshot: Mapping[str, Json]) -> bool:
    """Whether a lane with this snapshot takes jobs, as far as its process is concerned; its gate may be closed."""
    return snapshot.get("quiet") is not True and snapshot.get("finishing") is not True


def read_snapshot(raw: bytes | None) -> Mapping[str, Json]:
    """What a process told of a lane with its last beat; empty if it told nothing that can be read."""
    return rubyjson.object_of(raw or b"") or {}
