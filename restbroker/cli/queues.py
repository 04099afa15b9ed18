"""`restbroker queues`: what waits, who serves it and who paused it; inspect, pause and clear a queue, or remove some.

Always holds: only jobs that wait when a command begins are meant; a missing option never means all.
"""

import shlex
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from functools import partial
from typing import Annotated, Any, Final

import typer

from restbroker.cli import entries
from restbroker.cli.jobs import conditions
from restbroker.config.core import Config
from restbroker.console import columns, completion, output
from restbroker.console.columns import Column
from restbroker.console.confirmation import confirm
from restbroker.console.lists import ListsFirst
from restbroker.console.options import (
    AfterOption,
    AllOption,
    Consent,
    ForeignQueuesOption,
    ForOption,
    LimitOption,
    MostOption,
    Output,
    ReasonOptions,
    WhereOption,
    argument,
    command,
)
from restbroker.console.pausing import Pausable
from restbroker.console.progress import progress
from restbroker.console.times import duration
from restbroker.console.who import who
from restbroker.errors import RestbrokerError, UsageError
from restbroker.light import frozen
from restbroker.operate import find
from restbroker.operate import queues as operate_queues
from restbroker.operate.act import Action, Progress, Verb
from restbroker.operate.claims import release_cleared
from restbroker.operate.connect import open_store
from restbroker.operate.context import context_of
from restbroker.operate.job import ShownJob
from restbroker.operate.names import require
from restbroker.operate.system import Queue, system
from restbroker.operate.words import outlook_cell, outlook_text, pause_text, state_text
from restbroker.store.client import Client

QueueName = Annotated[str, argument("QUEUE", "The queue's name.", completion.queues)]


class _Verbs(ListsFirst):
    """The verbs of `queues`; the name of a queue in the place of one is an easy mistake."""

    _behind: Sequence[str] = ()

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - see cli.app
        """Return the verb as `Verbs` does. The words behind an unknown one say which queue may be meant."""
        self._behind = args[1:]
        return super().resolve_command(ctx, args)

    def hint(self, word: str, verbs: Sequence[str]) -> str:
        """Return what may be meant by a word that is none of these verbs: another verb, or a queue."""
        queue = next((verb for verb in self._behind if not verb.startswith("-")), word)
        return f"{super().hint(word, verbs)} To look into a queue: restbroker queues peek {shlex.quote(queue)}"


app = typer.Typer(
    cls=_Verbs,
    add_completion=False,
    help="Show the queues; inspect, pause, resume or clear one. Without a command: list.",
)


@command(app, "list")
def list_queues(how: Output) -> None:
    """Show every queue: what waits, who serves it and who paused it.

    In a pipe each line is: name, jobs waiting, age of the oldest job (seconds), open, paused or target down,
    by whom, seconds left, why, targets, processes, how many of the jobs are in lines (FairBy), and the outlook:
    seconds until it is empty (1024s), growth (+40.00/s), or why neither is known.
    """
    settings = how.settings()
    with open_store(settings) as client:
        found = system(client, settings.queues).queues
    columns.show(_COLUMNS, found, as_json=how.json)


def _size(one: Queue) -> str:
    size = "its key is not a list" if one.size is None else f"{one.size:,}"
    return size + (f" ({one.in_lines:,} in lines)" if one.in_lines else "")


def _state(one: Queue) -> str:
    """Return the state of a queue that is not paused."""
    return "open" if one.target_state is None else f"target {state_text(one.target_state)}"


_COLUMNS: Final[Sequence[Column[Queue]]] = (
    Column("QUEUE", lambda one: one.name),
    Column("JOBS", lambda one: one.size, _size),
    Column("LATENCY", lambda one: one.latency_s, lambda one: duration(one.latency_s)),
    Column(
        "STATE",
        lambda one: "no list" if one.size is None else _state(one) if one.pause is None else "paused",
        lambda one: _state(one) if one.pause is None else pause_text(one.pause),
    ),
    Column("", lambda one: None if one.pause is None else one.pause.who),
    Column("", lambda one: None if one.pause is None else one.pause.remaining_s),
    Column("", lambda one: None if one.pause is None else one.pause.why),
    Column("TARGETS", lambda one: one.targets),
    Column("PROCESSES", lambda one: one.processes),
    Column("", lambda one: one.in_lines),
    Column("OUTLOOK", outlook_cell, outlook_text),
)
_WAITING: Final[Sequence[Column[tuple[int, ShownJob]]]] = (
    Column("PLACE", lambda one: one[0], numbers=True),
    Column("WAITED", lambda one: _waited_s(one[1]), lambda one: duration(_waited_s(one[1]))),
    Column("JOB", lambda one: one[1].jid),
    Column("COMMAND", lambda one: one[1].command or one[1].message),
)


def _waited_s(job: ShownJob) -> float | None:
    return max(0.0, time.time() - job.at_s) if job.at_s else None


@command(app)
def peek(
    *, name: QueueName, where: WhereOption = None, limit: LimitOption = 20, after: AfterOption = None, how: Output
) -> None:
    """Show the jobs that wait in a queue, next one first. Arguments and tokens are not shown.

    In a pipe each line is: place (0 is next), age (seconds), job id, command. With --where it shows the jobs for which
    all conditions hold, with the columns of `dead list`; --json has the same fields with and without it.
    """
    settings = how.settings()
    knows = context_of(settings)
    meant = conditions(where, "dead", knows)
    with open_store(settings) as client:
        require_queue(client, settings, name)
        page = find.waiting_page(client, name, meant, knows, after=after, limit=limit)
    found = page.entries
    if where or how.json:
        entries.write(found, as_json=how.json)
        output.say(f"{len(found)} of {output.jobs(page.looked_at)} looked at, {page.total:,} waiting in {name}.")
    else:
        columns.write(_WAITING, list(enumerate(found, int(after) if after and after.isdecimal() else 0)))
        output.say(f"{len(found)} of {output.jobs(page.total)} waiting in {name}.")
    if page.after is not None:
        output.say(f"For the next ones run the same command again with --after {page.after}")


@command(app)
def pause(*, name: QueueName, for_: ForOption = None, reason: ReasonOptions, how: Output) -> None:
    """Pause a queue: no process takes jobs from it. Jobs in progress finish. A new pause replaces the previous one."""
    _QUEUE.pause(name, for_, reason, how)


@command(app)
def resume(*, name: QueueName, reason: ReasonOptions, how: Output) -> None:
    """Resume a queue, no matter who paused it."""
    _QUEUE.resume(name, reason, how)


@command(app)
def clear(name: QueueName, consent: Consent, how: Output) -> None:
    """Delete all jobs that wait in a queue. There is no copy.

    Jobs in progress finish, and jobs pushed meanwhile stay. Ctrl-C stops it between two batches of a thousand jobs.
    """
    settings, dry_run = how.settings(), consent.dry_run
    known = context_of(settings)
    with open_store(settings) as client:
        one = require_queue(client, settings, name)
        seen = None if dry_run else operate_queues.moment_of(client, name, known)
        count = operate_queues.count_waiting(client, name) if seen is None else seen.total
        if not dry_run and count:
            lines = f" ({one.in_lines} in lines)" if one.in_lines else ""
            confirm(f"Delete {output.jobs(count)}{lines} in {name}? There is no copy.", yes=consent.yes)
            release = partial(release_cleared, client, name, context=known)
            steps = operate_queues.clear_in_steps(client, name, known, who(), consent.why, release, seen)
            count = run_steps(steps, "deleted")
    report_jobs("deleted from", name, count, how, dry_run=dry_run)


def report_jobs(done: str, queue: str, count: int, how: Output, *, dry_run: bool) -> None:
    """Print how many jobs of a queue were done so, or would be."""
    verb = "would be" if dry_run else "was" if count == 1 else "were"
    words = f"{output.jobs(count)} {verb} {done} {queue}."
    output.report(words, {"queue": queue, "jobs": count}, as_json=how.json, dry_run=dry_run)


def run_steps(steps: Generator[Progress], done: str) -> int:
    """Return how many jobs these steps did; at Ctrl-C or an error, print how far they came and raise that."""
    so_far = Progress(0)
    with closing(steps):
        try:
            with progress() as show:
                for so_far in steps:
                    show(so_far.done, so_far.total, f"{so_far.done:,} {done}")
        except (KeyboardInterrupt, RestbrokerError) as error:
            output.say_how_far(so_far.done, done, error)
            raise
    return so_far.done


@frozen
class MeantJobs:
    """The jobs of a queue that are meant."""

    where: WhereOption = None
    everything: AllOption = False
    limit: MostOption = None
    foreign_queues: ForeignQueuesOption = False


@command(app)
def delete(name: QueueName, meant: MeantJobs, consent: Consent, how: Output) -> None:
    """Delete jobs that wait in a queue. There is no copy, and no answer is sent."""
    _act("delete", name, meant, consent, how)


@command(app)
def kill(name: QueueName, meant: MeantJobs, consent: Consent, how: Output) -> None:
    """Move jobs that wait in a queue into the dead set, where you can edit, retry or delete them.

    Callers that wait get an answer. restbroker counts the jobs first. It moves none if the dead set has no room for all
    of them (DeadLimit).
    """
    _act("kill", name, meant, consent, how)


def _act(verb: Verb, name: str, meant: MeantJobs, consent: Consent, how: Output) -> None:
    from restbroker.cli.actions import PlannedAction
    from restbroker.operate import act_waiting

    settings = how.settings()
    known = context_of(settings)
    where = conditions(meant.where, "dead", known)
    if bool(where) == meant.everything:
        hint = "Give --where CONDITION, or --all; --limit may be added to both."
        raise UsageError("Say which jobs, in exactly one way.", hint)
    action = Action(verb, who(), why=consent.why, foreign_queues=meant.foreign_queues)
    with open_store(settings) as client:
        require_queue(client, settings, name)
        jobs = act_waiting.select(client, name, where, settings, meant.limit)
        jobs.require_sense(action, known)
        output.say(f"note: {act_waiting.consequence(name, verb, known)}")
        PlannedAction(client, action, known, dry_run=consent.dry_run, yes=consent.yes, as_json=how.json).act(jobs)


def require_queue(client: Client, settings: Config, name: str) -> Queue:
    """Return the queue of this name; raise `UsageError` if it is not known."""
    found = {queue.name: queue for queue in system(client, settings.queues).queues}
    require("queue", name, found)
    return found[name]


_QUEUE: Final = Pausable(
    "queue",
    lambda client, settings, name: require_queue(client, settings, name).pause is not None,
)
