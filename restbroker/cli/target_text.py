"""One target in one process, in words; used by `restbroker stats` and its live screen.

`row` is one of the `targets` of `SystemStats`. Always holds: a value that a process did not report is a dash.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from restbroker.config.values import duration_text
from restbroker.job.json_types import Json
from restbroker.operate.overview import state_text
from restbroker.store.pauses import OPERATOR

_LIMITS = {
    "rate": "RateLimit is reached",
    "in_flight": "MaxInFlight is reached",
    "refused": "Redis refuses to fetch or to settle jobs; see the log",
    "dead": "no job is taken: the dead set is full (DeadLimit)",
    "order": "no job is taken: another process does them in order (OrderMixed)",
    "old_order": "only jobs of keys are taken that are held under the old OrderBy (OrderChanged)",
}


def name(row: Mapping[str, Json]) -> str:
    """Return the process as people know it, or its identity if it reported nothing else."""
    return text(row["process"] or row["identity"])


def state(row: Mapping[str, Json]) -> str:
    """Return the state of the target, or one that matters more: the process is gone, ends, or is quiet."""
    if row["dying"]:
        return "gone; its jobs return to their queues"
    if row["finishing"] is True:
        return "finishing its jobs"
    return "quiet" if row["quiet"] is True else state_text(text(row["state"]))


def pauses(row: Mapping[str, Json], paused: str = "", own: str = "") -> Iterator[str]:
    """Yield each pause of the target in words: the reason, by whom, for how long and why.

    A person's pause begins with `paused`, one of restbroker's own with `own`; one that the state tells is left out.
    """
    for pause in cast("Sequence[Mapping[str, Json]]", row["pauses"]):
        if pause["reason"] == row["state"]:
            continue
        remaining_s = cast("float | None", pause["remaining_s"])
        left = "until resumed" if remaining_s is None else f"for {duration_text(remaining_s)} more"
        by, why = _pause_reason(pause)
        begin = paused if pause["reason"] == OPERATOR else own
        yield f"{begin}{state_text(text(pause['reason']))}{by} {left}{why}"


def about(pause: Mapping[str, Json]) -> str:
    """Return who paused a queue, for how long and why, as far as that is known; "" if nothing is."""
    remaining_s = cast("float | None", pause["remaining_s"])
    by, why = _pause_reason(pause)
    return f"{by}{'' if remaining_s is None else f' for {duration_text(remaining_s)} more'}{why}".strip()


def _pause_reason(pause: Mapping[str, Json]) -> tuple[str, str]:
    by, why = pause["who"], pause["why"]
    return "" if by is None else f" by {text(by)}", "" if why is None else f" ({text(why)})"


def concurrency_limits(row: Mapping[str, Json]) -> list[str]:
    """Return the reasons why no more requests are in progress, in words; empty if there are none."""
    limit, concurrency = row["limit"], row["concurrency"]
    found: list[str] = []
    if isinstance(limit, int) and isinstance(concurrency, int) and limit < concurrency:
        found.append(limit_text(limit, concurrency))
    return found + fetch_limits(row)


def limit_text(limit: int, concurrency: int) -> str:
    """Return why fewer requests than `concurrency` may be in progress."""
    return f"at most {limit} of {concurrency} at once since the server was overloaded or down; the limit rises with use"


def fetch_limits(row: Mapping[str, Json]) -> list[str]:
    """Return the reasons why the last fetch took no more jobs, in words; empty if there are none."""
    return [words for reason, words in _LIMITS.items() if row["limited"] == reason]


def text(value: Json, unit: str = "") -> str:
    """Return a value as it is shown, with its unit; `-` for None."""
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.1f}{unit}"
        case _:
            return f"{value}{unit}"
