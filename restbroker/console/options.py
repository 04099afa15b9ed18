"""The options that many commands share: each is declared once, with one text, so that it means the same everywhere.

Used by the commands, as annotations of their parameters. Always holds: an option that means something else in one
command has another name there, or stands in that command's module. Nothing is imported that a command which works
without a configuration does not need.
"""

import math
from pathlib import Path
from typing import Annotated

import typer

from restbroker.console import completion


def finite(value: float | None) -> float | None:
    """Return the number of an option; raise typer's BadParameter for `nan` and `inf`."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


Jids = Annotated[list[str] | None, typer.Argument(metavar="[JID]...", help="Job ids.")]

WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="FIELD OP VALUE, e.g. 'error = BadToken' or 'failed_at older 2h'; repeated: all must hold.",
        autocompletion=completion.conditions,
    ),
]
AllOption = Annotated[bool, typer.Option("--all", help="All of them.")]
MostOption = Annotated[int | None, typer.Option("--limit", metavar="N", help="At most this many.", min=1)]
FirstOption = Annotated[bool, typer.Option("--first", help="Put them before the jobs that wait in their queues.")]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="TARGET",
        help="The target. (default: the one that has this command)",
        autocompletion=completion.targets,
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
AnyOption = Annotated[bool, typer.Option("--any", help="Accept unknown commands and arguments as they are.")]
InOption = Annotated[str | None, typer.Option("--in", metavar="DURATION", help="Run after this long, e.g. 5m, 2h, 7d.")]
AtOption = Annotated[
    str | None, typer.Option("--at", metavar="TIME", help="Run at this time, e.g. 2030-01-31T08:00+01:00.")
]
ToQueueOption = Annotated[
    str, typer.Option("--to", metavar="QUEUE", help="The queue to move them to.", autocompletion=completion.queues)
]
RecipientOption = Annotated[
    str, typer.Option("--to", metavar="JID", help="With --events: the recipient, whose event comes to the source.")
]
RateOption = Annotated[
    float | None,
    typer.Option("--rate", metavar="N", min=0.01, callback=finite, help="At most this many jobs per second."),
]
ForOption = Annotated[
    str | None, typer.Option("--for", metavar="DURATION", help="How long, e.g. 30m, 2h, 1d. (default: until resumed)")
]

WaitOption = Annotated[bool, typer.Option("--wait", help="Wait until it is done or has failed.")]
TimeoutOption = Annotated[str, typer.Option("--timeout", metavar="DURATION", help="How long --wait waits.")]
AnswerTimeoutOption = Annotated[
    str, typer.Option("--timeout", metavar="DURATION", help="How long to wait for the answer.")
]

RepeatUnsafeOption = Annotated[
    bool,
    typer.Option("--repeat-unsafe", help="Also jobs that may have run and are not safe to repeat: they may run twice."),
]
ForeignQueuesOption = Annotated[
    bool, typer.Option("--foreign-queues", help="Also queues that this configuration does not serve.")
]
WhyOption = Annotated[
    str, typer.Option("--why", metavar="TEXT", help="The reason, for the audit log, which keeps it as typed.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

LimitOption = Annotated[int, typer.Option("--limit", metavar="N", help="At most this many.", min=1, max=100_000)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The configuration file. (default: $RESTBROKER_CONFIG, ./env.json, /etc/restbroker/env.json)",
        autocompletion=completion.paths,
        # Not tested by Typer, which would say less than our own message does.
        readable=False,
    ),
]
JobsOption = Annotated[
    int,
    typer.Option(
        "--jobs", metavar="N", help="Read at most this many jobs of each queue or set.", min=1, max=10_000_000
    ),
]
SecondsOption = Annotated[int, typer.Option("--seconds", metavar="N", help="Search for this long.", min=1, max=3600)]
JsonLogsOption = Annotated[bool, typer.Option("--json-logs", help="Write logs as JSON lines.")]
