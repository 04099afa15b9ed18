"""`restbroker audit`: who did what with the jobs in this Redis, newest first. Always holds: it changes nothing."""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Annotated, Final

import attrs
import typer

from restbroker.console import columns, output
from restbroker.console.columns import Column
from restbroker.console.options import LimitOption, Output, argument, command
from restbroker.console.times import listed, utc
from restbroker.job.json_types import Json
from restbroker.operate.audit import StoredEntry, actions, entries, holds, read_terms
from restbroker.operate.connect import open_store

app = typer.Typer(add_completion=False)

_MOST = 100_000

Words = Annotated[list[str] | None, argument("[TEXT|NAME=VALUE]...", "Text to search for, or a condition: who=ann@vm.")]


@command(app)
def audit(*, words: Words = None, limit: LimitOption = 20, how: Output) -> None:
    """Show the audit log: actions on the command line and the web pages, newest first.

    All words must match: text in who, action, place, jobs or reason, or a condition on who, action, place, where, why,
    state, done, refused, gone or at, such as action=delete or 'at newer 2h'.

    Each action is shown once, by its last entry; "begun" or "going on" means that it still runs or was cut short.
    --json prints every entry. In a pipe each line is: when (UTC), who, action, place, which jobs, state, done, refused,
    gone, why.
    """
    wanted = read_terms(words or (), time.time())
    with open_store(how.settings()) as client:
        read = entries(client, _MOST)
        # Without words only so much is read as is shown.
        rows = read if how.json else actions(read) if words else _latest(read)
        found = [*islice((row for row in rows if holds(row, wanted)), limit)]
    if how.json:
        output.as_json([_fields(written) for written in found])
    else:
        columns.write(_COLUMNS, found)
        if not found:
            output.say(
                "No action matches. Text finds more than a condition: `ann` also finds who=ann@vm."
                if words
                else "No action yet."
            )


def _fields(written: StoredEntry) -> dict[str, Json]:
    return {"when": utc(written.at_s), "entry": written.name, **attrs.asdict(written.note), "run": written.run}


def _latest(entries: Iterable[StoredEntry]) -> Iterator[StoredEntry]:
    """Yield the newest entry of each action; `entries` must come newest first."""
    runs: set[str] = set()
    for written in entries:
        if written.run not in runs:
            runs.add(written.run)
            yield written


def _which(written: StoredEntry) -> str:
    """Return for people which jobs were meant, what was changed in them, and why."""
    note = written.note
    return "; ".join(word for word in (note.where, note.changes, note.why and f'"{note.why}"') if word)


def _state(written: StoredEntry) -> str:
    """Return the state for people, with the counts of jobs."""
    note = written.note
    counts = {"done": note.done if note.counts else 0, "refused": note.refused, "gone": note.gone}
    return ", ".join([note.state, *(f"{jobs:,} {what}" for what, jobs in counts.items() if jobs)])


_COLUMNS: Final[Sequence[Column[StoredEntry]]] = (
    Column("WHEN", lambda one: utc(one.at_s), lambda one: listed(one.at_s)),
    Column("WHO", lambda one: one.note.who),
    Column("ACTION", lambda one: one.note.action, lambda one: f"{one.note.action} {one.note.place}"),
    Column("", lambda one: one.note.place),
    Column("WHICH, WHY", lambda one: one.note.where, _which, least=24),
    Column("STATE", lambda one: one.note.state, _state),
    Column("", lambda one: one.note.done),
    Column("", lambda one: one.note.refused),
    Column("", lambda one: one.note.gone),
    Column("", lambda one: one.note.why),
)
