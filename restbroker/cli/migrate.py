"""`restbroker migrate`: take over what the Go original, ejabberd-restbroker, left in Redis."""

import sys
from typing import Annotated

import attrs
import typer

from restbroker.console import output, panels
from restbroker.console.exits import Exit
from restbroker.console.load_config import ConfigOption, load_quietly
from restbroker.console.options import DryRunOption, JsonOption, YesOption
from restbroker.console.who import who
from restbroker.errors import RestbrokerError, UsageError
from restbroker.job.json_types import Json
from restbroker.operate import migrate as operate_migrate
from restbroker.operate.connect import open_store
from restbroker.operate.migrate import OriginalSigns, Sources, Takeover
from restbroker.store.client import Client
from restbroker.store.server import require_supported

app = typer.Typer(add_completion=False)

WATCH_S = 1.5
"""Seconds to watch for the original; longer than go-workers waits for a job (1 s), so that it is seen between waits."""
_HEADER = ("SOURCE", "QUEUE", "GOES TO", "JOBS", "REPAIRED", "UNREADABLE")
ProcessIdOption = Annotated[
    list[str] | None,
    typer.Option("--process-id", help="The original's ProcessID; may be repeated. [default: all that exist]"),
]


@app.command()
def migrate(
    process_id: ProcessIdOption = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Move even if the original may still be running.", rich_help_panel=panels.SAFETY),
    ] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Take over the jobs that the Go original (ejabberd-restbroker) left in Redis. Stop it first.

    Its jobs in progress return to the queue, its retries go to Sidekiq's retry set. In a pipe each line is: source,
    queue, destination, jobs, how many need repair, how many are not jobs and become dead.
    """
    settings = load_quietly(config)
    with open_store(settings) as client:
        require_supported(client)
        where = operate_migrate.sources(client, settings.queues, process_id or [])
        _print_unclear(where)
        _require_stopped(operate_migrate.watch(client, where, WATCH_S), only_warn=dry_run or force)
        seen = operate_migrate.preview(client, where)
        if dry_run or not seen.jobs_to_move:
            _show(seen, dry_run=dry_run, as_json=json)
            output.say(
                f"{output.jobs(seen.jobs_to_move)} would be moved."
                if seen.jobs_to_move
                else "There is nothing to move."
            )
            _print_unmoved(seen)
            return
        if not yes:
            _ask(seen, as_json=json)
        moved = _move(client, where)
    _show(moved, dry_run=False, as_json=json)
    _conclude(moved)


def _print_unclear(where: Sources) -> None:
    for key in where.ambiguous:
        output.say(f"note: {key} is left alone: it may belong to another queue. If it does not, give its --process-id.")
    if not where.complete:
        output.say("note: Redis has too many keys to check all of them; give each --process-id of the original.")


def _require_stopped(watched: OriginalSigns, *, only_warn: bool) -> None:
    """Raise `RestbrokerError` if the original may still run, or print a warning with `only_warn`."""
    if watched.blind:
        output.say("note: CLIENT LIST is not allowed here. Make sure yourself that the original is stopped.")
    if not watched.signs:
        return
    message = f"ejabberd-restbroker seems to be running: {'; '.join(watched.signs)}."
    if not only_warn:
        raise RestbrokerError(
            f"{message} Its jobs in progress would run twice. Nothing was moved.",
            "Stop ejabberd-restbroker, then try again. If it is another program, add --force.",
        )
    output.say(f"warning: {message} Its jobs in progress run twice if they are moved meanwhile.")


def _ask(seen: Takeover, *, as_json: bool) -> None:
    """Ask on a terminal whether to move; end the command without a yes. Raise `UsageError` without a terminal."""
    if not sys.stdin.isatty():
        raise UsageError(
            f"{output.jobs(seen.jobs_to_move)} would be moved. This needs your confirmation, but stdin is not a "
            "terminal.",
            "Add --yes to move them, or --dry-run to see them.",
        )
    if sys.stdout.isatty() and not as_json:
        _show(seen, dry_run=True, as_json=False)
    if not typer.confirm(f"Move {output.jobs(seen.jobs_to_move)}?", err=True):
        output.say("Nothing was moved.")
        raise typer.Exit(Exit.FAILED)


def _move(client: Client, where: Sources) -> Takeover:
    try:
        return operate_migrate.move(client, where, who())
    except RestbrokerError:
        output.say("Jobs moved so far stay where they are now. Run the command again for the rest; none moves twice.")
        raise


def _print_unmoved(takeover: Takeover) -> None:
    staying = {part.queue for part in takeover.parts if part.goes_to == "stays"}
    if staying:
        listed = ", ".join(sorted(str(queue) for queue in staying))
        output.say(f"note: jobs of queues that this configuration does not serve stay where they are: {listed}.")


def _conclude(moved: Takeover) -> None:
    """Print how it went; end with `PARTLY` or `FAILED` if jobs stay where they should not."""
    output.say(f"{output.jobs(moved.jobs_to_move)} moved.")
    _print_unmoved(moved)
    for why, number in moved.refused:
        output.say(f"{output.jobs(number)} stay where they are, since Redis refused: {why}")
    if moved.refused:
        output.say("Fix that, then run the command again: it moves the rest.")
        raise typer.Exit(Exit.PARTLY if moved.jobs_to_move else Exit.FAILED)


def _show(takeover: Takeover, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        parts: list[Json] = [attrs.asdict(part) for part in takeover.parts]
        refused: list[Json] = [{"reason": why, "jobs": number} for why, number in takeover.refused]
        output.as_json({"dry_run": dry_run, "jobs": takeover.jobs_to_move, "parts": parts, "refused": refused})
    elif takeover.parts:
        output.table(
            _HEADER, [["-" if cell is None else cell for cell in attrs.astuple(part)] for part in takeover.parts]
        )
