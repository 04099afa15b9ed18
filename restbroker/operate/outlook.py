"""When a queue will be empty: from its length, how that changed lately, and what holds its jobs back.

Used by `system`, and by all that show queues. Always holds: pure; a queue that grows, stands still, is held back or is
not known well enough has no time; a time is never negative, and at most `LONGEST_S`.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from restbroker.config.values import duration_text
from restbroker.operate.words import state_text

if TYPE_CHECKING:
    from restbroker.operate.system import Queue

Outlook: TypeAlias = Literal["empty", "paused", "blocked", "unserved", "unknown", "draining", "steady", "growing"]
"""What is to be expected of a queue.

`blocked`: none of its targets takes jobs. `unserved`: no process takes jobs from it. `unknown`: its lengths are not
known for long enough, as after a start, or its key is no list.
"""
LONGEST_S: Final = 30 * 86_400
"""What takes longer than this many seconds at the present rate is called steady."""
_STEPS_S: Final = ((100, 10), (7_200, 60), (86_400, 600), (2 * LONGEST_S, 3_600))
"""Times up to the first number are rounded to the second: it is an estimate."""
_TEXTS: Final = {"unknown": "rate unknown", "unserved": "no process takes jobs", "steady": "not getting shorter"}


def outlook(
    waiting: int | None, change_per_s: float | None, held_back: Outlook | None = None
) -> tuple[Outlook, float | None]:
    """Return what is to be expected of a queue, and if it gets shorter, in how many seconds it will be empty.

    `change_per_s`: how fast it grew lately, negative if it got shorter; None: unknown.
    """
    if waiting == 0:
        return "empty", 0.0
    if waiting is None or held_back is not None or change_per_s is None:
        return held_back or "unknown", None
    if change_per_s < 0 and waiting < -change_per_s * LONGEST_S:
        return "draining", round(waiting / -change_per_s, 1)
    return "growing" if change_per_s > 0 else "steady", None


def outlook_text(one: "Queue") -> str:
    """Return the outlook of a queue for people: `empty in about 17 min`, `growing by 40/s`, or why it has none."""
    if one.outlook == "draining" and one.empty_in_s is not None:
        step_s = next(step for limit, step in _STEPS_S if one.empty_in_s < limit)
        return f"empty in about {duration_text(max(step_s, round(one.empty_in_s / step_s) * step_s))}"
    if one.outlook == "growing" and one.change_per_s is not None:
        per_s = one.change_per_s
        return f"growing by {per_s:,.0f}/s" if per_s >= 1 else f"growing by {max(1, round(per_s * 60))}/min"
    if one.outlook == "blocked":
        return f"target {state_text(str(one.target_state))}"
    return _TEXTS.get(one.outlook, one.outlook)


def outlook_cell(one: "Queue") -> str:
    """Return the outlook of a queue for programs: seconds until it is empty (`1024s`), `+40.00/s`, or its state."""
    if one.empty_in_s is not None:
        return f"{one.empty_in_s:.0f}s"
    return f"+{one.change_per_s:.2f}/s" if one.outlook == "growing" else one.outlook


def last_to_empty(queues: Iterable["Queue"]) -> "Queue | None":
    """Return the queue that speaks for all: the one that grows fastest, else the one that takes longest to empty.

    A queue that is held back speaks only where none moves, and then the longest. None: there are no queues.
    """
    return max(queues, key=_weight, default=None)


def _weight(one: "Queue") -> tuple[int, float]:
    match one.outlook:
        case "draining":
            return 3, one.empty_in_s or 0.0
        case "growing":
            return 4, one.change_per_s or 0.0
        case "paused" | "blocked" | "unserved":
            return 1, one.size or 0
        case _:
            return (0 if one.outlook == "empty" else 2), one.size or 0
