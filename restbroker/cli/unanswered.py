"""What is true of a job whose answer did not come in time; called by `restbroker enqueue --wait` and `restbroker ctl`.

Always holds: it changes nothing, takes a few seconds at most, and claims nothing of a job that was not found.
"""

from contextlib import suppress
from typing import Final

from restbroker.config.core import Config
from restbroker.console.times import local
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.operate import order_wait
from restbroker.operate.context import context_of
from restbroker.operate.entry import Entry
from restbroker.operate.explain import Timeline, explain
from restbroker.operate.job_search import SearchLimits
from restbroker.store.client import Client

_LIMITS: Final = SearchLimits(seconds=2.0, jobs=2000, ends=2000, copies=1, notes=1)
_UNKNOWN: Final = "it is queued, in progress, or waits for its next try"
_EXPIRED: Final = "it expired and will not be sent any more. If it is still wanted, push it again with a later --expire"


def look_up(client: Client, settings: Config, jid: str, once: str = "", *, is_expired: bool = False) -> str:
    """Search for the job and return what is true of it, as the second half of a sentence.

    `once` and `is_expired` are as in `state_text`.
    """
    try:
        return state_text(explain(client, jid, context_of(settings), _LIMITS), once, is_expired=is_expired)
    except (StoreUnavailable, StoreRefused):
        return _UNKNOWN


def held_text(client: Client, settings: Config, target: str, key: str, jid: str) -> str | None:
    """Return behind which job of its key the job is held, as a sentence, with what to do; None if it is not.

    Raise `StoreUnavailable`.
    """
    place = next((one for one in settings.targets if one.name == target), None)
    with suppress(StoreRefused):
        held = place and order_wait.of_key(client, context_of(settings), place, key, jid=jid)
        return None if not held or held.is_own else "\n".join((held.text(local), *held.next_steps))
    return None


def state_text(timeline: Timeline, once: str = "", *, is_expired: bool = False) -> str:
    """Return what is true of the job. `once`: what a waiting job waits for, e.g. " once the queue rest is resumed".

    `is_expired`: its time is over, so that it is not sent any more.
    """
    unsent = not timeline.locations or timeline.locations[0].kind in ("queue", "retry", "schedule")
    if is_expired and unsent and not (timeline.ends or timeline.unseen or timeline.refused):
        return _EXPIRED
    if not timeline.locations:
        if timeline.ends:
            return f"it has ended meanwhile ({timeline.ends[0].ending.outcome})"
        # With its queue out of sight it is most likely still there.
        return _UNKNOWN if timeline.unseen or timeline.refused else "it is in no queue and no set any more"
    place = timeline.locations[0]
    entry, failed = place.entry, _failures(place.entry)
    match place.kind:
        case "queue" if place.order is not None:
            return f"it {place.order.text(local).removeprefix('It ').removesuffix('.')}"
        case "queue":
            return f"it is still queued and will be tried{once}"
        case "in progress" if place.hindrance is not None:
            return f"it {'' if failed is None else f'{failed} and '}waits for its target, which gets no jobs now"
        case "in progress":
            return f"it is in progress{'' if failed is None else f' again; it {failed}'}"
        case "retry" | "schedule" if failed is not None:
            return f"it {failed} and will be tried again at {local(entry.at_s)}"
        case "retry" | "schedule":
            return f"it is scheduled for {local(entry.at_s)}"
        case _:
            return f"it is dead{'' if failed is None else f': it {failed}'}"


def _failures(entry: Entry) -> str | None:
    """Return how often the job failed, and how it did last; None if it did not."""
    said = ": ".join(text for text in (entry.error_class, entry.message) if text)
    if not said:
        return None
    times = {0: "failed", 1: "failed once", 2: "failed twice"}.get(entry.attempts, f"failed {entry.attempts} times")
    return f"{times} ({said.rstrip('.')})"
