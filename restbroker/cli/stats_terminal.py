"""Prints `restbroker stats` on a terminal: tables, notes on them, causes, and what to do next.

Imported by `cli.stats` only there, since a pipe has no use for it. Always holds: each target in each process has one
line of its table, and another one only if there is something to report.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from rich.console import Console

from restbroker.cli import target_text
from restbroker.cli.target_text import text
from restbroker.cli.watch.formats import number, rate
from restbroker.cli.watch.problems import STOPPED_HINT, problems, stopped_text
from restbroker.cli.watch.table import Column, Row, table
from restbroker.config.core import Config
from restbroker.config.values import duration_text
from restbroker.console import causes, output
from restbroker.console.times import milliseconds
from restbroker.errors import StoreRefused
from restbroker.job.json_types import Json
from restbroker.operate.overview import SystemStats, state_text, stopped_counts, target_state
from restbroker.operate.processes import SILENT_S
from restbroker.store.client import Client

if TYPE_CHECKING:
    from restbroker.operate.summary import Summary

_CAUSES: Final = 3
_CAUSES_S: Final = 0.3
_STEPS: Final = 3
_ALL: Final = 10**6
_COLUMNS: Final = (
    Column("PROCESS", whole=True),
    Column("TARGET"),
    Column("STATE", whole=True),
    Column("BUSY", whole=True, leave=8),
    Column("RATE", numbers=True, leave=6),
    Column("P99", numbers=True, leave=5),
    Column("DELIVERED", numbers=True, leave=4),
    Column("FAILED", numbers=True, leave=7),
    Column("HEARTBEAT", numbers=True, leave=3),
)


def processes(seen: SystemStats) -> None:
    """Print a line for each target in each process, and below them why some do not take jobs."""
    if not seen["targets"]:
        output.data("No restbroker runs on this Redis.")
        return
    console = Console()
    # What needs a person first.
    rows = sorted(seen["targets"], key=lambda row: row["state"] == "up" and not (row["dying"] or row["pauses"]))
    for line in table(_COLUMNS, [Row(_cells(row)) for row in rows], console.width, _ALL):
        console.print(line, no_wrap=True)
    for note in _notes(rows):
        output.data(output.one_line(note))


def stopped_keys(client: Client, settings: Config) -> bool:
    """Print a line for each target with keys that a death stopped, and tell whether there is one."""
    counts = stopped_counts(client, settings.targets)
    for target, keys in counts.items():
        output.data(output.one_line(stopped_text(target, keys)))
    return bool(counts)


def latency(latency_s: Json) -> str:
    """Return how long the next job of a queue has been waiting; `-` if that is not known."""
    return duration_text(latency_s) if isinstance(latency_s, int | float) else "-"


def count(value: Json) -> str:
    """Return a number as people read it, `1,234`; `-` if it is not known."""
    return number(value) if isinstance(value, int) else "-"


def dead_jobs(client: Client, settings: Config) -> None:
    """Print the largest causes of dead jobs, as far as they can be read in a moment."""
    from restbroker.operate.context import context_of
    from restbroker.operate.summary import Summaries

    # The figures count for a user of Redis too who may not read jobs.
    with suppress(StoreRefused):
        found = Summaries("dead", context_of(settings)).now(client, _CAUSES_S)
        if found.causes:
            _draw(found)


def next_steps(seen: SystemStats, wanted: Collection[str], *, has_stopped: bool) -> list[str]:
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


def _draw(found: "Summary") -> None:
    first = f"; the largest {_CAUSES}:" if len(found.causes) > _CAUSES else ""
    output.data(f"\n{causes.of_dead(found)}{first}")
    rows = [(one.command or "-", one.code or "-", number(one.jobs), one.group) for one in found.causes]
    output.table(("COMMAND", "CODE", "JOBS", "GROUP"), rows[:_CAUSES])


def _cells(row: Mapping[str, Json]) -> Sequence[str]:
    per_s, age_s = row["rate_per_s"], row["heartbeat_age_s"]
    return (
        target_text.name(row),
        text(row["target"]),
        _state(row),
        _busy(row),
        f"{rate(per_s)}/s" if isinstance(per_s, int | float) else "-",
        milliseconds(row["p99_ms"]),
        count(row["delivered"]),
        count(row["failed"]),
        duration_text(age_s) if isinstance(age_s, int | float) else "-",
    )


def _state(row: Mapping[str, Json]) -> str:
    """Return the state of the target in one word; the notes have the rest."""
    if row["dying"]:
        return "gone"
    if row["finishing"] is True:
        return "finishing"
    state = target_text.state(row)
    return state_text(str(target_state(row))) if state == "up" else state


def _busy(row: Mapping[str, Json]) -> str:
    if row["busy"] is None:
        return f"{text(row['in_progress'])} in progress"
    ahead = row["ahead"]
    return f"{text(row['busy'])}/{text(row['workers'])}{f' +{ahead}' if ahead else ''}"


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
