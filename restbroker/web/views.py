"""Makes the values for the templates from a `State`: rows and charts; called by `web.render`.

Always holds: pure; a field that another version of restbroker does not write is None, and the page shows a dash.
"""

from collections.abc import Mapping, Sequence
from heapq import nlargest
from math import inf

import attrs

from restbroker.operate.history import percentile_ms
from restbroker.operate.problems import Alarm, problems, target_problems
from restbroker.operate.summary import Summary
from restbroker.web.charts import Chart, Series, chart
from restbroker.web.live import State

MOST_ROWS = 300
"""The greatest number of rows in a table of a live page, which is sent again with each change."""


def tables(state: State, word: str = "") -> tuple[Mapping[str, Sequence[object]], Mapping[str, int]]:
    """Return the rows of each table of a live page, and how many of them are not shown.

    With a `word`, in small letters, only rows that contain it are meant. Of too many rows those are shown, in their
    order, that have the highest numbers in a field, or none there.
    """
    found, seen = state.figures, state.figures.system
    rows: Mapping[str, tuple[Sequence[object], str]] = {
        "targets": (found.targets, "in_progress"),
        "worker_pools": (seen.targets, "in_progress"),
        "queues": (seen.queues, "size"),
        "processes": (found.processes, "in_progress"),
        "sources": (seen.sources, "code"),
    }
    if word:
        rows = {name: ([row for row in each if _has(row, word)], field) for name, (each, field) in rows.items()}
    shown = {name: _top_rows(each, field) for name, (each, field) in rows.items()}
    hidden = {name: len(each) - len(shown[name]) for name, (each, _) in rows.items()}
    return shown, {**hidden, "queues": hidden["queues"] + seen.unread}


def _has(row: object, word: str) -> bool:
    fields = attrs.fields(type(row))  # type: ignore[arg-type]  # of attrs are all rows
    return any(word in str(getattr(row, one.name)).casefold() for one in fields)


def _top_rows(found: Sequence[object], field: str) -> Sequence[object]:
    def weight(place: int) -> float:
        value = getattr(found[place], field)
        return value if isinstance(value, int | float) else inf

    if len(found) <= MOST_ROWS:
        return found
    return [found[place] for place in sorted(nlargest(MOST_ROWS, range(len(found)), key=weight))]


def totals(state: State) -> Mapping[str, int | None]:
    """Return the numbers at the top of the overview, by name."""
    seen = state.figures.system
    return {
        "waiting": seen.waiting,
        "in_progress": seen.in_progress,
        "retries": seen.totals.get("retry"),
        "scheduled": seen.totals.get("schedule"),
        **{name: seen.totals.get(name) for name in ("processed", "failed", "dead")},
    }


def causes(state: State) -> Summary | None:
    """Return the causes of the dead jobs; None if none are known."""
    found = None if state.look is None else state.look.dead
    return found if found is not None and found.causes else None


def alarms(state: State, page: str) -> list[Alarm]:
    """Return what is wrong now, grave things first; of others, only the overview has those that another page shows."""
    if state.look is None:
        return []
    seen = state.look.figures
    found = problems(seen.system, seen.served, seen.stopped, state.look.at_s)
    if page != "overview":
        found = [one for one in found if one.grave or one.page in (None, page)]
    if seen.unready is None:
        return found
    return [Alarm("", True, seen.unready, "The process takes no jobs meanwhile; they wait in Redis."), *found]


def alarms_of_queue(state: State, queue: str) -> list[Alarm]:
    """Return why the targets of this queue get no jobs, grave things first."""
    if state.look is None:
        return []
    seen = state.figures.system
    own = tuple(pool for pool in seen.targets if queue in pool.queues)
    found = list(target_problems(attrs.evolve(seen, targets=own, queues=())))
    if not own and not any(queue in process.queues for process in state.figures.processes):
        found.append(Alarm(queue, True, "No process serves this queue", page="processes"))
    return sorted(found, key=lambda one: not one.grave)


def charts(state: State) -> list[Chart]:
    """Return the charts for throughput, failures, latency and backlog."""
    minutes = () if state.look is None else state.look.minutes
    # The minute that has just begun would always look like a collapse.
    whole = minutes[:-1]
    over = f"The last {round(len(whole) / 60)} hours, by the minute"
    shares = (("p50", "one", 0.5), ("p95", "two", 0.95), ("p99", "three", 0.99))
    return [
        chart("Processed", "a minute", [Series("tries", "ok", [one.processed for one in whole])], over),
        chart("Failed", "a minute", [Series("tries", "bad", [one.failed for one in whole])], over),
        chart(
            "Latency",
            "ms",
            [
                Series(name, tone, [percentile_ms(one.histogram, share) for one in whole])
                for name, tone, share in shares
            ],
            over,
        ),
        _backlog(state),
    ]


def _backlog(state: State) -> Chart:
    known = state.backlog
    span_s = known[-1].at_s - known[0].at_s if known else 0.0
    minutes = max(1, round(span_s / 60))
    span = "minute" if minutes == 1 else f"{minutes} minutes"
    over = f"Of the last {span}, from this page's own memory"
    series = [
        Series("waiting", "one", [one.waiting for one in known]),
        Series("for a retry", "two", [one.retry for one in known]),
        Series("in progress", "three", [one.in_progress for one in known]),
    ]
    return chart("Backlog", "jobs", series, over)
