"""The stats of the whole system as one plain value: totals, queues, and processes with their targets.

Called by `restbroker stats`. Always holds: a process' own numbers (its snapshot) may be another version's, so every
field of them may be missing.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import TypedDict, cast

import attrs

from restbroker.config.target import Target
from restbroker.errors import StoreRefused
from restbroker.job.json_types import Json
from restbroker.operate.snapshot import read_snapshot
from restbroker.operate.words import target_state
from restbroker.store.client import Client
from restbroker.store.order import read_stopped
from restbroker.store.pauses import Pause, paused_queues, paused_targets
from restbroker.store.server import redis_problems, server
from restbroker.store.sources import SourceState, read_states
from restbroker.store.stats import IdentityView, Overview, QueueView, overview

SNAPSHOT_FIELDS = (
    "kind",
    "ahead",
    "workers",
    "concurrency",
    "limit",
    "limits",
    "limited",
    "rate_per_s",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "delivered",
    "failed",
    "outcomes",
    "server_version",
    "quiet",
    "finishing",
)
"""The fields of a process' snapshot that are shown under the names that they have there.

`ahead`: jobs that wait in the process. `workers`: Concurrency and the places of Slots. `limit`: how many jobs the
target gets at once now, `limits` that and what is configured. `limited`: what held the last fetch back (rate,
in_flight, dead, paused, order, old_order; refused: by Redis, or settling is). `outcomes`: how many jobs had
each. `finishing`: it only ends what it has, since the process took a new configuration or stops.
"""

_STATES = {"open": "up", "closed": "down"}
"""How a heartbeat names the state of a target → how it is shown; `denied` is the same in both."""
_BLOCKED = frozenset({"down", "denied", "paused", "retry_after"})


class SystemStats(TypedDict):
    """All metrics of the system, ready for JSON. `targets` has a row per target and process.

    `redis` has a row for each reason why Redis refuses writes, or may soon; none where INFO is not allowed.

    `sources` has a row per event source and process that reads it; a stream of a user has a row per user.
    """

    redis: list[dict[str, Json]]
    totals: dict[str, int]
    queues: list[dict[str, Json]]
    targets: list[dict[str, Json]]
    sources: list[dict[str, Json]]


def system_stats(client: Client, wanted: Collection[str]) -> SystemStats:
    """Return all metrics, including those of the queues `wanted`, even if neither a process nor Redis knows them.

    Times are seconds unless their names say ms. Raise `StoreUnavailable` or `StoreRefused`.
    """
    return stats_from(client, overview(client, wanted))


def stats_from(client: Client, seen: Overview) -> SystemStats:
    """Return what `system_stats` does, from `seen`, which was read before; pauses and sources are read now.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    paused = paused_queues(client)
    return {
        "redis": _redis(client),
        "totals": {
            "processed": seen.processed,
            "failed": seen.failed,
            "retry": seen.retry,
            "schedule": seen.schedule,
            "dead": seen.dead,
        },
        "queues": [_queue(queue, paused.get(queue.name)) for queue in seen.queues],
        "targets": target_rows(client, seen),
        "sources": [attrs.asdict(state) for state in _sources(client)],
    }


def target_rows(client: Client, seen: Overview) -> list[dict[str, Json]]:
    """Return the `targets` of `SystemStats`; pauses are read now. Raise `StoreUnavailable` or `StoreRefused`."""
    names = {pool.registration.process.target for pool in seen.identities if pool.registration is not None}
    pauses = paused_targets(client, names)
    return [_target_row(pool, pauses) for pool in seen.identities]


def blocked_queues(rows: Sequence[Mapping[str, Json]]) -> dict[str, str]:
    """Return the `target_state` for which no target takes jobs of a queue that is served; other queues are left out.

    `rows` are those of `target_rows`.
    """
    states: dict[str, list[str | None]] = {}
    for row in rows:
        for queue in () if row["dying"] else cast("list[str]", row["queues"]):
            states.setdefault(queue, []).append(target_state(row))
    return {queue: str(found[0]) for queue, found in states.items() if _BLOCKED.issuperset(found)}


def ordered_targets(targets: Sequence[Target]) -> Mapping[str, str]:
    """Return the targets with OrderBy, each with the queue whose page lists its keys."""
    return {target.name: target.queues[0] for target in targets if target.order is not None}


def stopped_keys(client: Client, ordered: Mapping[str, str]) -> list[dict[str, Json]]:
    """Return a row for each target with keys that a death stopped (`OnDead`): how many, since when, and a queue of it.

    `ordered`: what `ordered_targets` returns. The keys' names are not here: they may hold secrets. Raise
    `StoreUnavailable`.
    """
    # The rest is shown without what someone else put there; `check` names it.
    with suppress(StoreRefused):
        return [
            {"target": name, "queue": ordered[name], "count": keys.count_text, "since_s": keys.since_s}
            for name, keys in read_stopped(client, tuple(ordered)).items()
        ]
    return []


def _redis(client: Client) -> list[dict[str, Json]]:
    with suppress(StoreRefused):
        return [attrs.asdict(one) | {"grave": one.is_grave} for one in redis_problems(server(client))]
    return []


def _sources(client: Client) -> list[SourceState]:
    # The rest is shown without what someone else put there; `check` names it.
    with suppress(StoreRefused):
        return read_states(client)
    return []


def _queue(queue: QueueView, pause: Pause | None) -> dict[str, Json]:
    latency_s = None if queue.latency_s is None else round(queue.latency_s, 3)
    expired_s = None if queue.expired_s is None else round(queue.expired_s, 3)
    shown: dict[str, Json] = {"name": queue.name, "size": queue.size, "latency_s": latency_s, "paused": queue.paused}
    return shown | {"expired_s": expired_s} | {"pause": None if pause is None else attrs.asdict(pause)}


def _target_row(pool: IdentityView, all_pauses: Mapping[str, Sequence[Pause]]) -> dict[str, Json]:
    """Return one target in one process.

    `in_progress` is what Redis counts, not what the process said last; `busy`: as many were sent to the server and are
    not answered yet, at most as many as there are `workers`.

    `paused` has why its target is paused, and for how many seconds more (None: until someone resumes it); `pauses` says
    more of the same.
    """
    known = pool.registration
    pauses = () if known is None else all_pauses.get(known.process.target, ())
    snapshot = {} if known is None else read_snapshot(known.snapshot)
    shown: dict[str, Json] = {
        "identity": pool.identity,
        "process": None if known is None else f"{known.process.hostname}:{known.process.pid}",
        "target": None if known is None else known.process.target,
        "queues": [] if known is None else list(known.queues),
        "heartbeat_age_s": pool.age_s,
        "dying": pool.is_fenced,
        "in_progress": pool.in_progress,
        "busy": snapshot.get("at_work"),
        "paused": {pause.reason: pause.remaining_s for pause in pauses},
        "pauses": [attrs.asdict(pause) for pause in pauses],
    }
    return shown | _state(snapshot) | {name: snapshot.get(name) for name in SNAPSHOT_FIELDS}


def _state(snapshot: Mapping[str, Json]) -> dict[str, Json]:
    """Return whether the target is `up`, `down`, or has `denied` the login, and why, with what to do."""
    state = snapshot.get("gate")
    texts = {"code": "gate_code", "reason": "gate_reason", "hint": "gate_cure"}
    return {
        "state": _STATES.get(state, state) if isinstance(state, str) else None,
        **{name: value if isinstance(value := snapshot.get(field), str) else None for name, field in texts.items()},
        "down_for_s": snapshot.get("closed_for_s"),
    }
