"""Makes the values for the templates from a `State`: rows and charts; called by `web.render`.

Always holds: pure; a field that another version of restbroker does not write is None, and the page shows a dash.
"""

from collections.abc import Iterator, Mapping, Sequence
from heapq import nlargest
from math import inf
from typing import cast

import attrs

from restbroker.config.values import duration_text
from restbroker.job.json_types import Json
from restbroker.operate.history import percentile_ms
from restbroker.operate.overview import state_text, target_state
from restbroker.operate.processes import SILENT_S
from restbroker.operate.summary import Summary
from restbroker.store.pauses import OPERATOR
from restbroker.web import filters
from restbroker.web.charts import Chart, Series, chart
from restbroker.web.watch import State

Row = Mapping[str, Json]
MOST_ROWS = 300
"""The greatest number of rows in a table of a live page, which is sent again with each change."""


@attrs.frozen
class Alarm:
    """Something that is wrong, in words; `page` shows more about it, or the page of the queue `queue`.

    `is_mild`: it was done on purpose, or is not grave yet.
    """

    text: str
    hint: str | None = None
    page: str | None = None
    is_mild: bool = False
    queue: str | None = None


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
    """Return an alarm for each present problem, the worst first."""
    waiting = {str(row.get("name")): row.get("size") for row in rows(state, "queues")}
    found = [
        *_of_service(state),
        *_of_redis(state),
        *_of_targets(rows(state, "targets"), waiting),
        *_of_queues(rows(state, "queues")),
    ]
    found += [*_of_keys(state), *_of_sources(state)]
    return sorted([*found, *_of_pauses(state)], key=lambda alarm: alarm.is_mild)


def alarms_of_queue(state: State, queue: str) -> list[Alarm]:
    """Return an alarm for each reason why the targets of this queue get no jobs."""
    own = [row for row in rows(state, "targets") if queue in _texts(row, "queues")]
    merged = [row for row in rows(state, "merged") if queue in _texts(row, "queues")]
    found = [*_of_redis(state), *_of_targets(own, {}), *_of_target_pauses(merged)]
    if state.snapshot is not None and queue not in servers(state):
        found.append(Alarm("No process serves this queue.", None, "processes"))
    return sorted(found, key=lambda alarm: alarm.is_mild)


def servers(state: State) -> Mapping[str, Server]:
    """Return the server of each queue, by the queue's name; a queue that is not served has no entry."""
    found = {queue: Server() for row in rows(state, "running") for queue in _texts(row, "queues")}
    for row in rows(state, "merged"):
        why = target_state(row)
        server = Server(str(row.get("name")), None if why in (None, "up") else state_text(str(why)))
        found |= dict.fromkeys(_texts(row, "queues"), server)
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


def _of_service(state: State) -> Iterator[Alarm]:
    unready = state.snapshot.metrics.get("unready") if state.snapshot is not None else None
    if isinstance(unready, str):
        yield Alarm(unready, "The process takes no jobs meanwhile; they wait in Redis.")
    elif state.snapshot is not None and not rows(state, "processes"):
        yield Alarm("No broker is running.", "Jobs wait in their queues. Start one: restbroker run.", "processes")


def _of_redis(state: State) -> Iterator[Alarm]:
    for row in rows(state, "redis"):
        yield Alarm(str(row["message"]), f"{row['why']} {row['hint']}", is_mild=row["grave"] is not True)


def _of_targets(pools: Sequence[Row], waiting: Mapping[str, Json]) -> Iterator[Alarm]:
    seen: set[tuple[str, str]] = set()
    for pool in pools:
        target, state = str(pool.get("target")), pool.get("state")
        # A tuple: what a stranger wrote there may be no key of a set.
        if state in ("down", "denied") and (target, str(state)) not in seen:
            seen.add((target, str(state)))
            hint = pool.get("hint")
            why = pool.get("reason") or "without a reason"
            text = f"Target {target} gets no jobs{_so_far(pool, waiting)}: {why}"
            yield Alarm(text, hint if isinstance(hint, str) else None, "targets")
        age_s = pool.get("heartbeat_age_s")
        if isinstance(age_s, int | float) and age_s > SILENT_S:
            yield Alarm(f"{pool.get('process')} has sent no heartbeat for {duration_text(age_s)}.", None, "processes")


def _so_far(pool: Row, waiting: Mapping[str, Json]) -> str:
    """Return a text on how long a target has been down, and how many jobs wait for it; "" if neither is known."""
    down_for_s = pool.get("down_for_s")
    sizes = [size for queue in _texts(pool, "queues") if isinstance(size := waiting.get(queue), int)]
    told = [f"for {filters.duration(down_for_s)}"] if filters.is_number(down_for_s) and down_for_s else []
    told += [f"{filters.number(sum(sizes))} wait"] if sum(sizes) else []
    return f" ({', '.join(told)})" if told else ""


def _texts(row: Row, field: str) -> Sequence[str]:
    found = row.get(field)
    return [word for word in found if isinstance(word, str)] if isinstance(found, list | tuple) else []


def _of_queues(queues: Sequence[Row]) -> Iterator[Alarm]:
    for queue in queues:
        if queue.get("size") is None:
            yield Alarm(f"Queue {queue.get('name')} cannot be read: its key is not a list.", None, "queues")


def _of_keys(state: State) -> Iterator[Alarm]:
    """Yield an alarm for each target with keys that a death stopped."""
    now_s = 0.0 if state.snapshot is None else state.snapshot.at_s
    for row in rows(state, "stopped"):
        since_s, queue = row.get("since_s"), row.get("queue")
        ago = f", for up to {filters.duration(max(0.0, now_s - since_s))}" if filters.is_number(since_s) else ""
        text = f"Target {row.get('target')} has stopped keys ({row.get('count')}{ago}): jobs behind a dead one wait."
        hint = "`restbroker keys retry KEY` retries the dead job, `keys skip` goes on without it."
        yield Alarm(text, hint, queue=queue if isinstance(queue, str) else None)


def _of_sources(state: State) -> Iterator[Alarm]:
    """Yield an alarm for each source that cannot be read from; if several users have the same problem, one for all."""
    troubled: dict[tuple[str, str], list[Row]] = {}
    for row in rows(state, "sources"):
        if row.get("code"):
            troubled.setdefault((str(row.get("source")), str(row.get("code"))), []).append(row)
    for (source, code), those in troubled.items():
        since_s = min(one for row in those if filters.is_number(one := row.get("since_s")))
        now_s = since_s if state.snapshot is None else state.snapshot.at_s
        more = f"; the same applies to {filters.number(len(those) - 1)} more" if len(those) > 1 else ""
        text = f"Source {source}: {those[0].get('message')} ({code}, for {filters.duration(now_s - since_s)}{more})"
        yield Alarm(text, str(those[0].get("hint")), "sources")


def _of_target_pauses(targets: Sequence[Row]) -> Iterator[Alarm]:
    for target in targets:
        for pause in cast("Sequence[Mapping[str, Json]]", target.get("pauses") or ()):
            reason, state = str(pause["reason"]), target.get("state")
            if reason == OPERATOR:
                yield _of_pause(f"Target {target.get('name')} is paused.", pause, "targets")
            # Otherwise the alarm of the target says it.
            elif state not in ("down", "denied"):
                text = f"Target {target.get('name')} gets no jobs: {state_text(reason)}"
                yield Alarm(f"{text}, {filters.duration(pause.get('remaining_s'))} more.", None, "targets")


def _of_pauses(state: State) -> Iterator[Alarm]:
    yield from _of_target_pauses(rows(state, "merged"))
    for queue in rows(state, "queues"):
        if queue.get("paused") is True:
            yield _of_pause(f"Queue {queue.get('name')} is paused.", queue.get("pause"), "queues")


def _of_pause(text: str, pause: Json, page: str) -> Alarm:
    """Return the alarm for a pause, with who, why and until when, as far as that is known."""
    about = pause if isinstance(pause, Mapping) else {}
    told = filters.pause(about)
    if told and about.get("remaining_s") is None:
        told += ", until someone resumes it"
    return Alarm(text, told or None, page, is_mild=True)
