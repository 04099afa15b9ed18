"""`restbroker stats`: totals, queues, and the processes with their targets."""

from collections.abc import Mapping, Sequence
from typing import cast

import typer

from restbroker.admin.connect import open_store
from restbroker.admin.overview import figures
from restbroker.cli import output
from restbroker.cli.configured import ConfigOption, JsonOption, quietly
from restbroker.rules.json_types import Json

app = typer.Typer(add_completion=False)

_Rows = Sequence[Mapping[str, Json]]


@app.command()
def stats(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show totals, queues, and processes with their targets.

    In a pipe each line begins with what it is about: total, queue or process.
    """
    client = open_store(quietly(config))
    try:
        seen = figures(client)
    finally:
        client.close()
    if json:
        output.as_json(seen)
        return
    totals = cast("Mapping[str, Json]", seen["totals"])
    output.table(("TOTAL", "NAME", "JOBS"), [("total", name, number) for name, number in totals.items()])
    output.table(
        ("QUEUE", "NAME", "JOBS", "LATENCY", "STATE"),
        [
            ("queue", row["name"], row["size"], f"{row['latency_s']}s", "paused" if row["paused"] else "open")
            for row in cast("_Rows", seen["queues"])
        ],
    )
    header = (
        "PROCESS",
        "NAME",
        "TARGET",
        "GATE",
        "IN HAND",
        "RATE/S",
        "P50",
        "P99",
        "DONE",
        "FAILED",
        "SERVER",
        "BEAT",
    )
    output.table(header, [_process(row) for row in cast("_Rows", seen["lanes"])])


def _process(row: Mapping[str, Json]) -> Sequence[str]:
    return (
        "process",
        _text(row["process"] or row["identity"]),
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
    if row["dying"]:
        return "gone, its jobs go back"
    gate = "quiet" if row["quiet"] is True else _text(row["gate"])
    return gate if row["gate_reason"] is None else f"{gate}: {row['gate_reason']}"


def _text(value: Json, unit: str = "") -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.1f}{unit}"
        case _:
            return f"{value}{unit}"
