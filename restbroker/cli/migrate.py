"""`restbroker migrate`: take over what the Go original, ejabberd-restbroker, left in Redis."""

import sys
from typing import Annotated, get_args

import typer

from restbroker.console import confirmation, output
from restbroker.console.groups import Output, command
from restbroker.console.options import DryRunOption, YesOption, option
from restbroker.console.who import who
from restbroker.errors import RestbrokerError
from restbroker.job.json_types import Json
from restbroker.operate import migrate as operate_migrate
from restbroker.operate.connect import open_store
from restbroker.operate.migrate import Destination, Parts, Sources, jobs_to_move
from restbroker.store.client import Client
from restbroker.store.server import require_supported

app = typer.Typer(add_completion=False)

WATCH_S = 1.5
"""Seconds to watch for the original; longer than go-workers waits for a job (1 s), so that it is seen between waits."""


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
        where = operate_migrate.sources(client, settings.queues, process_id or [])
        if not where.complete:
            output.say("note: Redis has too many keys to check all of them; give each --process-id of the original.")
        if not dry_run and not force:
            _require_stopped(client, where)
        found = operate_migrate.preview(client, where)
        jobs = jobs_to_move(found)
        if jobs and not dry_run:
            if not yes and sys.stdout.isatty() and not how.json:
                _show(found, dry_run=True, as_json=False)
            confirmation.confirm(f"Move {output.jobs(jobs)}?", yes=yes)
            found = operate_migrate.move(client, where, who())
            jobs = jobs_to_move(found)
    _show(found, dry_run=dry_run, as_json=how.json)
    output.say(f"{output.jobs(jobs)} {'would be ' if dry_run else ''}moved." if jobs else "There is nothing to move.")
    if staying := ", ".join(sorted({queue or key for key, queue, goes_to in found if goes_to == "stays"})):
        output.say(f"note: jobs of queues that this configuration does not serve stay where they are: {staying}.")


def _require_stopped(client: Client, where: Sources) -> None:
    if signs := operate_migrate.signs_of_original(client, where, WATCH_S):
        raise RestbrokerError(
            f"ejabberd-restbroker seems to be running: {'; '.join(signs)}. Its jobs in progress would run twice."
            " Nothing was moved.",
            "Stop ejabberd-restbroker, then try again. If it is another program, add --force.",
        )


def _show(found: Parts, *, dry_run: bool, as_json: bool) -> None:
    order = get_args(Destination)
    rows = [(*part, jobs) for part, jobs in found.items()]
    rows.sort(key=lambda row: (order.index(row[2]), row[0], row[1] or ""))
    names = ("source", "queue", "goes_to", "jobs")
    if as_json:
        parts: list[Json] = [dict(zip(names, row, strict=True)) for row in rows]
        output.as_json({"dry_run": dry_run, "jobs": jobs_to_move(found), "parts": parts})
    elif rows:
        output.table(
            ("SOURCE", "QUEUE", "GOES TO", "JOBS"), [["-" if one is None else one for one in row] for row in rows]
        )
