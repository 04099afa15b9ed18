"""`restbroker stats`: totals, queues, the processes with their targets, and sources of events that are read.

Always holds: on a terminal each target in each process has one line of a table, and another one only if there is
something to report.
"""

import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated, Final, TypeAlias, cast

import typer

from restbroker.cli import target_text
from restbroker.cli.problems import STOPPED_HINT, problems, stopped_text
from restbroker.cli.target_text import text
from restbroker.config.core import Config
from restbroker.config.values import duration_text
from restbroker.console import causes, columns, output, panels
from restbroker.console.columns import Column
from restbroker.console.load_config import ConfigOption, load_quietly
from restbroker.console.options import JsonOption
from restbroker.console.times import duration_s, local, milliseconds, utc
from restbroker.errors import StoreRefused, UsageError
from restbroker.job.json_types import Json
from restbroker.operate.connect import open_store
from restbroker.operate.overview import (
    SystemStats,
    blocked_queues,
    state_text,
    stopped_counts,
    system_stats,
    target_state,
)
from restbroker.operate.processes import SILENT_S
from restbroker.store.client import Client

app = typer.Typer(add_completion=False)

Row: TypeAlias = Mapping[str, Json]
_MOST_OFTEN_S: Final = 0.2
_CAUSES: Final = 3
_CAUSES_S: Final = 0.3
_STEPS: Final = 3
EveryOption = Annotated[
    str | None,
    typer.Option(
        "--every",
        metavar="DURATION",
        help="How often --watch refreshes: 500ms, 10s, 1m. [default: 2s]",
        rich_help_panel=panels.OUTPUT,
    ),
]


@app.command()
def stats(
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh until Ctrl-C.", rich_help_panel=panels.OUTPUT)
    ] = False,
    every: EveryOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show totals, queues, processes with their targets, and event sources.

    A terminal also shows the main causes of dead jobs and what to do next. In a pipe each line begins with its subject:
    redis, total, queue, process or source. With --watch a terminal shows one live screen, where the arrow keys and
    Enter explain a dead job; a pipe gets such lines repeatedly, with --json one line of JSON each time.
    """
    every_s = _every_s(every, watching=watch)
    settings = load_quietly(config)
    if watch:
        from restbroker.cli import explain, live

        with open_store(settings, live.TIMEOUT_S) as client:
            live.watch(
                live.Sample(client, settings), every_s, _lines, partial(explain.explain, config=config), as_json=json
            )
        return
    with open_store(settings) as client:
        seen = system_stats(client, settings.queues)
        if sys.stdout.isatty() and not json:
            _draw(seen, client, settings)
            return
    if json:
        output.as_json(seen)
    else:
        for line in _lines(seen):
            output.row(line)


def _every_s(given: str | None, *, watching: bool) -> float:
    if given is None:
        return 2.0
    if not watching:
        raise UsageError("--every needs --watch.", "Add --watch.")
    every_s = duration_s("--every", given)
    if every_s < _MOST_OFTEN_S:
        raise UsageError("--every takes at least 200ms.", "For example: --every 2s")
    return every_s


def queue_columns(seen: SystemStats) -> Sequence[Column[Row]]:
    """Return the columns of `seen["queues"]`."""
    blocked = blocked_queues(seen["targets"])
    return (
        Column("QUEUE", lambda row: text(row["name"])),
        Column("JOBS", lambda row: text(row["size"]), lambda row: _count(row["size"]), numbers=True),
        Column("LATENCY", _latency, lambda row: _duration(row["latency_s"]), numbers=True),
        Column("STATE", lambda row: _queue_state(row, blocked)),
    )


def _latency(row: Row) -> str:
    return "-" if row["latency_s"] is None else f"{row['latency_s']}s"


def _queue_state(row: Row, blocked: Mapping[str, str]) -> str:
    if row["size"] is None:
        return "its key is not a list"
    pause, expired_s = row["pause"], row["expired_s"]
    about = target_text.about(pause) if isinstance(pause, dict) else ""
    why = blocked.get(str(row["name"]))
    state = "open" if why is None else f"target {state_text(why)}"
    state = "paused" if row["paused"] or isinstance(pause, dict) else state
    waits = f"; a job waits that expired {duration_text(expired_s)} ago" if isinstance(expired_s, float) else ""
    return f"{f'paused: {about}' if about else state}{waits}"


def _process_state(row: Row) -> str:
    """Return the state of a target in a process, and why."""
    state = target_text.state(row)
    if row["dying"]:
        return state
    reasons = [] if row["reason"] is None else [text(row["reason"])]
    reasons += target_text.pauses(row, "paused: ")
    reasons += target_text.fetch_limits(row)
    return ": ".join([state, "; ".join(reasons)]) if reasons else state


def _short_state(row: Row) -> str:
    """Return the state of a target in a process in one word; the notes have the rest."""
    if row["dying"]:
        return "gone"
    if row["finishing"] is True:
        return "finishing"
    state = target_text.state(row)
    return state_text(str(target_state(row))) if state == "up" else state


def _busy(row: Row) -> str:
    if row["busy"] is None:
        return f"{text(row['in_progress'])} in progress"
    ahead = row["ahead"]
    return f"{text(row['busy'])}/{text(row['workers'])}{f' +{ahead}' if ahead else ''}"


def _count(value: Json) -> str:
    return f"{value:,}" if isinstance(value, int) else "-"


def _duration(value: Json) -> str:
    return duration_text(value) if isinstance(value, int | float) else "-"


def _rate(row: Row) -> str:
    per_s = row["rate_per_s"]
    return f"{per_s:,.1f}/s" if isinstance(per_s, int | float) else "-"


PROCESSES: Final[Sequence[Column[Row]]] = (
    Column("PROCESS", target_text.name),
    Column("TARGET", lambda row: text(row["target"])),
    Column("STATE", _process_state, _short_state),
    Column("BUSY", lambda row: f"{text(row['in_progress'])}/{text(row['concurrency'])}", _busy),
    Column("RATE", lambda row: text(row["rate_per_s"]), _rate, numbers=True),
    Column("", lambda row: text(row["p50_ms"], "ms")),
    Column("P99", lambda row: text(row["p99_ms"], "ms"), lambda row: milliseconds(row["p99_ms"]), numbers=True),
    Column("DELIVERED", lambda row: text(row["delivered"]), lambda row: _count(row["delivered"]), numbers=True),
    Column("FAILED", lambda row: text(row["failed"]), lambda row: _count(row["failed"]), numbers=True),
    Column("", lambda row: text(row["server_version"])),
    Column(
        "HEARTBEAT",
        lambda row: text(row["heartbeat_age_s"], "s ago"),
        lambda row: _duration(row["heartbeat_age_s"]),
        numbers=True,
    ),
)


def _source_state(row: Row) -> str:
    return f"not read ({text(row['code'])})" if row["code"] else text(row["message"] or "read")


def _since_s(row: Row) -> float:
    return cast("float", row["since_s"])


SOURCES: Final[Sequence[Column[Row]]] = (
    Column("SOURCE", lambda row: text(row["source"])),
    Column("USER", lambda row: text(row["user"] or None)),
    Column("PROCESS", lambda row: text(row["process"])),
    Column("STATE", _source_state),
    Column("SINCE", lambda row: utc(_since_s(row)), lambda row: local(_since_s(row))),
    Column(
        "WHY",
        lambda row: text(row["message"] if row["code"] else None),
        lambda row: f"{text(row['message'])} {text(row['hint'])}" if row["code"] else "",
    ),
)


def _lines(seen: SystemStats) -> list[Sequence[str]]:
    """Return the lines of a pipe."""
    found: list[Sequence[str]] = [
        ("redis", *(text(row[name]) for name in ("code", "message", "why", "hint"))) for row in seen["redis"]
    ]
    found += [("total", name, str(number)) for name, number in seen["totals"].items()]
    queues = queue_columns(seen)
    found += [("queue", *columns.cells(queues, row)) for row in seen["queues"]]
    found += [("process", *columns.cells(PROCESSES, row)) for row in seen["targets"]]
    return [*found, *(("source", *columns.cells(SOURCES, row)) for row in seen["sources"])]


def _draw(seen: SystemStats, client: Client, settings: Config) -> None:
    """Print the figures for people, with what to do next."""
    for row in seen["redis"]:
        output.data(f"{row['message']} {row['why']}\n")
    output.table(("TOTAL", "JOBS"), [(name, f"{count:,}") for name, count in seen["totals"].items()])
    if seen["totals"]["dead"]:
        _dead_jobs(client, settings)
    output.data("")
    columns.table(queue_columns(seen), seen["queues"])
    output.data("")
    # What needs a person first.
    rows = sorted(seen["targets"], key=lambda row: row["state"] == "up" and not (row["dying"] or row["pauses"]))
    if rows:
        columns.table(PROCESSES, rows)
    else:
        output.data("No restbroker runs on this Redis.")
    for note in _notes(rows):
        output.data(output.one_line(note))
    stopped = stopped_counts(client, settings.targets)
    for target, keys in stopped.items():
        output.data(output.one_line(stopped_text(target, keys)))
    if seen["sources"]:
        output.data("")
        columns.table(SOURCES, seen["sources"])
    output.data("\nNext: " + "\n      ".join(_next_steps(seen, settings.queues, has_stopped=bool(stopped))))


def _dead_jobs(client: Client, settings: Config) -> None:
    """Print the largest causes of dead jobs, as far as they can be read in a moment."""
    from restbroker.operate.context import context_of
    from restbroker.operate.summary import Summaries

    # The figures count for a user of Redis too who may not read jobs.
    with suppress(StoreRefused):
        found = Summaries("dead", context_of(settings)).now(client, _CAUSES_S)
        if found.causes:
            first = f"; the largest {_CAUSES}:" if len(found.causes) > _CAUSES else ""
            output.data(f"\n{causes.of_dead(found)}{first}")
            rows = [(one.command or "-", one.code or "-", f"{one.jobs:,}", one.group) for one in found.causes]
            output.table(("COMMAND", "CODE", "JOBS", "GROUP"), rows[:_CAUSES])


def _next_steps(seen: SystemStats, wanted: Collection[str], *, has_stopped: bool) -> list[str]:
    """Return what to do now, the first thing first; `wanted` are the queues of the configuration.

    `has_stopped`: a death stopped keys.
    """
    if all(row["dying"] for row in seen["targets"]):
        return ["`restbroker run` starts one."]
    unfit = [row for row in seen["targets"] if not row["dying"] and row["state"] not in (None, "up")]
    hints: list[tuple[Json, Json]] = [("Redis", row["hint"]) for row in seen["redis"] if row["grave"]]
    hints += [(row["target"], row["hint"]) for row in unfit]
    hints += [(row["source"], row["hint"]) for row in seen["sources"] if row["code"]]
    hints += [("Redis", row["hint"]) for row in seen["redis"]]
    if steps := dict.fromkeys(output.one_line(f"{text(name)}: {text(hint)}") for name, hint in hints if hint):
        return list(steps)[:_STEPS]
    if any(one.grave for one in problems(seen, wanted)):
        return ["`restbroker check` says what is wrong and what to do."]
    if has_stopped:
        return [STOPPED_HINT]
    if seen["totals"]["dead"]:
        return ["`restbroker dead summary` shows why jobs died and what to do."]
    return ["`restbroker stats --watch` keeps refreshing."]


def _notes(rows: Sequence[Mapping[str, Json]]) -> Iterator[str]:
    """Yield why targets get no jobs or fewer, with one line for what several processes say."""
    of_target = Counter(row["target"] for row in rows)
    said = Counter((row["target"], line) for row in rows for line in dict.fromkeys(_pause_texts(row)))
    for (target, line), times in said.items():
        part = "" if times == of_target[target] else f" in {times} of {of_target[target]} processes"
        yield f"{text(target)}{part}: {line}"


def _pause_texts(row: Mapping[str, Json]) -> Iterator[str]:
    if row["dying"] or row["finishing"] is True:
        yield target_text.state(row)
    elif isinstance(age_s := row["heartbeat_age_s"], int | float) and age_s >= SILENT_S:
        yield f"no heartbeat for {duration_text(age_s)}"
    if row["reason"] is not None:
        yield f"{target_text.state(row)}: {text(row['reason'])}"
    yield from target_text.pauses(row, "paused ")
    yield from target_text.concurrency_limits(row)
