"""`restbroker order`: the keys whose jobs are done one after the other; why one waits, and what to do about it."""

import shlex
import sys
from typing import Annotated

import attrs
import typer

from restbroker.cli import entries
from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.console import control_text, output
from restbroker.console.confirmation import confirm
from restbroker.console.lists import ListsFirst
from restbroker.console.load_config import ConfigOption, load_quietly
from restbroker.console.options import (
    AllOption,
    DryRunOption,
    JsonOption,
    LimitOption,
    OneTargetOption,
    RepeatUnsafeOption,
    WhyOption,
    YesOption,
)
from restbroker.console.who import who
from restbroker.errors import UsageError
from restbroker.job import hiding
from restbroker.job.json_types import Json
from restbroker.operate import order as operate_order
from restbroker.operate.act_job import Action
from restbroker.operate.connect import open_store
from restbroker.operate.context import context_of
from restbroker.operate.names import require
from restbroker.operate.order import STATES, OrderKey
from restbroker.store.client import Client
from restbroker.store.order import HeldKey
from restbroker.store.server import time_s

app = typer.Typer(
    cls=ListsFirst,
    add_completion=False,
    help="Show the keys whose jobs are done one after the other (OrderBy), and help those that wait.",
)
KeyName = Annotated[str, typer.Argument(metavar="KEY", help="The key, as `restbroker order list` shows it.")]


@app.callback()
def order() -> None:
    """Show the keys whose jobs are done one after the other (OrderBy), and help those that wait."""


@app.command("list")
def list_keys(
    target: OneTargetOption = None, limit: LimitOption = 100, json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Show the keys whose next job has to wait, or could start now: stopped ones first.

    In a pipe each line is: target, key, state, jobs waiting, seconds since it was stopped or until its next try, jid of
    the job that died.
    """
    settings = load_quietly(config)
    with open_store(settings) as client:
        found, count = operate_order.held_keys(client, _targets(settings, target), context_of(settings), limit)
        now_s = time_s(client)
    if json:
        output.as_json([attrs.asdict(one) for one in found])
    elif sys.stdout.isatty():
        output.table(("TARGET", "KEY", "STATE", "WAITING", "SINCE OR IN", "DIED"), (_row(one, now_s) for one in found))
    else:
        output.table((), (_row(one, now_s, is_plain=True) for one in found))
    if count:
        output.say(f"{len(found)} of {'1 key' if count == 1 else f'{count} keys'}. All others are free.")
    else:
        output.say("No key is held.")


@app.command()
def show(
    key: KeyName,
    target: OneTargetOption = None,
    limit: LimitOption = 20,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the jobs that wait with a key, next one first. The columns are those of `dead list`."""
    settings = load_quietly(config)
    known = context_of(settings)
    with open_store(settings) as client:
        place, held = operate_order.find_key(client, _targets(settings, target), key)
        shown = operate_order.shown_key(client, place, held, known)
        found = list(operate_order.jobs_of(client, place, held, known, limit=limit))
        now_s = time_s(client)
    entries.write(found, as_json=json)
    state = STATES[shown.state]
    if shown.at_s is not None:
        ago_s = now_s - shown.at_s
        state += f" for {duration_text(ago_s)}" if ago_s >= 0 else f": its next try is due in {duration_text(-ago_s)}"
    died = f" The job {shown.jid} died." if shown.jid else ""
    output.say(f"{len(found)} of {output.jobs(shown.waiting)} that wait. The key is {state}.{died}")


@app.command()
def resume(
    key: KeyName,
    target: OneTargetOption = None,
    repeat_unsafe: RepeatUnsafeOption = False,
    why: WhyOption = "",
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Retry the dead job that stopped a key; the key goes on once that job is done. To go on without it: skip."""
    settings = load_quietly(config)
    action = Action("retry", who(), why=why or "order resume", repeat_unsafe=repeat_unsafe)
    with open_store(settings) as client:
        place, held = operate_order.find_key(client, _targets(settings, target), key)
        jid = _jid(held, settings)
        done, refused = operate_order.resume(
            client, place, held, known=context_of(settings), action=action, dry_run=dry_run
        )
    if not done:
        gone = f"The job that died is not among the dead jobs any more: {jid}."
        if not jid:
            gone = "The id of the job that died is not known: if it is among the dead jobs, retry it there."
        hint = f"To go on without it: {operate_order.command('skip', key)}"
        if jid and not refused:
            hint += f"\nTo put it back first: restbroker dead restore {shlex.quote(jid)}"
        raise UsageError(" ".join(refused) or gone, hint)
    _report(f"The job {jid} {'would be' if dry_run else 'is'} retried.", key, done, as_json=json, dry_run=dry_run)


@app.command()
def skip(
    key: KeyName,
    target: OneTargetOption = None,
    why: WhyOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Go on with a stopped key without the job that died, which stays among the dead jobs."""
    settings = load_quietly(config)
    with open_store(settings) as client:
        place, held = operate_order.find_key(client, _targets(settings, target), key)
        _require_state(held, "stopped")
        if not dry_run:
            confirm(f"Go on with the jobs behind {_jid(held, settings) or 'the dead job'} of {key}?", yes=yes)
            _require_done(
                operate_order.steer(client, place, "skip", [held], known=context_of(settings), who=who(), why=why)
            )
    _report(f"The key {'would go' if dry_run else 'goes'} on.", key, 1, as_json=json, dry_run=dry_run)


@app.command("retry-now")
def retry_now(
    key: KeyName,
    target: OneTargetOption = None,
    why: WhyOption = "",
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Try the next job of a key now, whose last try failed."""
    settings = load_quietly(config)
    with open_store(settings) as client:
        place, held = operate_order.find_key(client, _targets(settings, target), key)
        _require_state(held, "due")
        if not dry_run:
            _require_done(
                operate_order.steer(client, place, "retry", [held], known=context_of(settings), who=who(), why=why)
            )
    _report(f"Its next job {'would be' if dry_run else 'is'} tried now.", key, 1, as_json=json, dry_run=dry_run)


@app.command()
def drop(
    key: Annotated[
        str | None, typer.Argument(metavar="[KEY]", help="The key, as `restbroker order list` shows it.")
    ] = None,
    every: AllOption = False,
    target: OneTargetOption = None,
    why: WhyOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Have the jobs die that wait with a key now: they go to the dead set as PredecessorDied, and are answered.

    A broker does it, in their order. A stopped key goes on. A job in progress dies only if it has to be tried again.
    """
    if every == (key is not None):
        raise UsageError("Give a key, or --all.", "restbroker order list shows the keys.")
    settings = load_quietly(config)
    known = context_of(settings)
    with open_store(settings) as client:
        meant = _meant(client, settings, target, key)
        waiting = sum(operate_order.count_waiting(client, place, held) for place, held in meant)
        if not dry_run:
            confirm(f"Have {output.jobs(waiting)} die that wait with {key or 'all keys'}?", yes=yes)
            waiting = sum(
                operate_order.drop(client, place, held, known=known, who=who(), why=why) for place, held in meant
            )
    _report(
        f"{output.jobs(waiting)} {'would' if dry_run else 'will'} die.",
        key or "",
        waiting,
        as_json=json,
        dry_run=dry_run,
    )


def _meant(client: Client, settings: Config, target: str | None, key: str | None) -> list[tuple[Target, list[HeldKey]]]:
    places = _targets(settings, target)
    if key is None:
        return [(place, operate_order.all_keys(client, place)) for place in places]
    place, held = operate_order.find_key(client, places, key)
    return [(place, [held])]


def _targets(settings: Config, name: str | None) -> list[Target]:
    """Return the targets whose keys are meant: also those without OrderBy, which may have had one."""
    if name is not None:
        require("target", name, [one.name for one in settings.targets])
    return [one for one in settings.targets if name in (None, one.name)]


def _jid(held: HeldKey, settings: Config) -> str:
    """Return the id of the job that died for people; "" if it is unknown."""
    return output.one_line(hiding.mask_secrets(held.jid, context_of(settings).secrets))


def _require_state(held: HeldKey, state: str) -> None:
    if held.state != state:
        raise UsageError(
            f"The key is {STATES[held.state]}, not {STATES[state]}.", "restbroker order list shows all keys."
        )


def _require_done(count: int) -> None:
    if not count:
        raise UsageError("The key has changed meanwhile.", "Look again: restbroker order list")


def _report(words: str, key: str, count: int, *, as_json: bool, dry_run: bool) -> None:
    fields: dict[str, Json] = {"key": key, "count": count}
    control_text.report(words, fields, as_json=as_json, dry_run=dry_run)


def _row(one: OrderKey, now_s: float, *, is_plain: bool = False) -> tuple[str, ...]:
    seconds = None if one.at_s is None else abs(now_s - one.at_s)
    if is_plain:
        return one.target, one.name, one.state, str(one.waiting), control_text.number(seconds), one.jid
    state = STATES[one.state] + (", to die" if one.drops else "")
    return (
        one.target,
        one.name,
        state,
        str(one.waiting),
        "-" if seconds is None else duration_text(seconds),
        one.jid or "-",
    )
