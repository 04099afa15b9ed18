"""`restbroker stats`: totals, queues, and the processes with their targets."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import typer

from restbroker.admin.connect import open_store
from restbroker.admin.overview import Figures, figures
from restbroker.cli import output
from restbroker.cli.configured import ConfigOption, JsonOption, quietly
from restbroker.rules.json_types import Json

app = typer.Typer(add_completion=False)

_LIMITS = {
    "rate": "RateLimit is reached",
    "in_flight": "MaxInFlight is reached",
    "refused": "Redis refuses to give out or to settle jobs; see the log",
    "dead": "none is taken, since the dead set is full (DeadLimit)",
}


@app.command()
def stats(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show totals, queues, and processes with their targets.

    In a pipe each line begins with what it is about: total, queue or process.
    """
    settings = quietly(config)
    with open_store(settings) as client:
        seen = figures(client, settings.queues)
    if json:
        output.as_json(seen)
    elif sys.stdout.isatty():
        _draw(seen)
    else:
        for row in (*_totals(seen), *_queues(seen), *map(_process, seen["lanes"])):
            output.row(row)


def _draw(seen: Figures) -> None:
    """For people: without the column that only programs need, and each process as lines that fit any width."""
    output.table(("TOTAL", "JOBS"), [row[1:] for row in _totals(seen)])
    output.data("")
    output.table(("QUEUE", "JOBS", "LATENCY", "STATE"), [row[1:] for row in _queues(seen)])
    for row in seen["lanes"]:
        output.data(f"\nPROCESS  {_name(row)}")
        output.table(("", ""), _facts(row))
    if not seen["lanes"]:
        output.data("\nNo restbroker runs on this Redis.")


def _totals(seen: Figures) -> list[Sequence[str]]:
    return [("total", name, str(number)) for name, number in seen["totals"].items()]


def _queues(seen: Figures) -> list[Sequence[str]]:
    return [
        ("queue", _text(row["name"]), _text(row["size"]), _latency(row["latency_s"]), _queue_state(row))
        for row in seen["queues"]
    ]


def _latency(latency_s: Json) -> str:
    return "-" if latency_s is None else f"{latency_s}s"


def _queue_state(row: Mapping[str, Json]) -> str:
    if row["size"] is None:
        return "its key is no list"
    pause = row["pause"]
    if not isinstance(pause, dict):
        return "paused" if row["paused"] else "open"
    about = _about(pause, cast("float | None", pause["left_s"]))
    return f"paused: {about}" if about else "paused"


def _facts(row: Mapping[str, Json]) -> Iterator[Sequence[str]]:
    """One target in one process."""
    yield "target", " ".join(_text(part) for part in (row["target"], row["server_version"]) if part is not None)
    yield "gate", _gate(row)
    if row["gate_reason"] is not None:
        yield "reason", _text(row["gate_reason"])
    if row["gate_cure"] is not None:
        yield "cure", _text(row["gate_cure"])
    paused = ", ".join(_pauses(row))
    if paused:
        yield "paused", paused
    if row["at_work"] is None:
        yield "in hand", f"{_text(row['in_hand'])}{_held(row)}"
    else:
        at_work = f"{_text(row['at_work'])} of {_text(row['workers'])}, {_text(row['ahead'])} ahead"
        yield "at work", f"{at_work}{_held(row)}"
    yield (
        "rate",
        f"{_text(row['rate_per_s'])} jobs/s, p50 {_text(row['p50_ms'], ' ms')}, p99 {_text(row['p99_ms'], ' ms')}",
    )
    yield "done", f"{_text(row['delivered'])}, failed {_text(row['failed'])} since its start"
    yield "beat", _text(row["beat_age_s"], " s ago")


def _pauses(row: Mapping[str, Json]) -> Iterator[str]:
    for pause in cast("Sequence[Mapping[str, Json]]", row["pauses"]):
        left_s = cast("float | None", pause["left_s"])
        left = "until resumed" if left_s is None else f"for {left_s:.0f} s more"
        by, why = _said(pause)
        yield f"{_text(pause['reason'])}{by} {left}{why}"


def _about(pause: Mapping[str, Json], left_s: float | None) -> str:
    """Who paused a queue, until when and why, as far as it is known."""
    by, why = _said(pause)
    left = "" if left_s is None else f" for {left_s:.0f} s more"
    return f"{by}{left}{why}".strip()


def _said(pause: Mapping[str, Json]) -> tuple[str, str]:
    by, why = pause["who"], pause["why"]
    return "" if by is None else f" by {_text(by)}", "" if why is None else f" ({_text(why)})"


def _held(row: Mapping[str, Json]) -> str:
    """What keeps the number of jobs at work down, if anything does."""
    limit, concurrency = row["limit"], row["concurrency"]
    found: list[str] = []
    if isinstance(limit, int) and isinstance(concurrency, int) and limit < concurrency:
        found.append(f"no more than {limit} while the server has too much to do")
    found += _limited(row)
    return "".join(f"; {one}" for one in found)


def _limited(row: Mapping[str, Json]) -> list[str]:
    return [words for reason, words in _LIMITS.items() if row["limited"] == reason]


def _name(row: Mapping[str, Json]) -> str:
    return _text(row["process"] or row["identity"])


def _process(row: Mapping[str, Json]) -> Sequence[str]:
    return (
        "process",
        _name(row),
        _text(row["target"]),
        _state(row),
        f"{_text(row['in_hand'])}/{_text(row['concurrency'])}",
        _text(row["rate_per_s"]),
        _text(row["p50_ms"], "ms"),
        _text(row["p99_ms"], "ms"),
        _text(row["delivered"]),
        _text(row["failed"]),
        _text(row["server_version"]),
        _text(row["beat_age_s"], "s ago"),
    )


def _state(row: Mapping[str, Json]) -> str:
    state = _gate(row)
    if row["dying"]:
        return state
    reasons = [] if row["gate_reason"] is None else [_text(row["gate_reason"])]
    reasons += [f"paused: {one}" for one in _pauses(row)]
    reasons += _limited(row)
    return ": ".join([state, "; ".join(reasons)]) if reasons else state


def _gate(row: Mapping[str, Json]) -> str:
    if row["dying"]:
        return "gone, its jobs go back"
    if row["finishing"] is True:
        return "finishing what it has"
    return "quiet" if row["quiet"] is True else _text(row["gate"])


def _text(value: Json, unit: str = "") -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.1f}{unit}"
        case _:
            return f"{value}{unit}"
