"""A job's life as a line: when it was pushed, fetched, sent and answered, how its tries ended, and who received it.

Called by the pages of a job. Always holds: pure; what a job or record does not say is left out, and so is a time of
strangers that is none; the moments come in their order, whatever the clocks of several machines say.
"""

from collections.abc import Iterable, Iterator
from math import inf

from restbroker.job.repair import seconds
from restbroker.light import frozen
from restbroker.operate.explain import TOLD, Timeline
from restbroker.operate.job import ShownJob
from restbroker.operate.walk import FoundEnd, Kind

_LAST = {"dead": "died", "retry": "next try", "schedule": "due"}
"""What happens to the jobs of a set at the time of their score."""
_PUSHED = "pushed"


@frozen
class Moment:
    """What happened at a time (epoch seconds)."""

    what: str
    at_s: float
    note: str = ""


def of_timeline(found: Timeline) -> list[Moment]:
    """Return the life of the job in its first place, or as it ended last, and the receipts of its message."""
    told = [Moment(TOLD[one.words["type"] or ""], one.at_s, one.words["from"] or "") for one in found.receipts.told]
    if found.locations:
        place = found.locations[0]
        return of_job(place.entry, place.kind, place.since_s) + told
    return _in_order(_of_end(found.ends[0])) + told if found.ends else told


def of_job(entry: ShownJob, kind: Kind, since_s: float | None = None) -> list[Moment]:
    """Return the life of a job that is stored somewhere; `since_s`: since when it is in progress."""
    found = _in_order(_until_now(entry))
    last_s = since_s if kind == "in progress" else seconds(entry.at_s) if kind in _LAST else None
    return found if last_s is None else [*found, Moment(_LAST.get(kind, kind), last_s)]


def _until_now(entry: ShownJob) -> Iterator[Moment]:
    if pushed_s := entry.created_at_s or entry.enqueued_at_s:
        yield Moment(_PUSHED, pushed_s)
    if entry.failed_at_s and not entry.history:
        yield Moment("first failed", entry.failed_at_s, entry.error_class or "")
    for one in entry.history:
        outcome, code, took_ms, at_s = one.get("outcome"), one.get("code"), one.get("ms"), seconds(one.get("at"))
        if at_s is not None and isinstance(outcome, str):
            if isinstance(took_ms, int | float) and 0 < took_ms < at_s:
                yield Moment("sent", at_s - took_ms / 1000)
            yield Moment(outcome, at_s, code if isinstance(code, str) else "")


def _of_end(end: FoundEnd) -> Iterator[Moment]:
    one, times = end.ending, end.ending.times
    fetched_ms = inf if times.fetched_ms is None else times.fetched_ms
    # Both are rounded.
    sent_ms = None if times.answered_ms is None else min(times.answered_ms + one.took_ms, fetched_ms)
    answered = "no answer" if one.outcome == "uncertain" else "answered"
    said = (
        (_PUSHED, times.pushed_ms, ""),
        *(("failed", ms, "") for ms in times.failed_ms),
        ("fetched", times.fetched_ms, ""),
        ("sent", sent_ms, ""),
        (answered, times.answered_ms, "" if one.status is None else f"status {one.status}"),
        ("settled", 0, f"{one.outcome}, try {times.tries}" if times.tries > 1 else one.outcome),
    )
    yield from (Moment(what, end.at_s - ms / 1000, note) for what, ms, note in said if ms is not None)


def _in_order(found: Iterable[Moment]) -> list[Moment]:
    """Return the moments by their times, but that of the push first: another machine's clock said that."""
    return sorted(found, key=lambda moment: (moment.what != _PUSHED, moment.at_s))
