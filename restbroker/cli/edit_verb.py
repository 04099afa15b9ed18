"""`restbroker dead edit`, and that of `retries` and `scheduled`: change the command, arguments or queue of jobs.

Always holds: before anything is changed, the changes are shown, with secrets masked, and a person agrees.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from restbroker.cli import selection
from restbroker.cli.selection import all_conditions
from restbroker.config.core import Config
from restbroker.console import arguments, completion, output, panels
from restbroker.console.load_config import ConfigOption, load_quietly
from restbroker.console.options import (
    AllOption,
    AnyOption,
    DryRunOption,
    GroupOption,
    JsonOption,
    NewerOption,
    OlderOption,
    RateOption,
    RepeatUnsafeOption,
    SinceOption,
    TimeoutOption,
    UntilOption,
    WaitOption,
    WhereOption,
    WhyOption,
    YesOption,
)
from restbroker.console.waiting import waiting_s
from restbroker.console.who import who
from restbroker.errors import UsageError
from restbroker.operate.connect import open_store
from restbroker.store.keys import SortedSet

if TYPE_CHECKING:
    from restbroker.operate.edit import Edit

ArgumentWords = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[JID] [ARGUMENT]...",
        help="The job's id, then its new arguments: NAME=TEXT, NAME:=JSON, NAME=@FILE, or NAME=- for standard input.",
        autocompletion=completion.jids,
    ),
]
UnsetOption = Annotated[
    list[str] | None, typer.Option("--unset", metavar="NAME", help="Remove an argument.", rich_help_panel=panels.WHAT)
]
RenameOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rename",
        metavar="OLD=NEW",
        help="Rename an argument; each job keeps its own value.",
        rich_help_panel=panels.WHAT,
    ),
]
CommandOption = Annotated[
    str | None,
    typer.Option(
        "--command",
        metavar="COMMAND",
        help="Another command.",
        autocompletion=completion.commands,
        rich_help_panel=panels.WHAT,
    ),
]
QueueOption = Annotated[
    str | None,
    typer.Option(
        "--queue", metavar="QUEUE", help="Another queue.", autocompletion=completion.queues, rich_help_panel=panels.WHAT
    ),
]
RetryOption = Annotated[bool, typer.Option("--retry", help="Also return it to its queue.", rich_help_panel=panels.WHAT)]


def add_edit(app: typer.Typer, zset: SortedSet) -> None:
    """Add the verb `edit` to the command of this set."""

    @app.command()
    def edit(
        context: typer.Context,
        words: ArgumentWords = None,
        unset: UnsetOption = None,
        rename: RenameOption = None,
        command: CommandOption = None,
        queue: QueueOption = None,
        retry: RetryOption = False,
        any_command: AnyOption = False,
        where: WhereOption = None,
        since: SinceOption = None,
        until: UntilOption = None,
        older_than: OlderOption = None,
        newer_than: NewerOption = None,
        group: GroupOption = None,
        everything: AllOption = False,
        repeat_unsafe: RepeatUnsafeOption = False,
        why: WhyOption = "",
        rate: RateOption = None,
        wait: WaitOption = False,
        timeout: TimeoutOption = "5m",
        dry_run: DryRunOption = False,
        yes: YesOption = False,
        json: JsonOption = False,
        config: ConfigOption = None,
    ) -> None:
        """Change jobs: their arguments, command or queue. They stay where they are unless --retry runs them now.

        Changes are checked like a new job. A job that its producer signed cannot be edited. With --retry --wait
        it reports the results, and exits with 0: all done; 1: none; 6: timeout; 7: some.
        """
        from restbroker.cli.actions import Action, ActOptions, act
        from restbroker.operate.context import context_of

        settings = load_quietly(config)
        knows = context_of(settings)
        meant = all_conditions(where, zset, (since, until), ages=(older_than, newer_than), group=group)
        jids, typed = _split_words(words or (), is_named=not meant and not everything)
        chosen = selection.selection_of(jids, meant, everything=everything, zset=zset, known=knows)
        change = attrs.evolve(
            edit_of(settings, typed, unset, rename=rename, command=command, any_command=any_command),
            queue=queue,
            retry=retry,
        )
        require_change(
            change, "--unset NAME, --rename OLD=NEW, --command NAME or --queue NAME; to run jobs as they are, use retry"
        )
        if wait and not retry:
            raise UsageError("--wait needs --retry.", "Add --retry.")
        length_s = waiting_s(context, timeout, waits=wait)
        action = Action("edit", who(), why=why, repeat_unsafe=repeat_unsafe, edit=change)
        note_secrets(typed)
        how = ActOptions(dry_run=dry_run, yes=yes, rate_per_s=rate, as_json=json, wait_s=length_s if wait else None)
        act(settings, zset, action, chosen=chosen, known=knows, how=how)


def edit_of(
    settings: Config,
    typed: arguments.TypedArguments,
    unset: Sequence[str] | None,
    rename: Sequence[str] | None,
    command: str | None,
    *,
    any_command: bool,
) -> "Edit":
    """Return the change that was typed; raise `UsageError` if a `rename` is not of the form OLD=NEW."""
    from restbroker.broker.tokens import Tokens
    from restbroker.operate.edit import Edit

    return Edit(
        tokens=Tokens(settings.tokens),
        version=_versions(settings),
        values=typed.values,
        unset=tuple(unset or ()),
        renames=dict(map(_read_rename, rename or ())),
        command=command,
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
            "Say which jobs, in exactly one way.",
            "Give a job id before the arguments, or --where CONDITION, --group ID, or --all.",
        )
    return [words[0]], arguments.read(words[1:])


def require_change(change: "Edit", others: str) -> None:
    """Raise `UsageError` if there is nothing to change, or if two changes of one argument contradict each other.

    `others` names what may be changed besides arguments.
    """
    if not (change.values or change.unset or change.renames or change.command or change.queue):
        raise UsageError("There is nothing to change.", f"Give NAME=TEXT, {others}.")
    if both := next((name for name in change.unset if name in {*change.values, *change.renames}), None):
        raise UsageError(f"The argument {both} is both given or renamed and removed.", "Keep one of the two.")
    if both := next((new for new in change.renames.values() if new in change.values), None):
        raise UsageError(
            f"The argument {both} is given, and another argument is renamed to it.", "Keep one of the two."
        )


def note_secrets(typed: arguments.TypedArguments) -> None:
    """Print a note on each secret that others could read in the command line."""
    from restbroker.job import redact

    for name in sorted(typed.in_the_open):
        if redact.secret_values(None, {name: typed.values[name]}):
            instead = f"use {name}=- or {name}=@FILE."
            output.say(f"note: {name} is visible in the command line, to `ps` and in the shell's history; {instead}")


def _versions(settings: Config) -> Callable[[str], str | None]:
    """Return a function that returns the server's version as a running process of a queue reports it.

    It reads Redis once for each queue; None: not known.
    """
    from restbroker.operate.enqueue import find_process_if_known

    @cache
    def version(queue: str) -> str | None:
        with open_store(settings) as client:
            found = find_process_if_known(client, queue)
        return None if found is None else found.server_version

    return version
