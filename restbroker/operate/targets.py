"""Targets as an operator sees and steers them, over all processes: how they are, what bounds them, who paused them.

Called by `restbroker targets` and the pages. Always holds: a pause holds in all processes, and jobs in progress still
run; what processes say of themselves is up to a heartbeat old, and perhaps another version's, so that any of it may be
missing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import cast

import attrs

from restbroker.job.json_types import Json
from restbroker.operate import audit
from restbroker.operate.audit import AuditEntry
from restbroker.operate.overview import system_stats
from restbroker.operate.queues import pause_length
from restbroker.store import pauses
from restbroker.store.client import Client
from restbroker.store.pauses import Pause

_WORST_FIRST = ("denied", "down", "up")
_LARGEST = 1e15


@attrs.frozen
class Target:
    """A target over all its processes; `per_process` has a row of `overview.system_stats` for each live one.

    `state` (up, down, denied), `reason`, `hint` and `down_for_s` are those of the worst process; None: no process
    serves the target, or none reports. `down_in`: in how many processes it is not up. `pauses`: the pauses that hold
    for all processes. `concurrency`, `limit` (jobs at once now), `busy`, `ahead`, `in_progress`, `rate_per_s`,
    `delivered` and `failed` (since each process started) are sums. `p50_ms` to `p99_ms` are those of the slowest
    process in the last minute. `rate_limit_per_s` and `max_in_flight` hold for all processes together. `limited`: what
    limited the processes' last fetches. `outcomes`: {outcome: how many tries}, if processes report them.
    """

    name: str
    kind: str | None
    state: str | None
    down_in: int
    reason: str | None
    hint: str | None
    down_for_s: float | None
    pauses: tuple[Pause, ...]
    concurrency: int
    limit: int
    rate_limit_per_s: float | None
    max_in_flight: int | None
    limited: tuple[str, ...]
    busy: int
    ahead: int
    in_progress: int
    rate_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    delivered: int
    failed: int
    outcomes: Mapping[str, int]
    versions: tuple[str, ...]
    queues: tuple[str, ...]
    processes: tuple[str, ...]
    per_process: tuple[Mapping[str, Json], ...] = attrs.field(repr=False)


def targets(client: Client, wanted: Collection[str] = ()) -> list[Target]:
    """Return all targets that a process serves, that a person paused, or that are `wanted`.

    Raise `StoreUnavailable`.
    """
    return merge_rows(client, system_stats(client, ())["targets"], wanted)


def merge_rows(client: Client, pools: Iterable[Mapping[str, Json]], wanted: Collection[str] = ()) -> list[Target]:
    """Return the targets of these rows of `overview.system_stats`, one for each name.

    `wanted`: names that come first, even without a row. Raise `StoreUnavailable`.
    """
    by_name: dict[str, list[Mapping[str, Json]]] = {name: [] for name in wanted}
    for pool in pools:
        if isinstance(name := pool["target"], str):
            by_name.setdefault(name, []).append(pool)
    paused = pauses.paused_targets(client, by_name)
    names = sorted(by_name.keys() | paused.keys())
    return [_target(name, by_name.get(name, ()), paused.get(name, ())) for name in names]


def pause(client: Client, target: str, who: str, why: str, for_s: float | None = None) -> None:
    """Pause a target in all processes, for `for_s` seconds; None: until `resume`. It replaces an earlier pause.

    Jobs in progress still run. Raise `StoreUnavailable`: the target may be paused, and the call may be repeated.
    """
    audit.write(
        client, AuditEntry(who=who, action="pause", place=f"target:{target}", where=pause_length(for_s), why=why)
    )
    pauses.pause_target(client, target, who, why=why, for_s=for_s)


def resume(client: Client, target: str, who: str, why: str = "") -> bool:
    """End every pause of a target, also restbroker's own. Return False if there was none.

    Raise `StoreUnavailable`: the pause may have ended, and the call may be repeated. Raise `StoreRefused`.
    """
    audit.write(client, AuditEntry(who=who, action="resume", place=f"target:{target}", why=why))
    return pauses.resume_target(client, target)


def _target(name: str, all_pools: Sequence[Mapping[str, Json]], paused: tuple[Pause, ...]) -> Target:
    pools = [pool for pool in all_pools if not pool["dying"]]
    # One that only finishes what it has tells nothing of the target, but its jobs count.
    telling = [pool for pool in pools if pool["state"] in _WORST_FIRST and pool["finishing"] is not True]
    bounds = [_members(pool, "limits") for pool in telling]
    worst = min(telling, key=lambda pool: _WORST_FIRST.index(str(pool["state"])), default={})
    return Target(
        name=name,
        kind=next((str(pool["kind"]) for pool in telling if pool["kind"] is not None), None),
        state=_text(worst.get("state")),
        down_in=sum(pool["state"] != "up" for pool in telling),
        reason=_text(worst.get("reason")),
        hint=_text(worst.get("hint")),
        down_for_s=max(_numbers([worst], "down_for_s"), default=None),
        pauses=paused,
        concurrency=int(sum(_numbers(telling, "concurrency"))),
        limit=int(sum(_numbers(telling, "limit"))),
        rate_limit_per_s=min(_numbers(bounds, "rate_per_s"), default=None),
        max_in_flight=min(map(int, _numbers(bounds, "in_flight")), default=None),
        limited=_texts(pool["limited"] for pool in telling),
        busy=int(sum(_numbers(pools, "busy"))),
        ahead=int(sum(_numbers(pools, "ahead"))),
        # Also what died in hand: it is about to go back.
        in_progress=int(sum(_numbers(all_pools, "in_progress"))),
        rate_per_s=sum(_numbers(telling, "rate_per_s")),
        p50_ms=max(_numbers(telling, "p50_ms"), default=None),
        p95_ms=max(_numbers(telling, "p95_ms"), default=None),
        p99_ms=max(_numbers(telling, "p99_ms"), default=None),
        delivered=int(sum(_numbers(telling, "delivered"))),
        failed=int(sum(_numbers(telling, "failed"))),
        outcomes=_outcomes(telling),
        versions=_texts(pool["server_version"] for pool in telling),
        queues=_texts(queue for pool in pools for queue in cast("list[Json]", pool["queues"])),
        processes=_texts(pool["process"] for pool in pools),
        per_process=tuple(pools),
    )


def _numbers(rows: Sequence[Mapping[str, Json]], field: str) -> list[float]:
    found = (row.get(field) for row in rows)
    numbers = [one for one in found if isinstance(one, int | float) and not isinstance(one, bool)]
    # Another version, or another hand, may have written anything.
    return [one for one in numbers if -_LARGEST < one < _LARGEST]


def _outcomes(rows: Sequence[Mapping[str, Json]]) -> dict[str, int]:
    told = [_members(row, "outcomes") for row in rows]
    return {name: int(sum(_numbers(told, name))) for name in sorted({name for one in told for name in one})}


def _members(row: Mapping[str, Json], field: str) -> Mapping[str, Json]:
    found = row.get(field)
    return found if isinstance(found, dict) else {}


def _texts(found: Iterable[Json]) -> tuple[str, ...]:
    return tuple(sorted({one for one in found if isinstance(one, str)}))


def _text(found: Json) -> str | None:
    return found if isinstance(found, str) else None
