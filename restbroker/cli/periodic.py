"""`restbroker periodic`: the commands that become jobs at set times; run one now, pause or resume it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from restbroker.config.core import Config
from restbroker.console import columns, completion, output, times
from restbroker.console.columns import Column
from restbroker.console.exits import Exit
from restbroker.console.lists import ListsFirst
from restbroker.console.options import ForOption, Output, ReasonOptions, argument, command
from restbroker.console.pausing import Pausable
from restbroker.console.who import who
from restbroker.job.json_types import Json
from restbroker.operate import periodic as operate_periodic
from restbroker.operate.connect import open_store
from restbroker.operate.context import context_of
from restbroker.operate.periodic import ShownPeriodic
from restbroker.operate.request import periodic_requests
from restbroker.operate.words import pause_details
from restbroker.store.client import Client
from restbroker.store.periodic import read

app = typer.Typer(
    cls=ListsFirst,
    add_completion=False,
    help="Show the periodic commands; run one now, pause or resume it. Without a command: list.",
)

CommandName = Annotated[str, argument("NAME", "Its name in Periodic.", completion.periodic)]


@command(app, "list")
def list_commands(how: Output) -> None:
    """Show when each periodic command is due next, and what became of the last time.

    In a pipe each line is: name, next time (UTC), time zone, last push (UTC), its job's id, what became of the last
    time, times missed, times skipped, who paused it.
    """
    settings = how.settings("Periodic")
    with open_store(settings) as client:
        found = operate_periodic.list_periodic(client, [*periodic_requests(settings)], context_of(settings))
    columns.show(_COLUMNS, found, as_json=how.json)


@command(app)
def run(*, name: CommandName, reason: ReasonOptions, how: Output) -> None:
    """Push the command's job now, and print its id. Its times stay as they are, and a pause does not matter.

    Exits with 1 if nothing was pushed since its last job is not done (Overlap "skip").
    """
    settings = how.settings("Periodic")
    one = operate_periodic.find(periodic_requests(settings), name)
    with open_store(settings) as client:
        jid, holder = ("-", None) if reason.dry_run else operate_periodic.run(client, one, who(), reason.why)
    other = None if holder is None else holder.jid
    fields: dict[str, Json] = {"periodic": name, "jid": None if reason.dry_run or holder else jid, "not_done": other}
    if how.json:
        output.as_json({**fields, "dry_run": reason.dry_run})
    elif not (reason.dry_run or holder):
        output.data(jid)
    if holder is not None:
        output.say(f"{other} ({holder.certainty}) is not done. Nothing was queued.")
        raise typer.Exit(Exit.FAILED)
    output.say(f"{name} {'would be' if reason.dry_run else 'is'} queued in {one.job.queue}.")


@command(app)
def pause(*, name: CommandName, for_: ForOption = None, reason: ReasonOptions, how: Output) -> None:
    """Pause a periodic command: restbroker skips its times meanwhile. A new pause replaces the previous one."""
    _PERIODIC.pause(name, for_, reason, how)


@command(app)
def resume(*, name: CommandName, reason: ReasonOptions, how: Output) -> None:
    """End a pause. The times that restbroker skipped meanwhile stay skipped."""
    _PERIODIC.resume(name, reason, how)


def _is_paused(client: Client, settings: Config, name: str) -> bool:
    operate_periodic.find(periodic_requests(settings), name)
    state = read(client)[1].get(name)
    return state is not None and state.pause is not None


_PERIODIC: Final = Pausable("periodic", _is_paused, meanwhile="", sections=("Periodic",))
_COLUMNS: Final[Sequence[Column[ShownPeriodic]]] = (
    Column("NAME", lambda one: one.name),
    Column(
        "NEXT",
        lambda one: f"{datetime.fromtimestamp(one.next_s, UTC):%Y-%m-%dT%H:%M:%SZ}",
        lambda one: one.next if one.zone == "UTC" else f"{one.next} {one.zone}",
    ),
    Column("", lambda one: one.zone),
    Column("", lambda one: None if one.pushed_at_s is None else times.utc(one.pushed_at_s)),
    Column("", lambda one: one.jid),
    Column("LAST", lambda one: one.last_text),
    Column("MISSED", lambda one: one.missed, numbers=True),
    Column("", lambda one: one.skipped),
    Column(
        "PAUSED",
        lambda one: None if one.pause is None else pause_details(one.pause),
        lambda one: "" if one.pause is None else pause_details(one.pause),
    ),
    Column("TIMES", text=lambda one: one.meaning),
    Column("COMMAND", text=lambda one: f"{one.command} of {one.target}, in {one.queue}"),
)
