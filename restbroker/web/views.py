"""Makes the values for the templates from a `State`: rows and charts; called by `web.render`.

Always holds: pure; a field that another version of restbroker does not write is None, and the page shows a dash.
"""

from collections.abc import Mapping, Sequence
from heapq import nlargest
from math import inf
from typing import Any, Final, TypeVar

import attrs

from restbroker.operate.history import percentile_ms
from restbroker.operate.problems import Alarm, problems, target_problems
from restbroker.operate.summary import Summary
from restbroker.operate.system import Snapshot, target_state
from restbroker.operate.words import state_text
from restbroker.web.charts import Chart, Series, chart
from restbroker.web.live import State
from restbroker.web.metrics_view import Figures

Row = TypeVar("Row")
_NONE: Final = Figures(Snapshot())
MOST_ROWS = 300
"""The greatest number of rows in a table of a live page, which is sent again with each change."""


@attrs.frozen
class Server:
    """The server of a queue: a `target`, None for a Ruby process. `state`: why it gets no jobs; None: it gets them."""

    target: str | None = None
    state: str | None = None


def figures(state: State) -> Figures:
    """Return the figures of the last look; empty ones before the first."""
    return _NONE if state.look is None else state.look.figures


def tables(state: State) -> Mapping[str, Sequence[Any]]:
    """Return the rows of each table of a live page."""
    found = figures(state)
    seen = found.system
    return {
        "targets": found.targets,
        "worker_pools": seen.targets,
        "queues": seen.queues,
        "processes": found.processes,
        "sources": seen.sources,
    }


def top_rows(found: Sequence[Row], field: str) -> Sequence[Row]:
    """Return, of too many rows, those with the highest numbers in `field`, in their order.

    A row without a number there counts as the highest.
    """
    if len(found) <= MOST_ROWS:
        return found

    def weight(place: int) -> float:
        value = getattr(found[place], field)
        return value if isinstance(value, int | float) else inf

    return [found[place] for place in sorted(nlargest(MOST_ROWS, range(len(found)), key=weight))]


def hidden_counts(
    state: State, found: Mapping[str, Sequence[object]], shown: Mapping[str, Sequence[object]]
) -> Mapping[str, int]:
    """Return how many rows of each table are not shown."""
    counts = {name: len(found[name]) - len(kept) for name, kept in shown.items()}
    return {**counts, "queues": counts["queues"] + figures(state).unread}


def totals(state: State) -> Mapping[str, int | None]:
    """Return the numbers at the top of the overview, by name."""
    seen = figures(state).system
    return {
        "waiting": sum(queue.size or 0 for queue in seen.queues),
        "in_progress": sum(pool.in_progress for pool in seen.targets),
        "retries": seen.totals.get("retry"),
        "scheduled": seen.totals.get("schedule"),
        **{name: seen.totals.get(name) for name in ("processed", "failed", "dead")},
    }


def causes(state: State) -> Summary | None:
    """Return the causes of the dead jobs; None if none are known."""
    found = None if state.look is None else state.look.dead
    return found if found is not None and found.causes else None


def alarms(state: State) -> list[Alarm]:
    """Return what is wrong now, grave things first."""
    if state.look is None:
        return []
    seen = state.look.figures
    found = problems(seen.system, seen.served, seen.stopped, state.look.at_s)
    if seen.unready is None:
        return found
    return [Alarm("", True, seen.unready, "The process takes no jobs meanwhile; they wait in Redis."), *found]


def alarms_of_queue(state: State, queue: str) -> list[Alarm]:
    """Return why the targets of this queue get no jobs, grave things first."""
    if state.look is None:
        return []
    seen = figures(state).system
    own = tuple(pool for pool in seen.targets if queue in pool.queues)
    found = list(target_problems(attrs.evolve(seen, targets=own, queues=())))
    if queue not in servers(state):
        found.append(Alarm(queue, True, "No process serves this queue", page="processes"))
    return sorted(found, key=lambda one: not one.grave)


def servers(state: State) -> Mapping[str, Server]:
    """Return the server of each queue, by the queue's name; a queue that is not served has no entry."""
    seen = figures(state)
    found = {queue: Server() for process in seen.processes for queue in process.queues}
    for one in seen.targets:
        why = target_state(one)
        found |= dict.fromkeys(one.queues, Server(one.name, None if why in (None, "up") else state_text(str(why))))
    return found


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
