"""How a state, a pause and a limit are called: in tables, in sentences and on pages, for programs and for people.

Used by all that shows one. Always holds: pure; a row is one of the `targets` of `overview.SystemStats`, and what its
process did not report is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import attrs

from restbroker.config.values import duration_text
from restbroker.job.json_types import Json
from restbroker.store.pauses import OPERATOR, Pause

_NAMES: Final = {"denied": "login refused", "retry_after": "asked to wait"}
SILENT_S: Final = 15.0
RUBY_SILENT_S: Final = 30.0
"""Three records of ours, or of Ruby's, that did not come: Redis keeps that of a killed process for a minute.

The one threshold for stats, pages, `processes` and `check`.
"""
PAUSED: Final = "it is paused. `restbroker stats` says why and for how long."
LIMITS: Final[Mapping[str, str]] = {
    "rate": "RateLimit is reached",
    "in_flight": "MaxInFlight is reached",
    "refused": "Redis refuses to fetch or to settle jobs",
    "dead": "no job is taken: the dead set is full (DeadLimit)",
    "order": "no job is taken: another process does them in order (OrderMixed)",
    "old_order": "only jobs of keys are taken that are held under the old OrderBy (OrderChanged)",
}
"""What held the last fetch of a process back (`limited`)."""
LIMIT_HINTS: Final[Mapping[str, str]] = {
    "refused": "`restbroker check` says why.",
    "dead": "Retry or delete dead jobs (`restbroker dead`), or raise DeadLimit.",
    "order": "`restbroker check` names it.",
    "old_order": "`restbroker keys list` shows them.",
}
"""What to do about a limit that lasts longer than a moment."""


def state_text(state: str) -> str:
    """Return a target's state, or the reason of a pause, for people: everywhere by this one name."""
    return _NAMES.get(state, state)


def target_state(row: Mapping[str, Json]) -> str | None:
    """Return the state of a target, in one process or over all, from its `state` and `pauses`: the gravest one.

    It is `denied`, `down`, `paused` (by a person), `retry_after` (the server asked for it), `up`, or None if unknown.
    """
    state = cast("str | None", row.get("state"))
    reasons = {pause["reason"] for pause in cast("Sequence[Mapping[str, Json]]", row.get("pauses") or ())}
    if "denied" in (state, *reasons):
        return "denied"
    if state == "down" or not reasons:
        return state
    return "retry_after" if reasons == {"retry_after"} else "paused"


def pause_details(pause: Pause | Mapping[str, Json]) -> str:
    """Return by whom something is paused, until when and why; for restbroker's own pauses, the reason comes first.

    If nothing is known of a person's pause, as of Sidekiq Pro's, the text is empty.
    """
    known = pause if isinstance(pause, Pause) else _from_row(pause)
    words = [] if known.reason == OPERATOR else [state_text(known.reason)]
    if known.who is not None:
        words.append(f"by {known.who}")
    if known.remaining_s is not None:
        words.append(f"for {duration_text(known.remaining_s)} more")
    elif words:
        words.append("until someone resumes it")
    return " ".join(words) + ("" if known.why is None else f': "{known.why}"')


def pause_text(pause: Pause | Mapping[str, Json]) -> str:
    """Return a pause as a state: `paused by …`, or restbroker's own reason."""
    is_own = (pause.reason if isinstance(pause, Pause) else pause["reason"]) != OPERATOR
    return pause_details(pause) if is_own else f"paused {pause_details(pause)}".rstrip()


def pause_sentence(subject: str, pause: Pause) -> str:
    """Return a sentence that says who paused the subject, and why; or why restbroker sends a target nothing now."""
    return f"{subject} {'is' if pause.reason == OPERATOR else 'gets no jobs:'} {pause_text(pause)}."


def process_name(row: Mapping[str, Json]) -> str:
    """Return the process as people know it, or its identity if it reported nothing else."""
    return str(row["process"] or row["identity"])


def process_state(row: Mapping[str, Json]) -> str:
    """Return the state of the target, or one that matters more: the process is gone, ends, or is quiet."""
    if row["dying"]:
        return "gone; its jobs return to their queues"
    if row["finishing"] is True:
        return "finishing its jobs"
    return "quiet" if row["quiet"] is True else state_text(str(row["state"] or "-"))


def pauses_of(row: Mapping[str, Json]) -> list[str]:
    """Return the pauses of the target in words, without one that its state tells."""
    pauses = cast("Sequence[Mapping[str, Json]]", row["pauses"])
    return [pause_text(pause) for pause in pauses if pause["reason"] != row["state"]]


def limits_of(row: Mapping[str, Json]) -> list[str]:
    """Return why the last fetch took no more jobs, in words; empty if nothing held it back."""
    return [LIMITS[limited]] if (limited := row["limited"]) in LIMITS and isinstance(limited, str) else []


def concurrency_limits(row: Mapping[str, Json]) -> list[str]:
    """Return why no more requests are in progress, in words."""
    limit, concurrency = row["limit"], row["concurrency"]
    is_low = isinstance(limit, int) and isinstance(concurrency, int) and limit < concurrency
    return ([limit_text(limit, concurrency)] if is_low else []) + limits_of(row)


def limit_text(limit: object, concurrency: object) -> str:
    """Return why fewer requests than `concurrency` may be in progress."""
    return f"at most {limit} of {concurrency} at once since the server was overloaded or down; the limit rises with use"


def _from_row(row: Mapping[str, Json]) -> Pause:
    """Return the pause that this row was made of."""
    return Pause(**{field.name: cast("Any", row.get(field.name)) for field in attrs.fields(Pause)})
