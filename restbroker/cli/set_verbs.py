"""The verbs of `dead`, `retries` and `scheduled`: list, show, retry, delete, kill, reschedule, move.

Each of the three modules makes its commands here. Always holds: a verb means the same for every set; what a verb needs
is imported when it runs, since most often the jobs are only listed.
"""

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from restbroker.cli import selection
from restbroker.cli.selection import all_conditions
from restbroker.config.core import Config
from restbroker.console import completion, output, panels
from restbroker.console.load_config import ConfigOption, load_quietly
from restbroker.console.options import (
    AllOption,
    AtOption,
    DryRunOption,
    FirstOption,
    ForeignQueuesOption,
    GroupOption,
    InOption,
    Jids,
    JsonOption,
    LimitOption,
    MostOption,
    NewerOption,
    OlderOption,
    RateOption,
    RepeatUnsafeOption,
    SinceOption,
    TimeoutOption,
    ToQueueOption,
    UntilOption,
    WaitOption,
    WhereOption,
    WhyOption,
    YesOption,
)
from restbroker.console.times import at_s
from restbroker.console.waiting import waiting_s
from restbroker.console.who import who
from restbroker.errors import UsageError
from restbroker.operate.connect import open_store
from restbroker.store.keys import SortedSet

if TYPE_CHECKING:
    from restbroker.cli.actions import Action, ActOptions
    from restbroker.operate.entry import Entry

AfterOption = Annotated[
    str | None,
    typer.Option(
        "--after",
        metavar="PLACE",
        help="Continue after this place, as the previous list printed it.",
        rich_help_panel=panels.OUTPUT,
    ),
]
JidWord = Annotated[str, typer.Argument(metavar="JID", help="The job's id.", autocompletion=completion.jids)]
_COMMANDS: Final[dict[SortedSet, str]] = {"dead": "dead", "retry": "retries", "schedule": "scheduled"}


def add_verbs(app: typer.Typer, zset: SortedSet) -> None:
    """Add the verbs to the command of this set."""
    _add_readers(app, zset)
    _add_retry(app, zset)
    _add_delete(app, zset)
    _add_reschedule(app, zset)
    _add_move(app, zset)
    if zset != "dead":
        _add_kill(app, zset)


def listing(
    settings: Config, zset: SortedSet, *, where: list[str] | None, limit: int, after: str | None, as_json: bool
) -> None:
    """Print at most `limit` jobs that match the conditions, from the place `after` on, and how to continue."""
    from restbroker.cli import entries
    from restbroker.operate import find
    from restbroker.operate.context import context_of

    knows = context_of(settings)
    conditions = selection.conditions(where, zset, knows)
    found: list[Entry] = []
    looked_at = total = 0
    with open_store(settings) as client:
        while True:
            page = find.page(client, zset, conditions, knows, after=after, limit=limit - len(found))
            found += page.entries
            looked_at, total, after = looked_at + page.looked_at, page.total, page.after
            if after is None or len(found) >= limit:
                break
    entries.write(found, as_json=as_json)
    more = f"{len(found)} of {output.jobs(total)}" if total > len(found) else output.jobs(len(found))
    if after is not None and conditions:
        more = f"{output.jobs(len(found))} shown, of the first {looked_at} of {total}"
    output.say(f"{more} in the {zset} set.")
    name = _COMMANDS[zset]
    if found and sys.stderr.isatty():
        jid = next((job.jid for job in found if job.jid), "JID")
        output.say(f"Details of one: restbroker explain {jid}. To run it now: restbroker {name} retry {jid}")
    if total > len(found) and zset != "schedule":
        output.say(f"Why they failed: restbroker {name} summary")
    if after is not None:
        output.say(f"Continue with: restbroker {name} list --after {after}")


def _add_readers(app: typer.Typer, zset: SortedSet) -> None:
    @app.command("list")
    def listed(
        where: WhereOption = None,
        since: SinceOption = None,
        until: UntilOption = None,
        older_than: OlderOption = None,
        newer_than: NewerOption = None,
        group: GroupOption = None,
        limit: LimitOption = 20,
        after: AfterOption = None,
        json: JsonOption = False,
        config: ConfigOption = None,
    ) -> None:
        """List jobs for which all conditions hold.

        In a pipe each line is: when (UTC), job id, command, error class, message.
        """
        settings = load_quietly(config)
        listing(
            settings,
            zset,
            where=all_conditions(where, zset, (since, until), ages=(older_than, newer_than), group=group),
            limit=limit,
            after=after,
            as_json=json,
        )

    @app.command()
    def show(jid: JidWord, json: JsonOption = False, config: ConfigOption = None) -> None:
        """Show one job and its last tries. Secrets are masked."""
        from restbroker.cli import entries
        from restbroker.operate import find
        from restbroker.operate.context import context_of

        settings = load_quietly(config)
        with open_store(settings) as client:
            entry = find.one(client, zset, jid, context_of(settings))
        if entry is None:
            raise _not_found(zset, jid)
        if json:
            output.as_json(entries.all_fields(entry))
        else:
            output.table(("", ""), list(entries.properties(entry)))


def _add_retry(app: typer.Typer, zset: SortedSet) -> None:
    @app.command()
    def retry(
        context: typer.Context,
        jids: Jids = None,
        where: WhereOption = None,
        since: SinceOption = None,
        until: UntilOption = None,
        older_than: OlderOption = None,
        newer_than: NewerOption = None,
        group: GroupOption = None,
        everything: AllOption = False,
        limit: MostOption = None,
        first: FirstOption = False,
        repeat_unsafe: RepeatUnsafeOption = False,
        foreign_queues: ForeignQueuesOption = False,
        why: WhyOption = "",
        rate: RateOption = None,
        wait: WaitOption = False,
        timeout: TimeoutOption = "5m",
        dry_run: DryRunOption = False,
        yes: YesOption = False,
        json: JsonOption = False,
        config: ConfigOption = None,
    ) -> None:
        """Return jobs to their queues, behind those that wait there. This does not use up a try.

        With --wait it reports the results, and exits with 0: all done; 1: none; 6: timeout; 7: some.
        """
        from restbroker.cli.actions import Action, ActOptions

        length_s = waiting_s(context, timeout, waits=wait)
        how = ActOptions(dry_run=dry_run, yes=yes, rate_per_s=rate, as_json=json, wait_s=length_s if wait else None)
        action = Action(
            "retry", who(), why=why, repeat_unsafe=repeat_unsafe, foreign_queues=foreign_queues, first=first
        )
        meant = all_conditions(where, zset, (since, until), ages=(older_than, newer_than), group=group)
        _act(load_quietly(config), zset, action, jids=jids, where=meant, everything=everything, how=how, limit=limit)


def _add_delete(app: typer.Typer, zset: SortedSet) -> None:
    @app.command()
    def delete(
        jids: Jids = None,
        where: WhereOption = None,
        since: SinceOption = None,
        until: UntilOption = None,
        older_than: OlderOption = None,
        newer_than: NewerOption = None,
        group: GroupOption = None,
        everything: AllOption = False,
        why: WhyOption = "",
        rate: RateOption = None,
        dry_run: DryRunOption = False,
        yes: YesOption = False,
        json: JsonOption = False,
        config: ConfigOption = None,
    ) -> None:
        """Delete jobs: they never run. A copy of a dead job stays, with its arguments; `dead --trimmed` lists it."""
        from restbroker.cli.actions import Action, ActOptions

        how = ActOptions(dry_run=dry_run, yes=yes, rate_per_s=rate, as_json=json)
        action = Action("delete", who(), why=why)
        meant = all_conditions(where, zset, (since, until), ages=(older_than, newer_than), group=group)
        _act(load_quietly(config), zset, action, jids=jids, where=meant, everything=everything, how=how)


def _add_kill(app: typer.Typer, zset: SortedSet) -> None:
    @app.command()
    def kill(
        jids: Jids = None,
        where: WhereOption = None,
        since: SinceOption = None,
        until: UntilOption = None,
        older_than: OlderOption = None,
        newer_than: NewerOption = None,
        group: GroupOption = None,
        everything: AllOption = False,
        why: WhyOption = "",
        rate: RateOption = None,
        dry_run: DryRunOption = False,
        yes: YesOption = False,
        json: JsonOption = False,
        config: ConfigOption = None,
    ) -> None:
        """Move jobs into the dead set. They run only if someone retries them."""
        from restbroker.cli.actions import Action, ActOptions

        how = ActOptions(dry_run=dry_run, yes=yes, rate_per_s=rate, as_json=json)
        action = Action("kill", who(), why=why)
        meant = all_conditions(where, zset, (since, until), ages=(older_than, newer_than), group=group)
        _act(load_quietly(config), zset, action, jids=jids, where=meant, everything=everything, how=how)


def _add_reschedule(app: typer.Typer, zset: SortedSet) -> None:
    @app.command()
    def reschedule(
        jids: Jids = None,
        where: WhereOption = None,
        since: SinceOption = None,
        until: UntilOption = None,
        older_than: OlderOption = None,
        newer_than: NewerOption = None,
        group: GroupOption = None,
        everything: AllOption = False,
        delay: InOption = None,
        at: AtOption = None,
        repeat_unsafe: RepeatUnsafeOption = False,
        foreign_queues: ForeignQueuesOption = False,
        why: WhyOption = "",
        rate: RateOption = None,
        dry_run: DryRunOption = False,
        yes: YesOption = False,
        json: JsonOption = False,
        config: ConfigOption = None,
    ) -> None:
        """Give jobs another time to run. Dead ones move to the retries."""
        from restbroker.cli.actions import Action, ActOptions

        moment_s = at_s(delay, at)
        if moment_s is None:
            raise UsageError("No new time is given.", "Add --in 5m, or --at 2030-01-31T08:00+01:00.")
        action = Action(
            "reschedule", who(), at_s=moment_s, why=why, repeat_unsafe=repeat_unsafe, foreign_queues=foreign_queues
        )
        how = ActOptions(dry_run=dry_run, yes=yes, rate_per_s=rate, as_json=json)
        meant = all_conditions(where, zset, (since, until), ages=(older_than, newer_than), group=group)
        _act(load_quietly(config), zset, action, jids=jids, where=meant, everything=everything, how=how)


def _add_move(app: typer.Typer, zset: SortedSet) -> None:
    @app.command()
    def move(
        queue: ToQueueOption,
        jids: Jids = None,
        where: WhereOption = None,
        since: SinceOption = None,
        until: UntilOption = None,
        older_than: OlderOption = None,
        newer_than: NewerOption = None,
        group: GroupOption = None,
        everything: AllOption = False,
        foreign_queues: ForeignQueuesOption = False,
        why: WhyOption = "",
        rate: RateOption = None,
        dry_run: DryRunOption = False,
        yes: YesOption = False,
        json: JsonOption = False,
        config: ConfigOption = None,
    ) -> None:
        """Give jobs another queue. They stay in the set, and go to that queue when they are retried or due."""
        from restbroker.cli.actions import Action, ActOptions

        settings = load_quietly(config)
        if queue not in settings.queues and not foreign_queues:
            served = ", ".join(settings.queues)
            raise UsageError(
                f"No target of this configuration serves the queue {queue!r}.",
                f"This configuration serves: {served}. If you mean exactly this one, add --foreign-queues.",
            )
        how = ActOptions(dry_run=dry_run, yes=yes, rate_per_s=rate, as_json=json)
        action = Action("move", who(), queue=queue, why=why, foreign_queues=foreign_queues)
        _act(
            settings,
            zset,
            action,
            jids=jids,
            where=all_conditions(where, zset, (since, until), ages=(older_than, newer_than), group=group),
            everything=everything,
            how=how,
        )


def _act(
    settings: Config,
    zset: SortedSet,
    action: "Action",
    jids: list[str] | None,
    where: list[str] | None,
    *,
    everything: bool,
    how: "ActOptions",
    limit: int | None = None,
) -> None:
    from restbroker.cli.actions import act
    from restbroker.operate.context import context_of

    knows = context_of(settings)
    chosen = selection.selection_of(jids, where, everything=everything, zset=zset, known=knows, limit=limit)
    act(settings, zset, action, chosen=chosen, known=knows, how=how)


def _not_found(zset: SortedSet, jid: str) -> UsageError:
    return UsageError(
        f"There is no job {jid} in the {zset} set.",
        f"restbroker {_COMMANDS[zset]} lists the existing ones; restbroker explain {jid} searches everywhere.",
    )
