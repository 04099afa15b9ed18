"""`restbroker find`: jobs in all places that contain a text or match conditions.

Always holds: it changes nothing, finds nothing by hidden values, and says where it did not search.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, TypeAlias

import typer

from restbroker.cli import entries
from restbroker.console import columns, output
from restbroker.console.columns import Column
from restbroker.console.exits import Exit
from restbroker.console.options import JobsOption, LimitOption, Output, SecondsOption, argument, command
from restbroker.console.progress import progress
from restbroker.console.times import listed, utc
from restbroker.job.json_types import Json
from restbroker.operate.connect import open_store
from restbroker.operate.context import context_of
from restbroker.operate.find import SearchLimits
from restbroker.operate.search import SearchResult, search
from restbroker.operate.walk import FoundEnd
from restbroker.operate.where import parse_search

app = typer.Typer(add_completion=False)

_Row: TypeAlias = tuple[str, str | None, float, str | None, str | None, str | None, str | None, str]


@command(app)
def find(
    *,
    words: Annotated[
        list[str], argument("TEXT|NAME=VALUE...", "Text to search for, or a condition as --where takes it: user=bob.")
    ],
    limit: LimitOption = 20,
    jobs: JobsOption = 10_000,
    seconds: SecondsOption = 10,
    how: Output,
) -> None:
    """Find jobs by text or argument: in sets, in queues, in progress, and among finished jobs.

    All words must match. Text is searched for in job ids, commands, values of arguments and reasons of failure,
    ignoring case. Quote text that contains an operator. It does not find hidden values. If it finds nothing, it also
    searches queues that are missing from Sidekiq's list of queues. If it still finds nothing, it exits with 1. In a
    pipe each line is: kind of place, its name, when (UTC; died, due, pushed or ended), job id, queue, target, command,
    arguments or how it ended.
    """
    settings = how.settings()
    knows = context_of(settings)
    wanted = parse_search(words, time.time(), hidden=knows.hidden)
    bounds = SearchLimits(seconds=seconds, jobs=jobs, ends=max(jobs, 1_000_000), hits=limit)
    with open_store(settings) as client, progress(client):
        found = search(client, wanted, knows, bounds)
    if how.json:
        output.as_json(_as_json(found))
    else:
        columns.write(_COLUMNS, [*_rows(found)], whole=False)
    _print_summary(found)
    if not (found.hits or found.ends):
        raise typer.Exit(Exit.FAILED)


def _print_summary(found: SearchResult) -> None:
    places = "1 place" if len(found.looked_at) == 1 else f"{len(found.looked_at):,} places"
    looked_at = f"{output.jobs(sum(found.looked_at.values()))} in {places}"
    output.say(f"{output.jobs(found.jobs)} found. Looked at {looked_at}.")
    if found.looked_at.get("finished jobs"):
        output.say(f"note: of finished jobs only id, command and code are kept, {found.kept}.")
    for refused in found.refused:
        output.say(f"note: {refused}")
    for where in found.unseen:
        output.say(f"note: not searched: {where}.")
    if found.unseen:
        output.say("--jobs, --seconds and --limit extend the search.")


def _rows(found: SearchResult) -> Iterator[_Row]:
    """Yield for each result its place, its name, when, id, queue, target, command, and the rest in words."""
    for hit in found.hits:
        one = hit.entry
        yield hit.kind, hit.name, one.at_s, one.jid, one.queue, one.target, one.command, entries.text(one.arguments)
    for end in found.ends:
        done = end.ending
        yield "ended", None, end.at_s, done.jid, None, done.target, done.command, _end_text(end)


def _end_text(end: FoundEnd) -> str:
    one = end.ending
    return " ".join(
        word for word in (one.outcome, one.code, one.arguments and entries.text(dict(one.arguments))) if word
    )


def _as_json(found: SearchResult) -> dict[str, Json]:
    hits: list[Json] = [
        {"kind": hit.kind, "name": hit.name, "number": hit.ahead, "job": entries.fields(hit.entry)}
        for hit in found.hits
    ]
    ends: list[Json] = [entries.of_end(end) for end in found.ends]
    return {
        "found": hits,
        "ended": ends,
        "looked_at": dict(found.looked_at),
        "unseen": list(found.unseen),
        "refused": list(found.refused),
    }


_COLUMNS: Final[Sequence[Column[_Row]]] = (
    Column("PLACE", lambda row: row[0], lambda row: f"{row[0]} {row[1]}" if row[0] == "in progress" else row[0]),
    Column("", lambda row: row[1]),
    # A job that waits may not say when it was pushed.
    Column("WHEN", lambda row: utc(row[2]) if row[2] else None, lambda row: listed(row[2]) if row[2] else "-"),
    Column("JOB", lambda row: row[3]),
    Column("", lambda row: row[4]),
    Column("", lambda row: row[5]),
    Column("COMMAND", lambda row: row[6]),
    Column("ARGUMENTS", lambda row: row[7]),
)
