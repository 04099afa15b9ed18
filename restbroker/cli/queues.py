"""`restbroker queues`: what waits, who serves it and who paused it; inspect, pause and clear a queue."""

import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Annotated, Any, Final

import attrs
import typer

from restbroker.cli import entries, queue_verbs
from restbroker.cli.jobs import conditions
from restbroker.config.core import Config
from restbroker.config.values import duration_text
from restbroker.console import output, panels
from restbroker.console.columns import cell
from restbroker.console.confirmation import confirm
from restbroker.console.groups import command
from restbroker.console.jobs import tokens
from restbroker.console.lists import ListsFirst
from restbroker.console.load_config import ConfigOption, load_quietly
from restbroker.console.options import (
    DryRunOption,
    JsonOption,
    LimitOption,
    WhereOption,
    WhyOption,
    YesOption,
)
from restbroker.console.pausing import Pausable, Pausing, Resuming
from restbroker.console.who import who
from restbroker.errors import RestbrokerError, UsageError
from restbroker.operate import find
from restbroker.operate import queues as operate_queues
from restbroker.operate.claims import release_cleared
from restbroker.operate.connect import open_store
from restbroker.operate.context import ConfigContext, context_of
from restbroker.operate.names import require
from restbroker.operate.queues import ClearProgress, Queue, WaitingJob
from restbroker.operate.words import pause_text, state_text
from restbroker.store.client import Client


class _Verbs(ListsFirst):
    """The verbs of `queues`; the name of a queue in the place of one is an easy mistake."""

    _behind: Sequence[str] = ()

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - see cli.app
        """Return the verb as `Verbs` does. The words behind an unknown one say which queue may be meant."""
        self._behind = args[1:]
        return super().resolve_command(ctx, args)

    def hint(self, word: str, verbs: Sequence[str]) -> str:
        """Return what may be meant by a word that is none of these verbs: another verb, or a queue."""
        queue = next((one for one in self._behind if not one.startswith("-")), word)
        return f"{super().hint(word, verbs)} To look into a queue: restbroker queues peek {shlex.quote(queue)}"


app = typer.Typer(cls=_Verbs, add_completion=False, help="Show the queues; inspect, pause, resume or clear one.")

_TELL_EVERY_S: Final = 2.0


@app.callback()
def queues() -> None:
    """Show the queues; inspect, pause, resume or clear one. Without a command: list."""


@app.command("list")
def list_queues(json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show every queue: what waits, who serves it and who paused it.

    In a pipe each line is: name, jobs waiting, age of the oldest job (seconds), open, paused or target down,
    by whom, seconds left, why, targets, processes, how many of the jobs are in lines (FairBy).
    """
    settings = load_quietly(config)
    with open_store(settings) as client:
        found = operate_queues.queues(client, settings.queues)
    if json:
        output.as_json([attrs.asdict(one) for one in found])
    elif sys.stdout.isatty():
        output.table(("QUEUE", "JOBS", "LATENCY", "STATE", "TARGETS", "PROCESSES"), map(_display, found))
    else:
        output.table((), map(_row, found))


@app.command()
def peek(
    name: queue_verbs.QueueName,
    where: WhereOption = None,
    limit: LimitOption = 20,
    after: Annotated[
        str | None,
        typer.Option(
            "--after", metavar="PLACE", help="With --where: continue after this place.", rich_help_panel=panels.OUTPUT
        ),
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show the jobs that wait in a queue, next one first. Arguments and tokens are not shown.

    In a pipe each line is: place (0 is next), age (seconds), job id, command. With --where it shows the jobs for which
    all conditions hold, with the columns of `dead list`; --json has the same fields with and without it.
    """
    settings = load_quietly(config)
    if where or json:
        _search(settings, name, where or [], limit=limit, after=after, as_json=json)
        return
    if after is not None:
        raise UsageError("--after needs --where.", "Without conditions, raise --limit.")
    with open_store(settings) as client:
        one = _require_queue(client, settings, name)
        cost = context_of(settings).cost(name)
        found = list(operate_queues.peek(client, name, limit, tokens(settings), cost=cost))
    output.table(("PLACE", "WAITED", "JOB", "COMMAND"), _cells(found))
    more = f"{len(found)} of " if one.size is not None and one.size > len(found) else ""
    output.say(f"{more}{output.jobs(one.size or 0)} waiting in {name}.")


def _search(settings: Config, name: str, where: list[str], limit: int, after: str | None, *, as_json: bool) -> None:
    """Print the jobs that match the conditions, and how to continue."""
    knows = context_of(settings)
    meant = conditions(where, "dead", knows)
    with open_store(settings) as client:
        _require_queue(client, settings, name)
        page = find.waiting_page(client, name, meant, knows, after=after, limit=limit)
    entries.write(page.entries, as_json=as_json)
    output.say(f"{len(page.entries)} of {output.jobs(page.looked_at)} looked at, {page.total} waiting in {name}.")
    if page.after is not None:
        output.say(f"Continue with: --after {page.after}")


@command(app)
def pause(*, name: queue_verbs.QueueName, how: Pausing) -> None:
    """Pause a queue: no process takes jobs from it. Jobs in progress finish. A new pause replaces the previous one."""
    _QUEUE.pause(name, how)


@command(app)
def resume(*, name: queue_verbs.QueueName, how: Resuming) -> None:
    """Resume a queue, no matter who paused it."""
    _QUEUE.resume(name, how)


@app.command()
def clear(
    name: queue_verbs.QueueName,
    why: WhyOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Delete all jobs that wait in a queue. There is no copy.

    Jobs in progress finish, and jobs pushed meanwhile stay. Ctrl-C stops it between two batches of a thousand jobs.
    """
    settings = load_quietly(config)
    with open_store(settings) as client:
        one = _require_queue(client, settings, name)
        count = operate_queues.clear(client, name, who(), dry_run=True)
        if not dry_run and count:
            lines = f" ({one.in_lines} in lines)" if one.in_lines else ""
            confirm(f"Delete {output.jobs(count)}{lines} in {name}? There is no copy.", yes=yes)
            count = _clear(client, name, why, context_of(settings))
    if json:
        output.as_json({"queue": name, "jobs": count, "dry_run": dry_run})
    past = "would be" if dry_run else "was" if count == 1 else "were"
    output.say(f"{output.jobs(count)} {past} deleted from {name}.")


queue_verbs.add_verbs(app)


def _clear(client: Client, name: str, why: str, context: ConfigContext) -> int:
    """Return how many jobs were deleted; at Ctrl-C or an error of Redis, print how far it came and raise that."""
    so_far = ClearProgress(0)
    told_s = time.monotonic()
    release = partial(release_cleared, client, name, context=context)
    with closing(operate_queues.clear_in_steps(client, name, who(), why, release=release)) as steps:
        try:
            for so_far in steps:
                if sys.stderr.isatty() and time.monotonic() >= told_s + _TELL_EVERY_S:
                    told_s = time.monotonic()
                    output.say(f"… {so_far.done} of {output.jobs(so_far.total)} deleted")
        except (KeyboardInterrupt, RestbrokerError):
            output.say(f"{output.jobs(so_far.done)} deleted. Run the same command again for the rest.")
            raise
    return so_far.done


def _require_queue(client: Client, settings: Config, name: str) -> Queue:
    """Return the queue of this name; raise `UsageError` if it is not known."""
    found = {one.name: one for one in operate_queues.queues(client, settings.queues)}
    require("queue", name, found)
    return found[name]


def _display(one: Queue) -> tuple[str, ...]:
    """Return a queue as a row for people."""
    state = _state(one) if one.pause is None else pause_text(one.pause)
    latency = "-" if one.latency_s is None else duration_text(one.latency_s)
    size = "its key is not a list" if one.size is None else f"{one.size:,}"
    size += f" ({one.in_lines:,} in lines)" if one.in_lines else ""
    return one.name, size, latency, state, cell(one.targets), cell(one.processes)


def _state(one: Queue) -> str:
    """Return the state of a queue that is not paused."""
    return "open" if one.target_state is None else f"target {state_text(one.target_state)}"


def _row(one: Queue) -> tuple[str, ...]:
    """Return a queue as a row for programs."""
    pause = one.pause
    state = "no list" if one.size is None else _state(one) if pause is None else "paused"
    about = ("-", "-", "-") if pause is None else (pause.who or "-", cell(pause.remaining_s), pause.why or "-")
    size = cell(one.size)
    served = cell(one.targets), cell(one.processes)
    return one.name, size, cell(one.latency_s), state, *about, *served, str(one.in_lines)


def _cells(found: Iterable[WaitingJob]) -> Iterator[tuple[str, ...]]:
    for one in found:
        waited = cell(one.waited_s)
        if sys.stdout.isatty() and one.waited_s is not None:
            waited = duration_text(one.waited_s)
        yield str(one.place), waited, one.job.jid or "-", one.job.command or one.job.message or "-"


_QUEUE: Final = Pausable(
    "queue",
    lambda client, settings, name: _require_queue(client, settings, name).pause is not None,
    operate_queues.pause,
    operate_queues.resume,
)
