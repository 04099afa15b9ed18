"""`restbroker stats`: totals, queues, the processes with their targets, and sources of events that are read."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, cast

import typer

from restbroker.cli import target_text
from restbroker.cli.target_text import text
from restbroker.config.core import Config
from restbroker.config.values import duration_text
from restbroker.console import output, panels
from restbroker.console.load_config import ConfigOption, load_quietly
from restbroker.console.options import JsonOption
from restbroker.console.times import duration_s, local, utc
from restbroker.errors import UsageError
from restbroker.job.json_types import Json
from restbroker.operate.connect import open_store
from restbroker.operate.overview import SystemStats, blocked_queues, state_text, system_stats
from restbroker.store.client import Client

app = typer.Typer(add_completion=False)

_MOST_OFTEN_S = 0.2
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
        bool, typer.Option("--watch", help="Refresh until q or Ctrl-C.", rich_help_panel=panels.OUTPUT)
    ] = False,
    every: EveryOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show totals, queues, processes with their targets, and event sources.

    A terminal also shows the main causes of dead jobs and what to do next. In a pipe each line begins with its subject:
    redis, total, queue, process or source. With --watch a terminal shows one live screen; a pipe gets such lines
    repeatedly, with --json one line of JSON each time.
    """
    every_s = _every_s(every, watching=watch)
    settings = load_quietly(config)
    if watch:
        _watch(settings, every_s, as_json=json)
        return
    with open_store(settings) as client:
        seen = system_stats(client, settings.queues)
        if sys.stdout.isatty() and not json:
            _draw(seen, client, settings)
            return
    if json:
        output.as_json(seen)
    else:
        for row in _rows(seen):
            output.row(row)


def _watch(settings: Config, every_s: float, *, as_json: bool) -> None:
    from restbroker.cli.watch.loop import watch
    from restbroker.cli.watch.sampler import TIMEOUT_S

    with open_store(settings, TIMEOUT_S) as client:
        watch(client, settings, every_s, _rows, as_json=as_json)


def _every_s(text: str | None, *, watching: bool) -> float:
    if text is None:
        return 2.0
    if not watching:
        raise UsageError("--every needs --watch.", "Add --watch.")
    every_s = duration_s("--every", text)
    if every_s < _MOST_OFTEN_S:
        raise UsageError("--every takes at least 200ms.", "For example: --every 2s")
    return every_s


def _rows(seen: SystemStats) -> list[Sequence[str]]:
    found = [("redis", *(text(row[name]) for name in ("code", "message", "why", "hint"))) for row in seen["redis"]]
    return [*found, *_totals(seen), *_queues(seen), *map(_process, seen["targets"]), *map(_source, seen["sources"])]


def _draw(seen: SystemStats, client: Client, settings: Config) -> None:
    """Print the figures for people: without the column that only programs need, and with what to do next."""
    from restbroker.cli import stats_terminal

    for row in seen["redis"]:
        output.data(f"{row['message']} {row['why']}\n")
    output.table(("TOTAL", "JOBS"), [(name, f"{count:,}") for name, count in seen["totals"].items()])
    if seen["totals"]["dead"]:
        stats_terminal.dead_jobs(client, settings)
    output.data("")
    queues = _queues(seen, stats_terminal.latency, stats_terminal.count)
    output.table(("QUEUE", "JOBS", "LATENCY", "STATE"), [row[1:] for row in queues])
    output.data("")
    stats_terminal.processes(seen)
    has_stopped = stats_terminal.stopped_keys(client, settings)
    for row in seen["sources"]:
        output.data(f"\nSOURCE  {text(row['source'])}")
        output.table(("", ""), _attributes_of_source(row))
    steps = stats_terminal.next_steps(seen, settings.queues, has_stopped=has_stopped)
    output.data("\nNext: " + "\n      ".join(steps))


def _totals(seen: SystemStats) -> list[Sequence[str]]:
    return [("total", name, str(number)) for name, number in seen["totals"].items()]


def _latency(latency_s: Json) -> str:
    return "-" if latency_s is None else f"{latency_s}s"


def _queues(
    seen: SystemStats, latency: Callable[[Json], str] = _latency, size: Callable[[Json], str] = text
) -> list[Sequence[str]]:
    blocked = blocked_queues(seen["targets"])
    return [
        ("queue", text(row["name"]), size(row["size"]), latency(row["latency_s"]), _queue_state(row, blocked))
        for row in seen["queues"]
    ]


def _queue_state(row: Mapping[str, Json], blocked: Mapping[str, str]) -> str:
    if row["size"] is None:
        return "its key is not a list"
    pause, expired_s = row["pause"], row["expired_s"]
    about = target_text.about(pause) if isinstance(pause, dict) else ""
    why = blocked.get(str(row["name"]))
    state = "open" if why is None else f"target {state_text(why)}"
    state = "paused" if row["paused"] or isinstance(pause, dict) else state
    waits = f"; a job waits that expired {duration_text(expired_s)} ago" if isinstance(expired_s, float) else ""
    return f"{f'paused: {about}' if about else state}{waits}"


def _attributes_of_source(row: Mapping[str, Json]) -> Iterator[Sequence[str]]:
    """Yield the attributes of one source in one process, or of the stream of one user, as pairs of name and text."""
    if row["user"]:
        yield "user", text(row["user"])
    yield "process", text(row["process"])
    yield "state", f"{_source_state(row)} since {local(_since_s(row))}"
    if row["code"]:
        yield "reason", text(row["message"])
        yield "hint", text(row["hint"])


def _source(row: Mapping[str, Json]) -> Sequence[str]:
    where = (text(row["source"]), text(row["user"] or None), text(row["process"]))
    return "source", *where, _source_state(row), utc(_since_s(row)), text(row["message"] if row["code"] else None)


def _source_state(row: Mapping[str, Json]) -> str:
    return f"not read ({text(row['code'])})" if row["code"] else text(row["message"] or "read")


def _since_s(row: Mapping[str, Json]) -> float:
    return cast("float", row["since_s"])


def _process(row: Mapping[str, Json]) -> Sequence[str]:
    return (
        "process",
        target_text.name(row),
        text(row["target"]),
        _state(row),
        f"{text(row['in_progress'])}/{text(row['concurrency'])}",
        text(row["rate_per_s"]),
        text(row["p50_ms"], "ms"),
        text(row["p99_ms"], "ms"),
        text(row["delivered"]),
        text(row["failed"]),
        text(row["server_version"]),
        text(row["heartbeat_age_s"], "s ago"),
    )


def _state(row: Mapping[str, Json]) -> str:
    state = target_text.state(row)
    if row["dying"]:
        return state
    reasons = [] if row["reason"] is None else [text(row["reason"])]
    reasons += target_text.pauses(row, "paused: ")
    reasons += target_text.fetch_limits(row)
    return ": ".join([state, "; ".join(reasons)]) if reasons else state
