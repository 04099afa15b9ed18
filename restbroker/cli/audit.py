"""`restbroker audit`: who did what with the jobs in this Redis, newest first. Always holds: it changes nothing."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import typer

from restbroker.console import columns, output
from restbroker.console.columns import Column
from restbroker.console.groups import Output, command
from restbroker.console.options import LimitOption
from restbroker.console.times import local, utc
from restbroker.job.json_types import Json
from restbroker.operate.audit import StoredEntry, entries
from restbroker.operate.connect import open_store

app = typer.Typer(add_completion=False)

_MOST = 100_000


@command(app)
def audit(*, limit: LimitOption = 20, how: Output) -> None:
    """Show the audit log: actions on the command line and the web pages, newest first.

    Each action is shown once, by its last entry; "begun" or "going on" means that it still runs or was cut short.
    --json prints every entry. In a pipe each line is: when (UTC), who, action, place, which jobs, state, done, refused,
    gone, why.
    """
    with open_store(how.settings()) as client:
        found = list(entries(client, limit) if how.json else islice(_latest(entries(client, _MOST)), limit))
    if how.json:
        output.as_json([_fields(written) for written in found])
    else:
        columns.write(_COLUMNS, found)


def _fields(written: StoredEntry) -> dict[str, Json]:
    note = written.note
    return {
        "when": utc(written.at_s),
        "who": note.who,
        "action": note.action,
        "place": note.place,
        "where": note.where,
        "state": note.state,
        "done": note.done,
        "refused": note.refused,
        "gone": note.gone,
        "why": note.why,
        "entry": written.name,
        "run": written.run,
        "jids": list(note.jids),
        "changes": note.changes,
        "left": note.left,
    }


def _latest(entries: Iterable[StoredEntry]) -> Iterator[StoredEntry]:
    """Yield the newest entry of each action; `entries` must come newest first."""
    runs: set[str] = set()
    for written in entries:
        if written.run not in runs:
            runs.add(written.run)
            yield written


def _where(written: StoredEntry) -> str:
    """Return for people which jobs were meant, and what was changed in them."""
    return "; ".join(word for word in (written.note.where, written.note.changes) if word)


_COLUMNS: Final[Sequence[Column[StoredEntry]]] = (
    Column("WHEN", lambda one: utc(one.at_s), lambda one: local(one.at_s)),
    Column("WHO", lambda one: one.note.who),
    Column("ACTION", lambda one: one.note.action),
    Column("PLACE", lambda one: one.note.place),
    Column("WHICH", lambda one: one.note.where, _where),
    Column("STATE", lambda one: one.note.state),
    Column(
        "DONE", lambda one: one.note.done, lambda one: f"{one.note.done:,}" if one.note.counts else "", numbers=True
    ),
    Column("REFUSED", lambda one: one.note.refused, lambda one: f"{one.note.refused or ''}", numbers=True),
    Column("GONE", lambda one: one.note.gone, lambda one: f"{one.note.gone or ''}", numbers=True),
    Column("WHY", lambda one: one.note.why, lambda one: one.note.why),
)
