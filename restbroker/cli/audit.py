"""`restbroker audit`: who did what with the jobs in this Redis, newest first. Always holds: it changes nothing."""

import sys
from collections.abc import Iterable, Iterator
from itertools import islice

import typer

from restbroker.console import output
from restbroker.console.load_config import ConfigOption, load_quietly
from restbroker.console.options import JsonOption, LimitOption
from restbroker.console.times import local, utc
from restbroker.job.json_types import Json
from restbroker.operate.audit import StoredEntry, entries
from restbroker.operate.connect import open_store

app = typer.Typer(add_completion=False)

_MOST = 100_000


@app.command()
def audit(
    limit: LimitOption = 20,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the audit log: actions on the command line and the web pages, newest first.

    Each action is shown once, by its last entry; "begun" or "going on" means that it still runs or was cut short.
    --json prints every entry. In a pipe each line is: when (UTC), who, action, place, which jobs, state, done, refused,
    gone, why.
    """
    with open_store(load_quietly(config)) as client:
        found = list(entries(client, limit) if json else islice(_latest(entries(client, _MOST)), limit))
    if json:
        output.as_json([_fields(written) for written in found])
    elif sys.stdout.isatty():
        _draw(found)
    else:
        for written in found:
            row = {**_fields(written)}
            del row["entry"], row["run"], row["jids"], row["changes"]
            output.row(value if value != "" else "-" for value in row.values())


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
    }


def _latest(entries: Iterable[StoredEntry]) -> Iterator[StoredEntry]:
    """Yield the newest entry of each action; `entries` must come newest first."""
    runs: set[str] = set()
    for written in entries:
        if written.run not in runs:
            runs.add(written.run)
            yield written


def _draw(found: Iterable[StoredEntry]) -> None:
    """Print one or two lines for each entry, for people."""
    for written in found:
        note = written.note
        counts = "  " + output.jobs(note.done) if note.counts else ""
        counts += "".join(
            f", {number} {word}" for word, number in (("refused", note.refused), ("gone", note.gone)) if number
        )
        state = "" if note.state == "done" else f"  {note.state}"
        output.data(f"{local(written.at_s)}  {note.who}  {note.action} {note.place}{state}{counts}")
        told = "  ".join(word for word in (note.where, note.why) if word)
        for line in (told, note.changes):
            if line:
                output.data(f"    {line}")
