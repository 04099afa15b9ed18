"""`restbroker stats`: totals, queues, the processes with their targets, and sources of events that are read.

Always holds: on a terminal what is wrong comes first, in the words of the pages; each target in each process has one
line of a table.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated, Final

import typer

from restbroker.config.core import Config
from restbroker.config.values import duration_text
from restbroker.console import causes, columns, output
from restbroker.console.columns import Column, cell
from restbroker.console.options import Output, command, option
from restbroker.console.times import duration, duration_s, listed, milliseconds, utc
from restbroker.errors import StoreRefused, UsageError
from restbroker.operate import words
from restbroker.operate.connect import open_store
from restbroker.operate.problems import START, Alarm, problems
from restbroker.operate.system import PoolState, Queue, Snapshot, stopped_keys, system, target_state
from restbroker.servers.findings import Finding
from restbroker.store.client import Client
from restbroker.store.sources import SourceState

app = typer.Typer(add_completion=False)

_MOST_OFTEN_S: Final = 0.2
_CAUSES: Final = 3
_CAUSES_S: Final = 0.3
_STEPS: Final = 3
_WRONG: Final = 12
EveryOption = Annotated[
    str | None, option("--every DURATION", "How often --watch refreshes: 500ms, 10s, 1m. (default: 2s)")
]


@command(app)
def stats(
    *,
    watch: Annotated[bool, option("--watch", "Refresh until Ctrl-C.")] = False,
    every: EveryOption = None,
    wrong: Annotated[bool, option("--problems", "Show only what is wrong now, and end as `check` does.")] = False,
    how: Output,
) -> None:
    """Show totals, queues, processes with their targets, and event sources.

    A terminal also shows the main causes of dead jobs and what to do next. In a pipe each line begins with its subject:
    redis, total, queue, process or source. With --watch a terminal shows one live screen, where the arrow keys and
    Enter explain a dead job; a pipe gets such lines repeatedly, with --json one line of JSON each time.
    """
    every_s = _every_s(every, watching=watch)
    if wrong:
        if watch:
            raise UsageError("--problems shows it once.", "Leave out --watch.")
        from restbroker.cli import check

        raise typer.Exit(check.report(how.config, as_json=how.json, test=lambda loaded: _wrong(loaded.config)))
    settings = how.settings("Events")
    if watch:
        from restbroker.cli import explain, live

        with open_store(settings, live.TIMEOUT_S) as client:
            live.watch(
                live.Sample(client, settings),
                every_s,
                lines=_lines,
                queue_columns=_QUEUES,
                explain=partial(explain.explain, config=how.config),
                as_json=how.json,
            )
        return
    with open_store(settings) as client:
        seen = system(client, settings.queues)
        if sys.stdout.isatty() and not how.json:
            _draw(seen, client, settings)
            return
    if how.json:
        output.as_json(seen.as_json())
    else:
        for line in _lines(seen):
            output.row(line)


def _wrong(settings: Config) -> list[Finding]:
    """Return the table of what is wrong now."""
    with open_store(settings) as client:
        seen, stopped = system(client, settings.queues), stopped_keys(client, settings.targets)
        return [alarm.finding for alarm in problems(seen, settings, stopped, time.time())]


def _every_s(given: str | None, *, watching: bool) -> float:
    if given is None:
        return 2.0
    if not watching:
        raise UsageError("--every needs --watch.", "Add --watch.")
    every_s = duration_s("--every", given)
    if every_s < _MOST_OFTEN_S:
        raise UsageError("--every takes at least 200ms.", "For example: --every 2s")
    return every_s


def _queue_state(row: Queue) -> str:
    if row.size is None:
        return "its key is not a list"
    state = "open" if row.target_state is None else f"target {words.state_text(row.target_state)}"
    state = words.pause_text(row.pause) if row.pause is not None else "paused" if row.paused else state
    waits = "" if row.expired_s is None else f"; a job waits that expired {duration_text(row.expired_s)} ago"
    return f"{state}{waits}"


def _process_state(row: PoolState) -> str:
    """Return the state of a target in a process, and why."""
    state = words.process_state(row)
    if row.dying:
        return state
    reasons = [] if row.reason is None else [row.reason]
    # The state tells its own pause.
    reasons += [words.pause_text(pause) for pause in row.pauses if pause.reason != row.state]
    reasons += [words.LIMITS[limit]] if (limit := row.limited) is not None and limit in words.LIMITS else []
    return ": ".join([state, "; ".join(reasons)]) if reasons else state


def _short_state(row: PoolState) -> str:
    """Return the state of a target in a process in one word."""
    if row.dying:
        return "gone"
    if row.finishing:
        return "finishing"
    state = words.process_state(row)
    return words.state_text(str(target_state(row))) if state == "up" else state


def _busy(row: PoolState) -> str:
    if row.busy is None:
        return f"{cell(row.in_progress)} in progress"
    ahead = row.ahead
    return f"{cell(row.busy)}/{cell(row.workers)}{f' +{ahead}' if ahead else ''}"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,}"


def _rate(row: PoolState) -> str:
    return "-" if row.rate_per_s is None else f"{row.rate_per_s:,.1f}/s"


_QUEUES: Final[Sequence[Column[Queue]]] = (
    Column("QUEUE", lambda row: cell(row.name)),
    Column("JOBS", lambda row: cell(row.size), lambda row: _count(row.size), numbers=True),
    Column("LATENCY", lambda row: cell(row.latency_s, "s"), lambda row: duration(row.latency_s), numbers=True),
    Column("STATE", _queue_state),
    Column("OUTLOOK", words.outlook_cell, words.outlook_text),
)
PROCESSES: Final[Sequence[Column[PoolState]]] = (
    Column("PROCESS", lambda row: row.name),
    Column("TARGET", lambda row: cell(row.target)),
    Column("STATE", _process_state, _short_state),
    Column("BUSY", lambda row: f"{cell(row.in_progress)}/{cell(row.concurrency)}", _busy),
    Column("RATE", lambda row: cell(row.rate_per_s), _rate, numbers=True),
    Column("", lambda row: cell(row.p50_ms, "ms")),
    Column("P99", lambda row: cell(row.p99_ms, "ms"), lambda row: milliseconds(row.p99_ms), numbers=True),
    Column("DELIVERED", lambda row: cell(row.delivered), lambda row: _count(row.delivered), numbers=True),
    Column("FAILED", lambda row: cell(row.failed), lambda row: _count(row.failed), numbers=True),
    Column("", lambda row: cell(row.server_version)),
    Column("", lambda row: cell(row.heartbeat_age_s, "s ago")),
)


def _source_state(row: SourceState) -> str:
    return f"not read ({cell(row.code)})" if row.code else cell(row.message or "read")


SOURCES: Final[Sequence[Column[SourceState]]] = (
    Column("SOURCE", lambda row: cell(row.source)),
    Column("USER", lambda row: cell(row.user)),
    Column("PROCESS", lambda row: cell(row.process)),
    Column("STATE", _source_state),
    Column("SINCE", lambda row: utc(row.since_s), lambda row: listed(row.since_s)),
    Column(
        "WHY",
        lambda row: cell(row.message if row.code else None),
        lambda row: f"{cell(row.message)} {cell(row.hint)}" if row.code else "",
    ),
)


def _lines(seen: Snapshot) -> list[Sequence[str]]:
    """Return the lines of a pipe."""
    found: list[Sequence[str]] = [
        ("redis", *map(cell, (problem.code, problem.message, problem.why, problem.hint))) for problem in seen.redis
    ]
    found += [("total", name, str(number)) for name, number in seen.totals.items()]
    found += [("queue", *columns.cells(_QUEUES, row)) for row in seen.queues]
    found += [("process", *columns.cells(PROCESSES, row)) for row in seen.targets]
    return [*found, *(("source", *columns.cells(SOURCES, row)) for row in seen.sources)]


def _draw(seen: Snapshot, client: Client, settings: Config) -> None:
    """Print the figures for people, with what to do next."""
    found = problems(seen, settings, stopped_keys(client, settings.targets), time.time())
    for alarm in found[:_WRONG]:
        columns.line(f"{alarm.gravity} {alarm.text}", columns.ALARM[alarm.grave])
    more = [f"… and {len(found) - _WRONG} more"] if len(found) > _WRONG else []
    output.data(*(more if found else [words.all_well(seen.totals["dead"])]), "")
    columns.rows(("TOTAL", "JOBS"), [(name, f"{count:,}") for name, count in seen.totals.items()])
    if seen.totals["dead"]:
        _dead_jobs(client, settings)
    output.data("")
    columns.table(_QUEUES, seen.queues)
    output.data("")
    # What needs a person first.
    rows = sorted(seen.targets, key=lambda row: row.state == "up" and not (row.dying or row.pauses))
    if rows:
        columns.table(PROCESSES, rows)
    if seen.sources:
        output.data("")
        columns.table(SOURCES, seen.sources)
    first, *others = _next_steps(seen, found)
    output.data("", f"Next: {first}", *(f"      {step}" for step in others))


def _dead_jobs(client: Client, settings: Config) -> None:
    """Print the largest causes of dead jobs, as far as they can be read in a moment."""
    from restbroker.operate.context import context_of
    from restbroker.operate.summary import Summaries

    # The figures count for a user of Redis too who may not read jobs.
    with suppress(StoreRefused):
        found = Summaries("dead", context_of(settings)).now(client, _CAUSES_S)
        if found.causes:
            first = f"; the largest {_CAUSES}:" if len(found.causes) > _CAUSES else ""
            output.data("", f"{causes.of_dead(found)}{first}")
            rows = [(cause.command or "-", cause.code or "-", f"{cause.jobs:,}", cause.group) for cause in found.causes]
            columns.rows(("COMMAND", "CODE", "JOBS", "GROUP"), rows[:_CAUSES])


def _next_steps(seen: Snapshot, found: Sequence[Alarm]) -> list[str]:
    """Return what to do now, the first thing first."""
    if all(row.dying for row in seen.targets):
        return [START]
    if steps := dict.fromkeys(f"{alarm.subject}: {alarm.hint}" for alarm in found if alarm.hint):
        return list(steps)[:_STEPS]
    if any(alarm.grave for alarm in found):
        return ["`restbroker check` says what is wrong and what to do."]
    if seen.totals["dead"]:
        return ["`restbroker dead summary` shows why jobs died and what to do."]
    return ["`restbroker stats --watch` keeps refreshing."]
