"""`restbroker migrate`: take over what the Go original, ejabberd-restbroker, left in Redis."""

import sys
from typing import Annotated, Final

import typer

from restbroker.console import columns, confirmation, output
from restbroker.console.options import DryRunOption, Output, YesOption, command, option
from restbroker.console.who import who
from restbroker.job.json_types import Json
from restbroker.operate import migrate as operate_migrate
from restbroker.operate.connect import open_store
from restbroker.operate.migrate import Parts, jobs_to_move
from restbroker.store.server import require_supported

app = typer.Typer(add_completion=False)

WATCH_S = 1.5
"""Seconds to watch for the original; longer than go-workers waits for a job (1 s), so that it is seen between waits."""
_NAMES: Final = ("source", "queue", "goes_to", "jobs")
"""The columns of the table, and the members of JSON."""


@command(app)
def migrate(
    *,
    process_id: Annotated[
        list[str] | None,
        option("--process-id TEXT", "The original's ProcessID; may be repeated. (default: all that exist)"),
    ] = None,
    force: Annotated[bool, option("--force", "Do not look whether the original still runs.")] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    how: Output,
) -> None:
    """Take over the jobs that the Go original (ejabberd-restbroker) left in Redis. Stop it first.

    Its jobs in progress return to the queue, its retries go to Sidekiq's retry set, and what is not a job becomes dead.
    In a pipe each line is: source, queue, destination, jobs.
    """
    settings = how.settings()
    with open_store(settings) as client:
        require_supported(client)
        lists, complete = operate_migrate.lists_in_progress(client, settings.queues, process_id or [])
        if not complete:
            output.say("note: Redis has too many keys to check all of them; give each --process-id of the original.")
        if not dry_run and not force:
            operate_migrate.require_stopped(client, lists, WATCH_S)
        found = operate_migrate.preview(client, settings.queues, lists)
        jobs = jobs_to_move(found)
        if jobs and not dry_run:
            if not yes and sys.stdout.isatty() and not how.json:
                _show(found)
            confirmation.confirm(f"Move {output.jobs(jobs)}?", yes=yes)
            found = operate_migrate.move(client, settings.queues, lists, who())
            jobs = jobs_to_move(found)
    if how.json:
        parts: list[Json] = [dict(zip(_NAMES, (*part, jobs), strict=True)) for part, jobs in found.items()]
        output.as_json({"dry_run": dry_run, "jobs": jobs, "parts": parts})
    else:
        _show(found)
    output.say(f"{output.jobs(jobs)} {'would be ' if dry_run else ''}moved." if jobs else "There is nothing to move.")
    if staying := ", ".join(sorted({queue or key for key, queue, goes_to in found if goes_to == "stays"})):
        output.say(f"note: jobs of queues that this configuration does not serve stay where they are: {staying}.")


def _show(found: Parts) -> None:
    rows = [(key, queue or "-", goes_to, jobs) for (key, queue, goes_to), jobs in found.items()]
    if rows:
        columns.rows([name.upper().replace("_", " ") for name in _NAMES], rows)
