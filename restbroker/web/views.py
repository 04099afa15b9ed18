"""Makes the values for the templates from a `LiveState`: rows and charts; called by `web.render`.

Always holds: pure; a field that another version of restbroker does not write is None, and the page shows a dash.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from heapq import nlargest
from math import inf

import attrs

from restbroker.light import frozen
from restbroker.operate.events import source_rows
from restbroker.operate.history import ALL, MINUTE_S, Seen, incidents, slowest, values, window
from restbroker.operate.problems import Alarm, problems, stopped_problem, target_problems
from restbroker.operate.summary import Summary
from restbroker.operate.system import Queue
from restbroker.operate.words import state_text
from restbroker.telemetry.metrics import Samples
from restbroker.web.charts import Chart, Mark, Scale, Series, chart, clock
from restbroker.web.live import LiveState

MOST_ROWS = 300
"""The greatest number of rows in a table of a live page, which is sent again with each change."""


def tables(state: LiveState, word: str = "") -> tuple[Mapping[str, Sequence[object]], Mapping[str, int]]:
    """Return the rows of each table of a live page, and how many of them are not shown.

    With a `word`, in small letters, only rows that contain it are meant. Of too many rows those are shown, in their
    order, that have the highest numbers in a field, or none there.
    """
    found, seen, dead = state.figures, state.figures.system, causes(state)
    rows: Mapping[str, tuple[Sequence[object], str]] = {
        "targets": (found.targets, "in_progress"),
        "worker_pools": (seen.targets, "in_progress"),
        "queues": (seen.queues, "size"),
        "processes": (found.processes, "in_progress"),
        "sources": (source_rows(seen.sources, found.config.events, dead.causes if dead else ()), "code"),
    }
    if word:
        rows = {name: ([row for row in each if _has(row, word)], field) for name, (each, field) in rows.items()}
    shown = {name: _top_rows(each, field) for name, (each, field) in rows.items()}
    hidden = {name: len(each) - len(shown[name]) for name, (each, _) in rows.items()}
    return shown, {**hidden, "queues": hidden["queues"] + seen.unread}


def _has(row: object, word: str) -> bool:
    fields = (getattr(row, field.name) for field in attrs.fields(type(row)))  # type: ignore[arg-type]  # of attrs are all
    texts = (text for value in fields for text in (value if isinstance(value, tuple) else (value,)))
    return any(word in text.casefold() for text in texts if isinstance(text, str))


def _top_rows(found: Sequence[object], field: str) -> Sequence[object]:
    def weight(place: int) -> float:
        value = getattr(found[place], field)
        return value if isinstance(value, int | float) else inf

    if len(found) <= MOST_ROWS:
        return found
    return [found[place] for place in sorted(nlargest(MOST_ROWS, range(len(found)), key=weight))]


def totals(state: LiveState) -> Mapping[str, int | None]:
    """Return the numbers at the top of the overview, by name."""
    seen = state.figures.system
    return {
        "waiting": seen.waiting,
        "in_progress": seen.in_progress,
        "retries": seen.totals.get("retry"),
        "scheduled": seen.totals.get("schedule"),
        **{name: seen.totals.get(name) for name in ("processed", "failed", "dead")},
    }


_BRIEFLY = 3


def heads(state: LiveState) -> Mapping[str, object]:
    """Return the few queues and targets that the top of the overview names, and the queue that speaks for all."""
    queues, targets = state.figures.system.queues, state.figures.targets
    return {
        "slowest": last_to_empty(queues),
        "fullest": nlargest(_BRIEFLY, queues, key=lambda one: one.size or 0),
        "fastest": nlargest(_BRIEFLY, targets, key=lambda one: one.rate_per_s),
    }


def last_to_empty(queues: Iterable[Queue]) -> Queue | None:
    """Return the queue that speaks for all: the one that grows fastest, else the one that takes longest to empty.

    Before them speaks one that a red line names: what waits there is done last. One that is paused, or that nobody
    takes, speaks only where none moves, and then the longest. None: there are no queues.
    """
    return max(queues, key=_weight, default=None)


def _weight(queue: Queue) -> tuple[int, float]:
    match queue.outlook:
        case "draining":
            return 3, queue.empty_in_s or 0.0
        case "growing":
            return 4, queue.change_per_s or 0.0
        case "stopped" | "blocked" if queue.size:
            return 5, queue.size
        case "paused" | "stopped" | "blocked" | "unserved":
            return 1, queue.size or 0
        case _:
            return (0 if queue.outlook == "empty" else 2), queue.size or 0


def causes(state: LiveState) -> Summary | None:
    """Return the causes of the dead jobs; None if none are known."""
    found = None if state.look is None else state.look.dead
    return found if found is not None and found.causes else None


def alarms(state: LiveState, page: str) -> list[Alarm]:
    """Return what is wrong now, grave things first; of others, only the overview has those that another page shows."""
    if state.look is None:
        return []
    seen = state.look.figures
    if page.startswith("target/"):  # which alone is in `state`
        found = [stopped_problem(keys, state.look.at_s) for keys in seen.stopped if page == f"target/{keys.target}"]
        return sorted((*found, *target_problems(seen.system)), key=lambda one: not one.grave)
    found = problems(seen.system, seen.config, seen.stopped, state.look.at_s)
    if page != "overview":
        found = [alarm for alarm in found if alarm.grave or alarm.page in (None, page)]
    if seen.starts:
        return [alarm for alarm in found if alarm.code != "NotRunning"]
    if seen.unready is None:
        return found
    return [Alarm("NotReady", "", True, seen.unready, "It takes no jobs meanwhile; they wait in Redis."), *found]


def samples(state: LiveState) -> Samples:
    """Return the table of what is wrong and the state of the sources, as the last look at Redis found them."""
    if state.look is None or state.error is not None:
        return {}
    # Those that fail are first, and count.
    rows = reversed(source_rows(state.figures.system.sources, state.figures.config.events))
    return {
        "restbroker_problems": Counter((alarm.code,) for alarm in alarms(state, "overview")),
        "restbroker_source_up": {(row.source,): float(bool(row.process and not row.code)) for row in rows},
    }


def alarms_of_queue(state: LiveState, queue: str) -> list[Alarm]:
    """Return what is wrong with this queue, beside what its page shows, and with the targets that serve it."""
    pools = [pool for pool in state.figures.system.targets if queue in pool.queues]
    about = {"Redis", queue, *(name for pool in pools for name in (pool.target, pool.name))}
    found = [row for row in alarms(state, "overview") if row.subject in about]
    if not pools and not any(queue in process.queues for process in state.figures.processes):
        found.append(Alarm("QueueUnserved", queue, False, "No process serves this queue", page="processes"))
    return [row for row in found if row.code not in ("QueuePaused", "OrderStopped")]


RECENT = 5
"""So many minutes are "now" for what fails."""


def answers(state: LiveState) -> Mapping[str, float | str | None]:
    """Return how many tries failed in the last minutes and since when some do, and how fast it goes."""
    figures, seen = state.figures, {} if state.look is None else state.look.seen
    times = window(0 if state.look is None else state.look.at_s)
    live = figures.system.totals
    before = next((seen[at_s].numbers.get(ALL, {}) for at_s in times[-RECENT - 1 :] if at_s in seen), {})
    failing = [at_s for at_s, count in zip(times, values(seen, ALL, "failed", times), strict=True) if count]
    since_s = failing[-1] if failing else 0
    for at_s in reversed(failing):
        since_s = at_s if since_s - at_s <= RECENT * MINUTE_S else since_s
    return {
        **{name: max(0, live.get(name, 0) - (before.get(name) or 0)) for name in ("failed", "processed") if before},
        "since": clock(since_s) if failing and since_s > times[RECENT] else None,
        "last": clock(failing[-1]) if failing else None,
        "known_since": clock(min(seen)) if seen else None,
        "rate_per_s": sum(target.rate_per_s for target in figures.targets),
        **slowest(figures.targets),
    }


@frozen
class Board:
    """Charts over one time scale, and what happened meanwhile (`marks`, the latest first)."""

    scale: Scale
    charts: Sequence[Chart]
    marks: Sequence[Mark]


_CHARTS: Mapping[str, str] = {"Backlog": "jobs", "Failed": "a minute", "Processed": "a minute", "Latency": "ms"}
"""The title of each chart → its unit."""
_LINES: Sequence[tuple[str, str, str, str]] = (
    ("Backlog", "waiting", "one", "waiting"),
    ("Backlog", "retry", "two", "retry"),
    ("Backlog", "in progress", "three", "in_progress"),
    ("Failed", "tries", "bad", "failed"),
    ("Processed", "tries", "ok", "processed"),
    ("Latency", "p50", "one", "p50_ms"),
    ("Latency", "p95", "two", "p95_ms"),
    ("Latency", "p99", "three", "p99_ms"),
)
"""For each line: its chart, its name, its tone and its number (`history.Seen`)."""
_SPANS = (30, 60)
"""The minutes that charts show as long as no more are known: else the first ones would be a sliver."""
_TONES: Mapping[str, str] = {"start": "one", "paused": "warn", "retry_after": "warn"}


def board(state: LiveState, target: str = ALL) -> Board:
    """Return the charts of all targets together, or those of one, which alone is in `state`."""
    seen = {} if state.look is None else state.look.seen
    # The minute that has just begun would always look like a collapse.
    times = window(0 if state.look is None else state.look.at_s)[1:-1]
    known = (times[-1] - min(seen, default=0)) // MINUTE_S
    times = times[-next((count for count in _SPANS if known <= count), len(times)) :]
    scale = Scale(times[0], len(times))
    own = {target, *(f"queue {queue}" for known in state.figures.targets for queue in known.queues)}
    charts = [
        chart(title, unit, [_series(seen, target, times, line) for line in _LINES if line[0] == title], scale)
        for title, unit in _CHARTS.items()
        if target == ALL or title != "Backlog"
    ]
    happened = [event for event in incidents(seen) if target == ALL or event[0] in own or event[1] == "start"]
    return Board(scale, charts, [_mark(scale, *event) for event in happened])


def _series(seen: Mapping[int, Seen], target: str, times: Sequence[int], line: tuple[str, str, str, str]) -> Series:
    _, name, tone, number = line
    return Series(name, tone, values(seen, target, number, times))


def _mark(scale: Scale, subject: str, state: str, first_s: int, end_s: int | None) -> Mark:
    since, tone = clock(first_s), _TONES.get(state, "bad")
    if state == "start":
        return scale.mark(tone, f"{subject} started at {since}", first_s, first_s)
    time = f"since {since}" if end_s is None else f"from {since} to {clock(end_s)}"
    return scale.mark(tone, f"{subject} {state_text(state)} {time}", first_s, end_s)
