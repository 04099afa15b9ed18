"""How a state, a pause, a limit and an outlook are called, in tables, sentences and on pages, for programs and people.

Used by all that shows one. Always holds: pure; what a process did not report is left out.
"""

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Final

from restbroker.config.values import duration_text
from restbroker.store.pauses import OPERATOR, Pause

if TYPE_CHECKING:  # `enqueue` needs none of it
    from restbroker.operate.system import PoolState, Queue

_NAMES: Final = {"denied": "login refused", "retry_after": "asked to wait"}
PAUSED: Final = "it is paused. `restbroker stats` says why and for how long."
LIMITS: Final[Mapping[str, str]] = {
    "rate": "RateLimit is reached",
    "in_flight": "MaxInFlight is reached",
    "refused": "Redis refuses to fetch or to settle jobs",
    "dead": "no job is taken: the dead set is full (DeadLimit)",
    "old_order": "only jobs of keys are taken that are held under the old OrderBy (OrderChanged)",
}
"""What held the last fetch of a process back (`limited`)."""
LIMIT_HINTS: Final[Mapping[str, str]] = {
    "refused": "Its log has Redis' words; docs/sidekiq.md lists the rights that its Redis user needs.",
    "dead": "Retry or delete dead jobs (`restbroker dead`), or raise DeadLimit.",
    "old_order": "`restbroker keys list` shows them.",
}
"""What to do about a limit that lasts longer than a moment."""
_STEPS_S: Final = ((100, 10), (7_200, 60), (86_400, 600), (inf, 3_600))
"""Times up to the first number are rounded to the second: it is an estimate."""
_OUTLOOKS: Final = {"unknown": "rate unknown", "unserved": "no process takes jobs", "steady": "not getting shorter"}


def all_well(dead: int) -> str:
    """Return what is said where there is no problem, with `dead` jobs kept for a person."""
    return f"Nothing needs you{f' but {dead:,} dead job' if dead else ''}{'s' if dead > 1 else ''}."


def state_text(state: str) -> str:
    """Return a target's state, or the reason of a pause, for people: everywhere by this one name."""
    return _NAMES.get(state, state)


def pause_details(pause: Pause) -> str:
    """Return by whom something is paused, until when and why; for restbroker's own pauses, the reason comes first.

    If nothing is known of a person's pause, as of Sidekiq Pro's, the text is empty.
    """
    words = [] if pause.reason == OPERATOR else [state_text(pause.reason)]
    if pause.who is not None:
        words.append(f"by {pause.who}")
    if pause.remaining_s is not None:
        words.append(f"for {duration_text(pause.remaining_s)} more")
    elif words:
        words.append("until someone resumes it")
    return " ".join(words) + ("" if pause.why is None else f': "{pause.why}"')


def pause_text(pause: Pause) -> str:
    """Return a pause as a state: `paused by …`, or restbroker's own reason."""
    return f"paused {pause_details(pause)}".rstrip() if pause.reason == OPERATOR else pause_details(pause)


def pause_sentence(subject: str, pause: Pause) -> str:
    """Return a sentence that says who paused the subject, and why; or why restbroker sends a target nothing now."""
    return f"{subject} {'is' if pause.reason == OPERATOR else 'gets no jobs:'} {pause_text(pause)}."


def process_state(pool: "PoolState") -> str:
    """Return the state of the target, or one that matters more: the process is gone, ends, or is quiet."""
    if pool.dying:
        return "gone; its jobs return to their queues"
    if pool.finishing:
        return "finishing its jobs"
    return "quiet" if pool.quiet else state_text(pool.state or "-")


def limit_text(limit: object, concurrency: object) -> str:
    """Return why fewer requests than `concurrency` may be in progress."""
    return f"at most {limit} of {concurrency} at once since the server was overloaded or down; the limit rises with use"


def outlook_text(queue: "Queue") -> str:
    """Return the outlook of a queue for people: `empty in about 17 min`, `growing by 40/s`, or why it has none."""
    if queue.outlook == "draining" and queue.empty_in_s is not None:
        step_s = next(step for limit, step in _STEPS_S if queue.empty_in_s < limit)
        return f"empty in about {duration_text(max(step_s, round(queue.empty_in_s / step_s) * step_s))}"
    if queue.outlook == "growing" and queue.change_per_s is not None:
        per_s = queue.change_per_s
        return f"growing by {per_s:,.0f}/s" if per_s >= 1 else f"growing by {max(1, round(per_s * 60))}/min"
    if queue.outlook == "blocked":
        return f"target {state_text(str(queue.target_state))}"
    if queue.outlook == "stopped":
        return f"{'many' if queue.behind_stopped is None else f'{queue.behind_stopped:,}'} behind stopped keys"
    return _OUTLOOKS.get(queue.outlook, queue.outlook)


def outlook_cell(queue: "Queue") -> str:
    """Return the outlook of a queue for programs: seconds until it is empty (`1024s`), `+40.00/s`, or its state."""
    if queue.empty_in_s is not None:
        return f"{queue.empty_in_s:.0f}s"
    return f"+{queue.change_per_s:.2f}/s" if queue.outlook == "growing" else queue.outlook
