"""Makes the values for the templates from a `State`: rows and charts; called by `web.render`.

Always holds: pure; a field that another version of restbroker does not write is None, and the page shows a dash.
"""

from collections.abc import Mapping, Sequence
from heapq import nlargest
from math import inf
from typing import cast

import attrs

from restbroker.job.json_types import Json
from restbroker.operate.history import percentile_ms
from restbroker.operate.overview import SystemStats
from restbroker.operate.problems import Alarm, problems, queues_of, target_problems
from restbroker.operate.summary import Summary
from restbroker.operate.words import state_text, target_state
from restbroker.web.charts import Chart, Series, chart
from restbroker.web.live import State

Row = Mapping[str, Json]
MOST_ROWS = 300
"""The greatest number of rows in a table of a live page, which is sent again with each change."""


@attrs.frozen
class Server:
    """The server of a queue: a `target`, None for a Ruby process. `state`: why it gets no jobs; None: it gets them."""

    target: str | None = None
    state: str | None = None


def rows(state: State, name: str) -> Sequence[Row]:
    """Return the rows of the table `name` in the metrics; none if it is missing or no list."""
    found = state.snapshot.metrics.get(name) if state.snapshot is not None else None
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def top_rows(found: Sequence[Row], field: str) -> Sequence[Row]:
    """Return, of too many rows, those with the highest numbers in `field`, in their order.

    A row without a number there counts as the highest.
    """
    if len(found) <= MOST_ROWS:
        return found

    def weight(place: int) -> float:
        value = found[place].get(field)
        return value if isinstance(value, int | float) else inf

    return [found[place] for place in sorted(nlargest(MOST_ROWS, range(len(found)), key=weight))]


def hidden_counts(
    state: State, tables: Mapping[str, Sequence[Row]], shown: Mapping[str, Sequence[Row]]
) -> Mapping[str, int]:
    """Return how many rows of each table are not shown."""
    unread = state.snapshot.metrics.get("queues_unread") if state.snapshot is not None else None
    found = {name: len(tables[name]) - len(kept) for name, kept in shown.items()}
    return {**found, "queues": found["queues"] + (unread if isinstance(unread, int) else 0)}


def totals(state: State) -> Mapping[str, Json]:
    """Return the numbers at the top of the overview, by name."""
    figures = state.snapshot.metrics if state.snapshot is not None else {}
    waiting = [size for row in rows(state, "queues") if isinstance(size := row.get("size"), int)]
    in_hand = [number for row in rows(state, "targets") if isinstance(number := row.get("in_progress"), int)]
    return {
        "waiting": sum(waiting),
        "in_progress": sum(in_hand),
        **{name: figures.get(name) for name in ("processed", "failed", "retries", "scheduled", "dead")},
    }


def causes(state: State) -> Summary | None:
    """Return the causes of the dead jobs; None if none are known."""
    found = None if state.snapshot is None else state.snapshot.dead
    return found if found is not None and found.causes else None


def alarms(state: State) -> list[Alarm]:
    """Return what is wrong now, grave things first."""
    if state.snapshot is None:
        return []
    metrics = state.snapshot.metrics
    found = problems(
        _seen(state), cast("Mapping[str, Json]", metrics["enqueued"]), rows(state, "stopped"), state.snapshot.at_s
    )
    unready = metrics.get("unready")
    if not isinstance(unready, str):
        return found
    return [Alarm("", True, unready, "The process takes no jobs meanwhile; they wait in Redis."), *found]


def alarms_of_queue(state: State, queue: str) -> list[Alarm]:
    """Return why the targets of this queue get no jobs, grave things first."""
    if state.snapshot is None:
        return []
    seen = _seen(state)
    own = [row for row in seen["targets"] if queue in queues_of(row)]
    found = list(target_problems({**seen, "targets": own, "queues": []}))
    if queue not in servers(state):
        found.append(Alarm(queue, True, "No process serves this queue", page="processes"))
    return sorted(found, key=lambda one: not one.grave)


def _seen(state: State) -> SystemStats:
    """Return the figures that problems are found in."""
    names = ("redis", "queues", "targets", "sources")
    return cast("SystemStats", {name: rows(state, name) for name in names})


def servers(state: State) -> Mapping[str, Server]:
    """Return the server of each queue, by the queue's name; a queue that is not served has no entry."""
    found = {queue: Server() for row in rows(state, "running") for queue in queues_of(row)}
    for row in rows(state, "merged"):
        why = target_state(row)
        server = Server(str(row.get("name")), None if why in (None, "up") else state_text(str(why)))
        found |= dict.fromkeys(queues_of(row), server)
    return found


def charts(state: State) -> list[Chart]:
    """Return the charts for throughput, failures, latency and backlog."""
    minutes = () if state.snapshot is None else state.snapshot.minutes
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
