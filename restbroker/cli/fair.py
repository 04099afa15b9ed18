"""`restbroker fair`: the keys whose jobs wait in lines of a queue; their jobs; drop some; return all to the list."""

import sys
from collections.abc import Generator
from contextlib import closing
from functools import partial
from typing import Annotated, Any

import attrs
import typer

from restbroker.cli import entries
from restbroker.cli.queue_verbs import QueueName
from restbroker.config.core import Config
from restbroker.config.values import duration_text
from restbroker.console import control_text, output
from restbroker.console.confirmation import confirm
from restbroker.console.lists import HELP, Verbs
from restbroker.console.load_config import ConfigOption, load_quietly
from restbroker.console.options import DryRunOption, JsonOption, LimitOption, WhyOption, YesOption
from restbroker.console.who import who
from restbroker.errors import RestbrokerError
from restbroker.job.json_types import Json
from restbroker.operate import fair as operate_fair
from restbroker.operate.claims import release_cleared
from restbroker.operate.connect import open_store
from restbroker.operate.context import context_of
from restbroker.operate.fair import FairKey, FairQueue
from restbroker.operate.names import require
from restbroker.operate.queues import ClearProgress, queues
from restbroker.store.client import Client


class _QueueFirst(Verbs):
    """A group in which a queue's name in the place of a verb means `list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - see cli.app
        """Parse the words as click does, with `list` in front if there is no verb."""
        is_list = bool(args) and not ctx.resilient_parsing and args[0] not in HELP
        verbs = {*self.list_commands(ctx)}
        return super().parse_args(ctx, ["list", *args] if is_list and verbs.isdisjoint(args) else args)


app = typer.Typer(
    cls=_QueueFirst,
    add_completion=False,
    no_args_is_help=True,
    help="Show the keys that take turns in a queue, and their jobs; drop a key's, or return all to the list.",
)
KeyName = Annotated[str, typer.Argument(metavar="KEY", help="The key, as `restbroker fair QUEUE` shows it.")]


@app.callback()
def fair() -> None:
    """Show the keys that take turns in a queue (FairBy), and their jobs; drop a key's, or return all to the list.

    With a queue alone: list.
    """


@app.command("list")
def list_keys(name: QueueName, limit: LimitOption = 100, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show the keys whose jobs wait in lines, the one with the most jobs first.

    SHARE is what a key gets of the jobs that are handed out while all these keys wait. Weights are those of this
    configuration. In a pipe each line is: key,
    jobs waiting, weight, share, age of the next job (seconds).
    """
    settings = load_quietly(config)
    with open_store(settings) as client:
        _require(client, settings, name)
        found = operate_fair.fair_queue(client, name, context_of(settings), limit)
    if json:
        output.as_json(attrs.asdict(found))
    elif sys.stdout.isatty():
        output.table(("KEY", "JOBS", "WEIGHT", "SHARE", "LATENCY"), map(_display, found.keys))
    else:
        output.table((), map(_row, found.keys))
    keys = "1 key" if found.count == 1 else f"{found.count} keys"
    in_list = "its list cannot be read" if found.in_list is None else f"{output.jobs(found.in_list)} in the list"
    output.say(f"{output.jobs(found.in_lines)} of {keys} in lines, {in_list}.{_why_no_lines(settings, found)}")


def _why_no_lines(settings: Config, found: FairQueue) -> str:
    """Return a sentence that says why no job is in a line; empty if some are, or if none waits."""
    fair_by = next((target.fair_by for target in settings.targets if found.name in target.queues), None)
    if found.in_lines:
        return ""
    if fair_by is None:
        return " This configuration sets no FairBy for this queue."
    return " A running broker moves them into lines." if found.in_list else ""


@app.command()
def show(
    name: QueueName, key: KeyName, limit: LimitOption = 20, json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Show the jobs of a key, next one first. The columns are those of `dead list`."""
    settings = load_quietly(config)
    with open_store(settings) as client:
        _require(client, settings, name)
        known = context_of(settings)
        count = operate_fair.count_jobs(client, name, key, known)
        found = list(operate_fair.jobs_of(client, name, key, known, limit=limit))
    entries.write(found, as_json=json)
    output.say(f"{len(found)} of {output.jobs(count)} of this key in {name}.")


@app.command()
def drop(
    name: QueueName,
    key: KeyName,
    why: WhyOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Delete the jobs of a key that wait in its line. There is no copy, and no answer is sent.

    Its jobs in the queue's list stay: brokers move them into its line soon.
    """
    settings = load_quietly(config)
    with open_store(settings) as client:
        _require(client, settings, name)
        known = context_of(settings)
        count = operate_fair.count_jobs(client, name, key, known)
        if not dry_run:
            confirm(f"Delete {output.jobs(count)} of {key} in {name}? There is no copy.", yes=yes)
            release = partial(release_cleared, client, name, context=known)
            steps = operate_fair.drop(client, name, key, known=known, who=who(), why=why, release=release)
            count = _run(steps, "deleted")
    _report(
        f"{output.jobs(count)} {_verb(count, dry_run)} deleted from {name}.", name, count, as_json=json, dry_run=dry_run
    )


@app.command("return")
def give_back(
    name: QueueName,
    why: WhyOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Return all jobs in lines to the front of the queue's list, before a version of restbroker that knows no lines.

    The queue must be paused. Jobs of one key keep their order.
    """
    settings = load_quietly(config)
    with open_store(settings) as client:
        _require(client, settings, name)
        known = context_of(settings)
        count = operate_fair.fair_queue(client, name, known, 0).in_lines
        if not dry_run:
            confirm(f"Return {output.jobs(count)} to the list of {name}?", yes=yes)
            count = _run(operate_fair.give_back(client, name, known, who=who(), why=why), "returned")
    _report(
        f"{output.jobs(count)} {_verb(count, dry_run)} returned to the list.",
        name,
        count,
        as_json=json,
        dry_run=dry_run,
    )


def _run(steps: Generator[ClearProgress, None, None], done: str) -> int:
    """Return how many jobs these steps did; at Ctrl-C or an error, print how far they came and raise that."""
    so_far = ClearProgress(0)
    with closing(steps):
        try:
            for step in steps:
                so_far = step
        except (KeyboardInterrupt, RestbrokerError):
            if so_far.done:
                output.say(f"{output.jobs(so_far.done)} {done}. Run the same command again for the rest.")
            raise
    return so_far.done


def _require(client: Client, settings: Config, name: str) -> None:
    require("queue", name, [one.name for one in queues(client, settings.queues)])


def _verb(count: int, dry_run: bool) -> str:
    return "would be" if dry_run else "was" if count == 1 else "were"


def _report(words: str, name: str, count: int, *, as_json: bool, dry_run: bool) -> None:
    fields: dict[str, Json] = {"queue": name, "jobs": count}
    control_text.report(words, fields, as_json=as_json, dry_run=dry_run)


def _display(one: FairKey) -> tuple[str, ...]:
    latency = "-" if one.latency_s is None else duration_text(one.latency_s)
    return one.name, str(one.jobs), str(one.weight), f"{one.share:.1%}", latency


def _row(one: FairKey) -> tuple[str, ...]:
    return one.name, str(one.jobs), str(one.weight), f"{one.share:.4f}", control_text.number(one.latency_s)
