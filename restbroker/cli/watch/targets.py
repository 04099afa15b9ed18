"""The rows of the live screen for targets: one each, over all processes; called by `screen`.

Always holds: a pure function of the stats. Rates and jobs are added up; percentiles cannot be, so that the one of the
slowest process is shown.
"""

from collections.abc import Mapping, Sequence

import attrs

from restbroker.cli import target_text
from restbroker.job.json_types import Json
from restbroker.operate.overview import SystemStats, state_text, target_state

_RANKS = {"down": 0, "login refused": 0, "paused": 1, "asked to wait": 1, "quiet": 2, "finishing": 3, "unknown": 3}


@attrs.frozen
class TargetRow:
    """One target; `rank` is 0 for the worst, `why` is empty if there is nothing to report."""

    name: str
    state: str
    rank: int
    rate_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    in_progress: int
    processes: int
    why: str


def target_rows(seen: SystemStats) -> list[TargetRow]:
    """Return each target that a living process serves, the worst first, then by name."""
    of_target: dict[str, list[Mapping[str, Json]]] = {}
    for pool in seen["targets"]:
        if not pool["dying"] and pool["target"] is not None:
            of_target.setdefault(str(pool["target"]), []).append(pool)
    return sorted((_row(name, rows) for name, rows in of_target.items()), key=lambda row: (row.rank, row.name))


def _row(name: str, rows: Sequence[Mapping[str, Json]]) -> TargetRow:
    states = [_state(row) for row in rows]
    state = min(states, key=_rank)
    worst = rows[states.index(state)]
    number = states.count(state)
    return TargetRow(
        name=name,
        state=state if number == len(rows) else f"{state} {number}/{len(rows)}",
        rank=_rank(state),
        rate_per_s=sum(value for row in rows if (value := _number(row["rate_per_s"])) is not None),
        p50_ms=_highest(rows, "p50_ms"),
        p99_ms=_highest(rows, "p99_ms"),
        in_progress=sum(int(value) for row in rows if (value := _number(row["in_progress"])) is not None),
        processes=len({target_text.name(row) for row in rows}),
        why=_reason_text(worst),
    )


def _rank(state: str) -> int:
    return _RANKS.get(state, 4)


def _state(row: Mapping[str, Json]) -> str:
    """Return the state in one word; what the process itself has stopped or begun to stop comes first."""
    state = target_state(row)
    if state not in (None, "up"):
        return state_text(str(state))
    if row["finishing"] is True:
        return "finishing"
    if row["quiet"] is True:
        return "quiet"
    return state or "unknown"


def _reason_text(row: Mapping[str, Json]) -> str:
    reasons = [] if row["reason"] is None else [str(row["reason"])]
    return "; ".join([*reasons, *target_text.pauses(row), *target_text.concurrency_limits(row)])


def _highest(rows: Sequence[Mapping[str, Json]], name: str) -> float | None:
    return max((value for row in rows if (value := _number(row[name])) is not None), default=None)


def _number(value: Json) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
