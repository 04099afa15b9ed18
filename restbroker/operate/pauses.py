"""A pause in words: by whom, until when and why, as far as it is known. Used by the parts of `check` and `explain`."""

from restbroker.config.values import duration_text
from restbroker.operate.overview import state_text
from restbroker.store.pauses import OPERATOR, Pause


def _until(pause: Pause) -> str:
    """Return by whom something is paused, and until when; the text begins with a blank."""
    by = "" if pause.who is None else f" by {pause.who}"
    return (
        f"{by} until someone resumes it"
        if pause.remaining_s is None
        else f"{by} for {duration_text(pause.remaining_s)} more"
    )


def _reason(pause: Pause) -> str:
    """Return why it is paused, in that person's own words; empty if there are none."""
    return "" if pause.why is None else f': "{pause.why}"'


def of_target(name: str, pause: Pause) -> str:
    """Return a sentence that says who paused the target, and why; or why restbroker sends it nothing for a while."""
    if pause.reason != OPERATOR:
        return f"The target {name} gets no jobs{_until(pause)}: {state_text(pause.reason)}."
    return f"The target {name} is paused{_until(pause)} ({pause.reason}){_reason(pause)}."


def of_periodic(name: str, pause: Pause) -> str:
    """Return a sentence that says who paused the periodic command, and why."""
    return f"{name} is paused{_until(pause)}{_reason(pause)}."


def of_queue(name: str, pause: Pause) -> str:
    """Return a sentence that says who paused the queue, and why."""
    return f"The queue {name} is paused{_until(pause)}{_reason(pause)}."
