"""`restbroker queues delete|dead|move|edit`: remove or change the jobs in a queue that match conditions.

`cli.queues` adds them to its commands. Always holds: only jobs that wait when the command begins are meant; what a verb
needs is imported when it runs.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from restbroker.cli.jobs import Change, conditions, edit_of, note_secrets, require_change
from restbroker.config.core import Config
from restbroker.console import arguments, completion
from restbroker.console.groups import command
from restbroker.console.load_config import ConfigOption, load_quietly
from restbroker.console.options import (
    AllOption,
    AnyOption,
    DryRunOption,
    ForeignQueuesOption,
    JsonOption,
    MostOption,
    RepeatUnsafeOption,
    ToQueueOption,
    WhereOption,
    WhyOption,
    YesOption,
)
from restbroker.console.who import who
from restbroker.errors import UsageError
from restbroker.operate.act_job import Action
from restbroker.operate.connect import open_store

if TYPE_CHECKING:
    from restbroker.operate.tally import Progress

QueueName = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue's name.", autocompletion=completion.queues)]
ArgumentWords = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ARGUMENT]...",
        help="Their new arguments: NAME=TEXT, NAME:=JSON, NAME=@FILE, or NAME=- for standard input.",
    ),
]


def add_verbs(app: typer.Typer) -> None:
    """Add these verbs to the command `queues`."""
    _add_delete(app)
    _add_dead(app)
    _add_move(app)
    _add_edit(app)


def _add_delete(app: typer.Typer) -> None:
    @app.command()
    def delete(
        name: QueueName,
        where: WhereOption = None,
        everything: AllOption = False,
        limit: MostOption = None,
        foreign_queues: ForeignQueuesOption = False,
        why: WhyOption = "",
        dry_run: DryRunOption = False,
        yes: YesOption = False,
        json: JsonOption = False,
        config: ConfigOption = None,
    ) -> None:
        """Delete jobs that wait in a queue. There is no copy, and no answer is sent."""
        meant = _Selection(name, where, limit=limit, everything=everything)
        action = Action("delete", who(), why=why, foreign_queues=foreign_queues)
        _act(load_quietly(config), meant, action, dry_run=dry_run, yes=yes, as_json=json)


def _add_dead(app: typer.Typer) -> None:
    @app.command()
    def dead(
        name: QueueName,
        where: WhereOption = None,
        everything: AllOption = False,
        limit: MostOption = None,
        foreign_queues: ForeignQueuesOption = False,
        why: WhyOption = "",
        dry_run: DryRunOption = False,
        yes: YesOption = False,
        json: JsonOption = False,
        config: ConfigOption = None,
    ) -> None:
        """Move jobs that wait in a queue into the dead set. A caller that waits for an answer gets one that says so."""
        meant = _Selection(name, where, limit=limit, everything=everything)
        action = Action("kill", who(), why=why, foreign_queues=foreign_queues)
        _act(load_quietly(config), meant, action, dry_run=dry_run, yes=yes, as_json=json)


def _add_move(app: typer.Typer) -> None:
    @app.command()
    def move(
        name: QueueName,
        queue: ToQueueOption,
        where: WhereOption = None,
        everything: AllOption = False,
        limit: MostOption = None,
        foreign_queues: ForeignQueuesOption = False,
        why: WhyOption = "",
        dry_run: DryRunOption = False,
        yes: YesOption = False,
        json: JsonOption = False,
        config: ConfigOption = None,
    ) -> None:
        """Move jobs that wait in a queue to the end of another queue."""
        meant = _Selection(name, where, limit=limit, everything=everything)
        action = Action("move", who(), queue=queue, why=why, foreign_queues=foreign_queues)
        _act(load_quietly(config), meant, action, dry_run=dry_run, yes=yes, as_json=json)


def _add_edit(app: typer.Typer) -> None:
    @command(app)
    def edit(
        *,
        name: QueueName,
        words: ArgumentWords = None,
        change: Change,
        any_command: AnyOption = False,
        where: WhereOption = None,
        everything: AllOption = False,
        limit: MostOption = None,
        repeat_unsafe: RepeatUnsafeOption = False,
        why: WhyOption = "",
        dry_run: DryRunOption = False,
        yes: YesOption = False,
        json: JsonOption = False,
        config: ConfigOption = None,
    ) -> None:
        """Change jobs that wait in a queue: their arguments or command. They keep their places.

        Changes are checked like a new job. A job that its producer signed cannot be edited.
        """
        settings = load_quietly(config)
        typed = arguments.read(words or ())
        meant_edit = edit_of(settings, typed, change, any_command=any_command)
        require_change(meant_edit, "--unset NAME, --rename OLD=NEW or --command NAME")
        meant = _Selection(name, where, limit=limit, everything=everything)
        action = Action("edit", who(), why=why, repeat_unsafe=repeat_unsafe, edit=meant_edit)
        note_secrets(typed)
        _act(settings, meant, action, dry_run=dry_run, yes=yes, as_json=json)


@attrs.frozen
class _Selection:
    """Which jobs are meant, as it was typed."""

    queue: str
    where: list[str] | None
    limit: int | None
    everything: bool = attrs.field(kw_only=True)


def _act(settings: Config, meant: _Selection, action: Action, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    from restbroker.cli.actions import ActOptions, Operation, ask_for, ask_for_edit, carry_out
    from restbroker.operate import act_waiting, queues
    from restbroker.operate.context import context_of
    from restbroker.operate.names import require

    knows = context_of(settings)
    where = conditions(meant.where, "dead", knows)
    if bool(where) == meant.everything:
        raise UsageError(
            "Say which jobs, in exactly one way.",
            "Give --where CONDITION, or --all; --limit may be added to both.",
        )
    with open_store(settings) as client:
        require("queue", meant.queue, [one.name for one in queues.queues(client, settings.queues)])
        act_waiting.require_sense(meant.queue, action, knows)
        chosen = act_waiting.select(client, meant.queue, where, meant.limit)

        def run(dry_run: bool) -> "Iterator[Progress]":
            return act_waiting.perform(client, action, chosen, config=settings, known=knows, dry_run=dry_run)

        doing = Operation(action, f"the queue {meant.queue}", run)
        how = ActOptions(dry_run=dry_run, yes=yes, as_json=as_json)
        carry_out(doing, how, lambda: ask_for(doing) if action.edit is None else ask_for_edit(doing, how))
