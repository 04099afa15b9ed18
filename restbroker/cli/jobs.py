"""`restbroker dead`, `retries` and `scheduled`: the jobs of Sidekiq's sets; list, show, count and change them.

`cli.app` takes the three commands from here. Always holds: a verb means the same for every set; without a verb they
are listed; the jobs to change are named in exactly one way, and a missing option never means all; what changes jobs is
imported when a verb needs it, since most often they are only listed.
"""

import math
import shlex
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args

import attrs
import typer

from restbroker.cli import entries
from restbroker.config.core import Config
from restbroker.console import arguments, columns, completion, output
from restbroker.console.lists import ListsFirst
from restbroker.console.load_config import load_quietly
from restbroker.console.options import (
    AfterOption,
    AllOption,
    AnyOption,
    AtOption,
    Chosen,
    ConfigOption,
    FirstOption,
    ForeignQueuesOption,
    InOption,
    LimitOption,
    MostOption,
    Output,
    Paced,
    RepeatUnsafeOption,
    Risk,
    TimeoutOption,
    ToQueueOption,
    WaitOption,
    WhereOption,
    WhyOption,
    argument,
    command,
    option,
)
from restbroker.console.progress import progress
from restbroker.console.times import at_s, waiting_s
from restbroker.console.who import who
from restbroker.errors import UsageError
from restbroker.light import frozen
from restbroker.operate import find, where
from restbroker.operate.connect import open_store
from restbroker.operate.context import ConfigContext, context_of
from restbroker.operate.job import StoredJob, retry_options
from restbroker.store.keys import SortedSet

if TYPE_CHECKING:
    from restbroker.operate.act_job import Verb
    from restbroker.operate.edit import Edit

JidWord = Annotated[str, argument("JID", "The job's id.")]
ArgumentWords = Annotated[
    list[str] | None,
    argument(
        "[JID] [ARGUMENT]...",
        "The job's id, then its new arguments: NAME=TEXT, NAME:=JSON, NAME=@FILE, or NAME=- for standard input.",
    ),
]
RetryOption = Annotated[bool, option("--retry", "Also return it to its queue.")]
QueueOption = Annotated[str | None, option("--queue QUEUE", "Another queue.", completion.queues)]
SETS: Final[dict[str, SortedSet]] = {entries.COMMANDS[zset]: zset for zset in get_args(SortedSet)}
"""The commands, each with its set."""
_HELP: Final = {
    "dead": "Show dead jobs, newest first, or act on them.",
    "retries": "Show jobs that wait for their next try, next one first, or act on them.",
    "scheduled": "Show jobs that run later, next one first, or act on them.",
}
_SUMMARY_S: Final = 600.0
_WHOLE: Final = find.SearchLimits(seconds=math.inf, jobs=10**12)


@frozen
class JobChange:
    """What an edit changes in a job besides the values that are given."""

    unset: Annotated[list[str] | None, option("--unset NAME", "Remove an argument.")] = None
    rename: Annotated[
        list[str] | None, option("--rename OLD=NEW", "Rename an argument; each job keeps its own value.")
    ] = None
    command: Annotated[str | None, option("--command COMMAND", "Another command.", completion.commands)] = None


def set_app(name: str) -> typer.Typer:
    """Return the command of this name, which is one of `SETS`."""
    zset = SETS[name]
    about = f"{_HELP[name]} Arguments and tokens are not listed. Without a command: list."
    app = typer.Typer(cls=ListsFirst, add_completion=False, help=about)
    _add_readers(app, zset)
    _add_movers(app, zset)
    if zset == "dead":
        _add_restore(app)
    else:
        _add_kill(app, zset)
    _add_edit(app, zset)
    if zset != "schedule":
        _add_summary(app, zset)
    return app


def _add_readers(app: typer.Typer, zset: SortedSet) -> None:
    @command(app, "list")
    def listed(*, where: WhereOption = None, limit: LimitOption = 20, after: AfterOption = None, how: Output) -> None:
        """List jobs for which all conditions hold.

        In a pipe each line is: when (UTC), job id, command, error class, message.
        """
        _list(how, zset, where, limit=limit, after=after)

    @command(app)
    def show(jid: JidWord, how: Output) -> None:
        """Show one job and its last tries. Secrets are masked."""
        settings = how.settings()
        with open_store(settings) as client, progress(client):
            found = find.locate(client, zset, jid)
        if found.member is None:
            longer = "" if found.complete else " --seconds 60"
            name = entries.COMMANDS[zset]
            hint = f"restbroker {name} lists the existing ones; restbroker explain {jid}{longer} searches everywhere."
            if longer:
                raise UsageError(f"No job {jid} was found in the {zset} set in 10 s; it may still be there.", hint)
            raise UsageError(f"There is no job {jid} in the {zset} set.", hint)
        entry = StoredJob(*found.member, context_of(settings)).shown()
        if how.json:
            output.as_json(entries.all_fields(entry))
        else:
            columns.rows(("", ""), list(entries.properties(entry)))


def _list(how: Output, zset: SortedSet, typed: list[str] | None, *, limit: int, after: str | None) -> None:
    """Print at most `limit` jobs that match the conditions, from the place `after` on, and how to continue."""
    settings = how.settings()
    knows = context_of(settings)
    meant = conditions(typed, zset, knows)
    with open_store(settings) as client:
        page = find.page(client, zset, meant, knows, after=after, limit=limit, limits=_WHOLE)
    found, total, after = page.entries, page.total, page.after
    entries.write(found, as_json=how.json)
    more = f"{len(found)} of {output.jobs(total)}" if total > len(found) else output.jobs(len(found))
    if after is not None and meant:
        more = f"{output.jobs(len(found))} shown, of the first {page.looked_at:,} of {total:,}"
    output.say(f"{more} in the {zset} set.")
    name = entries.COMMANDS[zset]
    if found and sys.stderr.isatty():
        free = next((job.jid for job in found if job.jid and retry_options(job) == ""), None)
        jid = shlex.quote(free or next((job.jid for job in found if job.jid), "JID"))
        run = f" To run it now: restbroker {name} retry {jid}" if free else ""
        output.say(f"Details of one: restbroker explain {jid}.{run}")
    if total > len(found) and zset != "schedule":
        output.say(f"Why they failed: restbroker {name} summary")
    if after is not None:
        output.say(f"For the next ones run the same command again with --after {after}")


def _add_movers(app: typer.Typer, zset: SortedSet) -> None:
    @command(app)
    def retry(
        *,
        context: typer.Context,
        chosen: Chosen,
        first: FirstOption = False,
        risk: Risk,
        paced: Paced,
        wait: WaitOption = False,
        timeout: TimeoutOption = "5m",
        how: Output,
    ) -> None:
        """Return jobs to their queues, behind those that wait there. This does not use up a try.

        With --wait it reports the results, and exits with 0: all done; 1: none; 6: timeout; 7: some.
        """
        length_s = waiting_s(context, timeout, waits=wait)
        wait_s = length_s if wait else None
        _act("retry", zset, chosen, paced, how, wait_s=wait_s, first=first, **attrs.asdict(risk))

    @command(app)
    def delete(chosen: Chosen, paced: Paced, how: Output) -> None:
        """Delete jobs: they never run. A copy of a dead job stays, with its arguments: see `dead restore`."""
        _act("delete", zset, chosen, paced, how)

    @command(app)
    def reschedule(
        *, chosen: Chosen, delay: InOption = None, at: AtOption = None, risk: Risk, paced: Paced, how: Output
    ) -> None:
        """Give jobs another time to run. Dead ones move to the retries."""
        moment_s = at_s(delay, at)
        if moment_s is None:
            raise UsageError("No new time is given.", "Add --in 5m, or --at 2030-01-31T08:00+01:00.")
        _act("reschedule", zset, chosen, paced, how, at_s=moment_s, **attrs.asdict(risk))

    @command(app)
    def move(
        *, queue: ToQueueOption, chosen: Chosen, foreign_queues: ForeignQueuesOption = False, paced: Paced, how: Output
    ) -> None:
        """Give jobs another queue. They stay in the set, and go to that queue when they are retried or due."""
        settings = how.settings()
        if queue not in settings.queues and not foreign_queues:
            raise UsageError(
                f"No target of this configuration serves the queue {queue!r}.",
                f"This configuration serves: {', '.join(settings.queues)}."
                " If you mean exactly this one, add --foreign-queues.",
            )
        _act("move", zset, chosen, paced, how, settings=settings, queue=queue, foreign_queues=foreign_queues)


def _add_kill(app: typer.Typer, zset: SortedSet) -> None:
    @command(app)
    def kill(chosen: Chosen, paced: Paced, how: Output) -> None:
        """Move jobs into the dead set. They run only if someone retries them."""
        _act("kill", zset, chosen, paced, how)


def _add_restore(app: typer.Typer) -> None:
    @command(app)
    def restore(jid: JidWord, why: WhyOption = "", config: ConfigOption = None) -> None:
        """Put a job that left the dead set back into it: trimmed, retried or deleted. It does not run."""
        from restbroker.operate import dead_copies

        with open_store(load_quietly(config)) as client, progress(client):
            dead_copies.restore(client, jid, who(), why)
        output.say(f"{jid} is dead again. It may have run since it died: restbroker explain {shlex.quote(jid)}")


def _add_edit(app: typer.Typer, zset: SortedSet) -> None:
    @command(app)
    def edit(
        *,
        context: typer.Context,
        words: ArgumentWords = None,
        change: JobChange,
        queue: QueueOption = None,
        retry: RetryOption = False,
        first: FirstOption = False,
        any_command: AnyOption = False,
        where: WhereOption = None,
        everything: AllOption = False,
        limit: MostOption = None,
        repeat_unsafe: RepeatUnsafeOption = False,
        paced: Paced,
        wait: WaitOption = False,
        timeout: TimeoutOption = "5m",
        how: Output,
    ) -> None:
        """Change jobs: their arguments, command or queue. They stay where they are unless --retry runs them now.

        Changes are checked like a new job. A job that its producer signed cannot be edited. With --retry --wait
        it reports the results, and exits with 0: all done; 1: none; 6: timeout; 7: some.
        """
        jids, typed = _split_words(words or (), is_named=not where and not everything)
        settings = how.settings()
        meant = attrs.evolve(_edit_of(settings, typed, change, any_command=any_command), queue=queue, retry=retry)
        _require_change(meant)
        if (wait or first) and not retry:
            raise UsageError(f"--{'wait' if wait else 'first'} needs --retry.", "Add --retry.")
        length_s = waiting_s(context, timeout, waits=wait)
        arguments.note_secrets(None, typed)
        _act(
            "edit",
            zset,
            Chosen(jids, where, everything, limit),
            paced,
            how,
            settings=settings,
            wait_s=length_s if wait else None,
            first=first,
            repeat_unsafe=repeat_unsafe,
            edit=meant,
        )


def _add_summary(app: typer.Typer, zset: Literal["dead", "retry"]) -> None:
    @command(app)
    def summary(*, where: WhereOption = None, limit: LimitOption = 20, how: Output) -> None:
        """Count failed jobs by cause, with an example of each: all jobs, or those for which all conditions hold.

        A group has the same code, command, target and message; numbers, JIDs, hosts and quoted text in the message may
        differ. In a pipe each line is: group, jobs, share, target, command, code, first and last failure (UTC), job id
        of the newest, message.
        """
        from restbroker.operate.summary import Summaries

        settings = how.settings()
        knows = context_of(settings)
        with open_store(settings) as client, progress(client):
            found = Summaries(zset, knows, where=conditions(where, zset, knows)).now(client, _SUMMARY_S)
        entries.write_summary(found, zset, limit, as_json=how.json)


def _act(
    verb: "Verb",
    zset: SortedSet,
    chosen: Chosen,
    paced: Paced,
    how: Output,
    *,
    settings: Config | None = None,
    wait_s: float | None = None,
    **more: Any,  # noqa: ANN401 - fields of `Action`, which is not imported for a list
) -> None:
    """Do this with the chosen jobs. Raise `UsageError` unless they are named in exactly one way."""
    from restbroker.cli.actions import Action, PlannedAction
    from restbroker.operate.act_set import SetJobs

    settings = settings or how.settings()
    known = context_of(settings)
    meant = conditions(chosen.where, zset, known)
    if [bool(chosen.jids), bool(meant), chosen.everything].count(True) != 1:
        raise UsageError("Say which jobs, in exactly one way.", "Give job ids, or --where CONDITION, or --all.")
    jobs = SetJobs(zset, tuple(chosen.jids or ()), meant, limit=chosen.limit, rate_per_s=paced.rate)
    action = Action(verb, who(), why=paced.why, **more)
    with open_store(settings) as client:
        PlannedAction(client, action, known, dry_run=paced.dry_run, yes=paced.yes, as_json=how.json, wait_s=wait_s).act(
            jobs
        )


def conditions(typed: Sequence[str] | None, zset: SortedSet, known: ConfigContext) -> where.Where:
    """Return the conditions that were typed behind `--where`; raise `UsageError` if one cannot be read."""
    return where.read(typed or (), time.time(), ahead=zset != "dead", hidden=known.hidden)


def _edit_of(settings: Config, typed: arguments.TypedArguments, change: JobChange, *, any_command: bool) -> "Edit":
    """Return the change that was typed; raise `UsageError` if a `rename` is not of the form OLD=NEW."""
    from restbroker.broker.tokens import Tokens
    from restbroker.operate.edit import Edit

    return Edit(
        tokens=Tokens(settings.tokens),
        values=typed.values,
        unset=tuple(change.unset or ()),
        renames=dict(map(_read_rename, change.rename or ())),
        command=change.command,
        any_command=any_command,
    )


def _read_rename(typed: str) -> tuple[str, str]:
    old, _, new = typed.partition("=")
    if not old or not new or old == new:
        raise UsageError("--rename takes two names.", "For example: --rename passwd=password")
    return old, new


def _split_words(words: Sequence[str], *, is_named: bool) -> tuple[list[str], arguments.TypedArguments]:
    """Return the job's id, if one is to be named, and the arguments; raise `UsageError` if the words do not fit."""
    if not is_named:
        return [], arguments.read(words)
    if not words or arguments.is_assignment(words[0]):
        raise UsageError(
            "Say which jobs, in exactly one way.", "Give a job id before the arguments, or --where CONDITION, or --all."
        )
    return [words[0]], arguments.read(words[1:])


def _require_change(change: "Edit") -> None:
    """Raise `UsageError` if there is nothing to change, or if two changes of one argument contradict each other."""
    if not (change.values or change.unset or change.renames or change.command or change.queue):
        raise UsageError(
            "There is nothing to change.",
            "Give NAME=TEXT, --unset NAME, --rename OLD=NEW, --command NAME or --queue NAME; to run jobs as they are,"
            " use retry.",
        )
    if both := next((name for name in change.unset if name in {*change.values, *change.renames}), None):
        raise UsageError(f"The argument {both} is both given or renamed and removed.", "Keep one of the two.")
    if both := next((new for new in change.renames.values() if new in change.values), None):
        raise UsageError(
            f"The argument {both} is given, and another argument is renamed to it.", "Keep one of the two."
        )
