"""`restbroker periodic`: the commands that become jobs at set times; run one now, pause or resume it."""

import sys
from datetime import UTC, datetime
from typing import Annotated

import attrs
import typer

from restbroker.config.core import Config
from restbroker.console import completion, control_text, output, times
from restbroker.console.columns import cell
from restbroker.console.exits import Exit
from restbroker.console.lists import ListsFirst
from restbroker.console.load_config import ConfigOption, load_quietly
from restbroker.console.options import DryRunOption, ForOption, JsonOption, WhyOption
from restbroker.console.who import who
from restbroker.job.json_types import Json
from restbroker.operate import periodic as operate_periodic
from restbroker.operate.connect import open_store
from restbroker.operate.context import context_of
from restbroker.operate.periodic import Periodic
from restbroker.operate.request import PeriodicRequest, periodic_requests
from restbroker.operate.words import pause_details
from restbroker.store.periodic import read

app = typer.Typer(
    cls=ListsFirst, add_completion=False, help="Show the periodic commands; run one now, pause or resume it."
)

CommandName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="Its name in Periodic.", autocompletion=completion.periodic),
]


@app.callback()
def periodic() -> None:
    """Show the periodic commands; run one now, pause or resume it. Without a command: list."""


@app.command("list")
def list_commands(json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show when each periodic command is due next, and what became of the last time.

    In a pipe each line is: name, next time (UTC), time zone, last push (UTC), its job's id, what became of the last
    time, times missed, times skipped, who paused it.
    """
    settings = _settings(config)
    with open_store(settings) as client:
        found = operate_periodic.list_periodic(client, [*periodic_requests(settings)], context_of(settings))
    if json:
        output.as_json([attrs.asdict(one) for one in found])
    elif sys.stdout.isatty():
        for place, one in enumerate(found):
            output.data(f"{'' if place == 0 else chr(10)}PERIODIC  {one.name}")
            output.table(("", ""), _properties(one))
    else:
        output.table((), map(_row, found))


@app.command()
def run(
    name: CommandName,
    why: WhyOption = "",
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Push the command's job now, and print its id. Its times stay as they are, and a pause does not matter.

    Exits with 1 if nothing was pushed since its last job is not done (Overlap "skip").
    """
    settings, one = _command(config, name)
    with open_store(settings) as client:
        jid, holder = ("-", None) if dry_run else operate_periodic.run(client, one, who(), why)
    other = None if holder is None else holder.jid
    fields: dict[str, Json] = {"periodic": name, "jid": None if dry_run or holder else jid, "not_done": other}
    if json:
        output.as_json({**fields, "dry_run": dry_run})
    elif not (dry_run or holder):
        output.data(jid)
    if holder is not None:
        output.say(f"{other} ({holder.certainty}) is not done; nothing was queued.")
        raise typer.Exit(Exit.FAILED)
    output.say(f"{name} {'would be' if dry_run else 'is'} queued in {one.order.queue}.")


@app.command()
def pause(
    name: CommandName,
    for_: ForOption = None,
    why: WhyOption = "",
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Pause a periodic command: what is due meanwhile is skipped. A new pause replaces the previous one."""
    (settings, _), for_s = _command(config, name), control_text.duration_s(for_)
    with open_store(settings) as client:
        state = read(client)[1].get(name)
        if not dry_run:
            operate_periodic.pause(client, name, who(), why=why, for_s=for_s)
    done = "would be" if dry_run else "is"
    was = state is not None and state.pause is not None
    fields: dict[str, Json] = {"periodic": name, "was_paused": was, "paused": True, "for_s": for_s}
    words = f"{name} {done} paused {control_text.for_how_long(for_s)}."
    control_text.report(words, fields, as_json=json, dry_run=dry_run)


@app.command()
def resume(
    name: CommandName,
    why: WhyOption = "",
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """End a pause. What was due meanwhile stays skipped."""
    settings, _ = _command(config, name)
    with open_store(settings) as client:
        state = read(client)[1].get(name)
        was = state is not None and state.pause is not None
        if not dry_run:
            was = operate_periodic.resume(client, name, who(), why)
    words = f"{name} {'would be' if dry_run else 'is'} resumed." if was else f"No one had paused {name}."
    fields: dict[str, Json] = {"periodic": name, "was_paused": was, "paused": False}
    control_text.report(words, fields, as_json=json, dry_run=dry_run)


def _settings(config: ConfigOption) -> Config:
    return load_quietly(config, "Periodic")


def _command(config: ConfigOption, name: str) -> tuple[Config, PeriodicRequest]:
    settings = _settings(config)
    return settings, operate_periodic.find(periodic_requests(settings), name)


def _properties(one: Periodic) -> list[tuple[str, str]]:
    """Return what is known of a command, for people, as pairs of name and text."""
    last = "-" if one.pushed_at_s is None else f"{times.local(one.pushed_at_s)}, job {one.jid}"
    found = [
        ("command", f"{one.command} of {one.target}, in {one.queue}"),
        ("cron", f"{one.cron} ({one.meaning})"),
        ("next", one.next if one.zone == "UTC" else f"{one.next} {one.zone} ({one.next_utc})"),
        ("pushed", last),
        ("last", one.last_text),
        ("missed", f"{one.missed}, {one.skipped} skipped"),
    ]
    return found if one.pause is None else [*found, ("paused", pause_details(one.pause))]


def _row(one: Periodic) -> tuple[str, ...]:
    """Return a command as a row for programs."""
    return (
        one.name,
        f"{datetime.fromtimestamp(one.next_s, UTC):%Y-%m-%dT%H:%M:%SZ}",
        one.zone,
        "-" if one.pushed_at_s is None else times.utc(one.pushed_at_s),
        one.jid or "-",
        one.last_text,
        str(one.missed),
        str(one.skipped),
        "-" if one.pause is None else cell(pause_details(one.pause)),
    )
