"""The options that many commands share: each is declared once, with one text, so that it means the same everywhere.

Used by the commands, as annotations of their parameters. Always holds: an option that means something else in one
command has another name there, or stands in that command's module; its heading is one of `console.panels`.
"""

from typing import Annotated

import typer

from restbroker.console import completion, panels

Jids = Annotated[list[str] | None, typer.Argument(metavar="[JID]...", help="Job ids.")]

WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="FIELD OP VALUE, e.g. 'error = BadToken' or 'failed_at older 2h'; repeated: all must hold.",
        autocompletion=completion.conditions,
        rich_help_panel=panels.WHICH,
    ),
]
AllOption = Annotated[bool, typer.Option("--all", help="All of them.", rich_help_panel=panels.WHICH)]
MostOption = Annotated[
    int | None, typer.Option("--limit", metavar="N", help="At most this many.", min=1, rich_help_panel=panels.WHICH)
]
FirstOption = Annotated[
    bool,
    typer.Option("--first", help="Put them before the jobs that wait in their queues.", rich_help_panel=panels.WHAT),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="TARGET",
        help="The target. (default: the one that has this command)",
        autocompletion=completion.targets,
        rich_help_panel=panels.WHAT,
    ),
]
OneTargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="TARGET",
        help="The target, if the configuration has several.",
        autocompletion=completion.targets,
    ),
]
TestedTargetsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="TARGET",
        help="Test only this target, or with --suggest: only for this one; may be repeated. With --events: use it "
        "to make the server emit an event.",
        autocompletion=completion.targets,
    ),
]
AnyOption = Annotated[
    bool,
    typer.Option("--any", help="Accept unknown commands and arguments as they are.", rich_help_panel=panels.WHAT),
]
InOption = Annotated[
    str | None,
    typer.Option("--in", metavar="DURATION", help="Run after this long, e.g. 5m, 2h, 7d.", rich_help_panel=panels.WHAT),
]
AtOption = Annotated[
    str | None,
    typer.Option(
        "--at", metavar="TIME", help="Run at this time, e.g. 2030-01-31T08:00+01:00.", rich_help_panel=panels.WHAT
    ),
]
ToQueueOption = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="QUEUE",
        help="The queue to move them to.",
        autocompletion=completion.queues,
        rich_help_panel=panels.WHAT,
    ),
]
RecipientOption = Annotated[
    str, typer.Option("--to", metavar="JID", help="With --events: the recipient, whose event comes to the source.")
]
RateOption = Annotated[
    float | None,
    typer.Option(
        "--rate", metavar="N", min=0.01, help="At most this many jobs per second.", rich_help_panel=panels.WHAT
    ),
]
ForOption = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="DURATION",
        help="How long, e.g. 30m, 2h, 1d. (default: until resumed)",
        rich_help_panel=panels.WHAT,
    ),
]

WaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait until it is done or has failed.", rich_help_panel=panels.ANSWER)
]
TimeoutOption = Annotated[
    str, typer.Option("--timeout", metavar="DURATION", help="How long --wait waits.", rich_help_panel=panels.ANSWER)
]
AnswerTimeoutOption = Annotated[
    str, typer.Option("--timeout", metavar="DURATION", help="How long to wait for the answer.")
]

RepeatUnsafeOption = Annotated[
    bool,
    typer.Option(
        "--repeat-unsafe",
        help="Also jobs that may have run and are not safe to repeat: they may run twice.",
        rich_help_panel=panels.SAFETY,
    ),
]
ForeignQueuesOption = Annotated[
    bool,
    typer.Option(
        "--foreign-queues", help="Also queues that this configuration does not serve.", rich_help_panel=panels.SAFETY
    ),
]
WhyOption = Annotated[
    str, typer.Option("--why", metavar="TEXT", help="The reason, for the audit log.", rich_help_panel=panels.SAFETY)
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only show what would be done.", rich_help_panel=panels.SAFETY)
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", rich_help_panel=panels.SAFETY)]

LimitOption = Annotated[
    int,
    typer.Option("--limit", metavar="N", help="At most this many.", min=1, max=100_000, rich_help_panel=panels.OUTPUT),
]
JsonOption = panels.JsonOption
JsonLogsOption = Annotated[bool, typer.Option("--json-logs", help="Write logs as JSON lines.")]
