"""The live screen as lines of text; called by `loop` for each read, and when the terminal's size changes.

Always holds: a pure function; the result has at most as many columns and lines as requested; problems come first, and
each meaning of a colour is there as a word, too.
"""

import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType

import attrs
from rich.cells import cell_len
from rich.text import Text

from restbroker import __version__
from restbroker.cli.watch.formats import chart, number, rate
from restbroker.cli.watch.problems import LONG_WAIT_S, Problem, own_queues, problems
from restbroker.cli.watch.table import Column, Row, more, table, truncate
from restbroker.cli.watch.targets import target_rows
from restbroker.cli.watch.trend import Trend
from restbroker.config.values import duration_text
from restbroker.console.output import one_line
from restbroker.console.times import milliseconds
from restbroker.errors import RestbrokerError
from restbroker.job.json_types import Json
from restbroker.operate.overview import SystemStats

_ROOMY = 22
"""From this many lines on, there are empty ones between the parts."""
_FOR_CHARTS = 12
_LABEL = 9
_VALUE = 9
_SETS = {"retry": "retries", "schedule": "scheduled", "dead": "dead"}
_TARGETS = (
    Column("TARGET"),
    Column("STATE", leave=7),
    Column("JOBS/S", numbers=True, leave=6),
    Column("P50", numbers=True, leave=3),
    Column("P99", numbers=True, leave=4),
    Column("IN PROGRESS", numbers=True, leave=5),
    Column("PROCESSES", numbers=True, leave=1),
    Column("WHY", leave=2, stretches=True),
)
_QUEUES = (
    Column("QUEUE"),
    Column("JOBS", numbers=True, leave=3),
    Column("LATENCY", numbers=True, leave=2),
    Column("STATE", leave=1, stretches=True),
)
_BAD, _ODD, _GOOD, _OLD = "red", "yellow", "green", "dim"


@attrs.frozen
class View:
    """What the screen shows; `server` is product, version and address of Redis, `clock` the time, `every` the interval.

    `stats` is None before the first answer. With an `error` there is no answer now, and `stats` is `age_s` seconds old.
    `queues` has the queues of the configuration, `stopped_keys` what `stopped_counts` returned.
    """

    server: str
    clock: str
    every: str
    stats: SystemStats | None
    trend: Trend
    queues: Collection[str]
    error: RestbrokerError | None = None
    age_s: float = 0.0
    stopped_keys: Mapping[str, str] = MappingProxyType({})


def screen(view: View, width: int, height: int) -> list[Text]:
    """Return the lines of the screen, at most `height` of at most `width` columns."""
    gap = [Text()] if height >= _ROOMY else []
    lines = [_head(view, width)]
    seen = view.stats
    if seen is None:
        return [*lines, *gap, *_problem_lines(view, (), width, height - len(lines))][:height]
    found = problems(seen, view.queues, view.stopped_keys)
    figures = [_totals(seen, view.trend, width), _sets(seen, view.trend, width)]
    warned = [*gap, *_problem_lines(view, found, width, max(1, (height - 3) // 3))]
    charts = [*gap, *_charts(view.trend, width)] if height >= _FOR_CHARTS else []
    room = height - 3 - len(warned) - len(charts)
    lists = _lists(seen, view.queues, width, room=room, gap=gap)
    if view.error is not None:
        for line in (*figures, *charts, *lists):
            line.style = _OLD
            line.spans.clear()
    return [*lines, *figures, *warned, *charts, *lists][:height]


def _head(view: View, width: int) -> Text:
    left = one_line(f"restbroker {__version__} · {view.server}")
    for right in (f"every {view.every} · q ends · {view.clock}", f"q ends · {view.clock}", view.clock):
        room = width - cell_len(left) - cell_len(right)
        if room >= 2:
            return Text(left, "bold") + Text(" " * room + right, "not bold")
    # The time tells that the screen lives; the address can do without its end.
    room = width - cell_len(view.clock) - 2
    if room < 10:
        return Text(truncate(view.clock, width), "bold")
    return Text(f"{truncate(left, room)}  {view.clock}", "bold")


def _totals(seen: SystemStats, trend: Trend, width: int) -> Text:
    parts = []
    for name in ("processed", "failed"):
        per_s = trend.per_s.get(name)
        rated = "" if per_s is None else f" (+{rate(per_s)}/s)"
        parts.append(Text(f"{name} {number(seen['totals'][name])}{rated}"))
    in_hand = sum(value for pool in seen["targets"] if isinstance(value := pool["in_progress"], int))
    return _join_fitting([*parts, Text(f"in progress {number(in_hand)}")], width)


def _sets(seen: SystemStats, trend: Trend, width: int) -> Text:
    parts = []
    for name, word in _SETS.items():
        change = trend.changes.get(name, 0)
        told = f" ({change:+,})" if change else ""
        parts.append(
            Text(f"{word} {number(seen['totals'][name])}{told}", _ODD if name == "dead" and change > 0 else "")
        )
    return _join_fitting([*parts, Text(f"watched for {duration_text(trend.lasted_s)}")], width)


def _join_fitting(parts: Sequence[Text], width: int) -> Text:
    """Return a line of as many parts as fit, at least the first."""
    line = Text()
    for part in parts:
        longer = Text.assemble(line, " · ", part) if line.plain else Text.assemble(part)
        if longer.cell_len > width and line.plain:
            break
        line = longer
    line.truncate(width, overflow="ellipsis")
    return line


def _problem_lines(view: View, found: Sequence[Problem], width: int, room: int) -> list[Text]:
    """Return what is wrong in at most `room` lines: in full if they suffice, otherwise one line each."""
    if view.error is not None:
        old = "" if view.stats is None else f" These numbers are {duration_text(view.age_s)} old."
        found = [Problem(True, view.error.message + old, view.error.hint), *found]
    if not found:
        return [Text(truncate("Nothing is wrong." if view.stats else "Asking Redis …", width), _GOOD)]
    whole = [
        Text(truncate(line, width), _style(one))
        for one in found
        for line in textwrap.wrap(_problem_text(one), width) or [""]
    ]
    if len(whole) <= room:
        return whole
    shown = found if len(found) <= room else found[: max(room - 1, 0)]
    lines = [Text(truncate(_problem_text(one), width), _style(one)) for one in shown]
    if len(shown) < len(found):
        lines.append(more(len(found) - len(shown), width))
    return lines


def _problem_text(one: Problem) -> str:
    text = one_line(f"{'!!' if one.grave else '!'} {one.text}")
    text = text if text.endswith((".", "!", "?")) else f"{text}."
    return text if one.hint is None else f"{text} {one_line(one.hint)}"


def _style(one: Problem) -> str:
    return f"bold {_BAD}" if one.grave else _ODD


def _charts(trend: Trend, width: int) -> Iterator[Text]:
    per_s = trend.per_s.get("processed")
    yield _chart("jobs/s", "-" if per_s is None else rate(per_s), trend.throughput, say=rate, width=width)
    yield _chart("backlog", number(trend.backlog_now), trend.backlog, say=lambda most: number(int(most)), width=width)


def _chart(label: str, value: str, values: Sequence[float], say: Callable[[float], str], width: int) -> Text:
    room = width - _LABEL - _VALUE - 2
    tail = f"  at most {say(max(values)):<{_VALUE}}" if values and room >= 4 * _LABEL else ""
    line = Text(f"{label:<{_LABEL}}{value:>{_VALUE}}  ")
    line.append(chart(values, room - cell_len(tail)), "cyan")
    line.append(tail.rstrip())
    line.truncate(width)
    return line


def _lists(seen: SystemStats, wanted: Collection[str], width: int, room: int, gap: Sequence[Text]) -> list[Text]:
    """Return the lines of targets and queues: each gets what it needs, or half of the room, or what is left over."""
    targets, queues = _target_rows(seen), _queue_rows(seen, wanted)
    space = room - 2 * len(gap)
    need = [1 + len(rows) if rows else 0 for rows in (targets, queues)]
    for_targets = min(need[0], max(space // 2, space - need[1]))
    lines: list[Text] = []
    for part in (
        table(_TARGETS, targets, width, for_targets),
        table(_QUEUES, queues, width, space - for_targets),
    ):
        lines += [*(blank.copy() for blank in gap), *part] if part else []
    return lines


def _target_rows(seen: SystemStats) -> list[Row]:
    styles = {0: _BAD, 1: _ODD, 2: _ODD, 3: _ODD}
    return [
        Row(
            (
                row.name,
                row.state,
                rate(row.rate_per_s),
                milliseconds(row.p50_ms),
                milliseconds(row.p99_ms),
                number(row.in_progress),
                number(row.processes),
                row.why,
            ),
            styles.get(row.rank, ""),
        )
        for row in target_rows(seen)
    ]


def _queue_rows(seen: SystemStats, wanted: Collection[str]) -> list[Row]:
    """Return the rows of the queues, the worst first; equally bad ones by name, so that they keep their places."""
    own = own_queues(seen, wanted)
    ranked = [(_rank(queue, own), _wait(queue), str(queue["name"]), queue) for queue in seen["queues"]]
    return [_queue_row(queue, rank) for rank, _, _, queue in sorted(ranked, key=lambda one: one[:3])]


def _rank(queue: Mapping[str, Json], own: Collection[str]) -> int:
    size, latency_s = queue["size"], queue["latency_s"]
    if queue["name"] in own and size is None:
        return 0
    waits_long = isinstance(latency_s, int | float) and latency_s >= LONG_WAIT_S
    if queue["name"] in own and size and (queue["paused"] or waits_long):
        return 1
    return 2 if size else 3


def _wait(queue: Mapping[str, Json]) -> int:
    """Return a sort key for how long the next job waits, roughly, the longest first."""
    latency_s = queue["latency_s"]
    return -int(latency_s).bit_length() if isinstance(latency_s, int | float) else 0


def _queue_row(queue: Mapping[str, Json], rank: int) -> Row:
    size, latency_s = queue["size"], queue["latency_s"]
    state = "its key is not a list" if size is None else "paused" if queue["paused"] else ""
    waited = duration_text(latency_s) if size and isinstance(latency_s, int | float) else "-"
    cells = (str(queue["name"]), number(size) if isinstance(size, int) else "-", waited, state)
    return Row(cells, {0: _BAD, 1: _ODD}.get(rank, ""))
