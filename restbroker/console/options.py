"""The options that many commands share: each is declared once, with one text, so that it means the same everywhere.

Used by the commands, as annotations of their parameters. Always holds: an option that means something else in one
command has another name there, or stands in that command's module. Nothing is imported that a command which works
without a configuration does not need.
"""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from restbroker.console import completion


def option(form: str, about: str, offers: completion.Autocompletion | None = None, **more: Any) -> Any:  # noqa: ANN401
    """Declare an option as it stands in a usage line (`--queue QUEUE`), with its help and what Tab offers for it.

    Without a name it has that of its parameter. `more`: as in `typer.Option`.
    """
    words = form.split()
    names = [word for word in words if word.startswith("-")]
    metavar = next((word for word in words if word not in names), None)
    return typer.Option(*names, metavar=metavar, help=about, autocompletion=offers, **more)


def argument(metavar: str, about: str, offers: completion.Autocompletion | None = None) -> Any:  # noqa: ANN401
    """Declare an argument as it stands in a usage line, with its help and what Tab offers for it."""
    return typer.Argument(metavar=metavar, help=about, autocompletion=offers)


def finite(value: float | None) -> float | None:
    """Return the number of an option; raise typer's BadParameter for `nan` and `inf`."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


Jids = Annotated[list[str] | None, argument("[JID]...", "Job ids.")]

WhereOption = Annotated[
    list[str] | None,
    option(
        "--where CONDITION",
        "FIELD OP VALUE, e.g. 'error = BadToken' or 'failed_at older 2h'; repeated: all must hold.",
        completion.conditions,
    ),
]
AllOption = Annotated[bool, option("--all", "All of them.")]
MostOption = Annotated[int | None, option("--limit N", "At most this many.", min=1)]
FirstOption = Annotated[bool, option("--first", "Put them before the jobs that wait in their queues.")]
TargetOption = Annotated[
    str | None, option("--target TARGET", "The target. (default: the one that has this command)", completion.targets)
]
OneTargetOption = Annotated[
    str | None, option("--target TARGET", "The target, if the configuration has several.", completion.targets)
]
TestedTargetsOption = Annotated[
    list[str] | None,
    option(
        "--target TARGET",
        "Test only this target, or with --suggest: only for this one; may be repeated. With --events: use it "
        "to make the server emit an event.",
        completion.targets,
    ),
]
AnyOption = Annotated[bool, option("--any", "Accept unknown commands and arguments as they are.")]
InOption = Annotated[str | None, option("--in DURATION", "Run after this long, e.g. 5m, 2h, 7d.")]
AtOption = Annotated[str | None, option("--at TIME", "Run at this time, e.g. 2030-01-31T08:00+01:00.")]
ToQueueOption = Annotated[str, option("--to QUEUE", "The queue to move them to.", completion.queues)]
RecipientOption = Annotated[str, option("--to JID", "With --events: the recipient, whose event comes to the source.")]
RateOption = Annotated[
    float | None, option("--rate N", "At most this many jobs per second.", min=0.01, callback=finite)
]
ForOption = Annotated[str | None, option("--for DURATION", "How long, e.g. 30m, 2h, 1d. (default: until resumed)")]

WaitOption = Annotated[bool, option("--wait", "Wait until it is done or has failed.")]
TimeoutOption = Annotated[str, option("--timeout DURATION", "How long --wait waits.")]
AnswerTimeoutOption = Annotated[str, option("--timeout DURATION", "How long to wait for the answer.")]

RepeatUnsafeOption = Annotated[
    bool, option("--repeat-unsafe", "Also jobs that may have run and are not safe to repeat: they may run twice.")
]
ForeignQueuesOption = Annotated[bool, option("--foreign-queues", "Also queues that this configuration does not serve.")]
WhyOption = Annotated[str, option("--why TEXT", "The reason, for the audit log, which keeps it as typed.")]
DryRunOption = Annotated[bool, option("--dry-run", "Only show what would be done.")]
YesOption = Annotated[bool, option("--yes -y", "Do not ask.")]

LimitOption = Annotated[int, option("--limit N", "At most this many.", min=1, max=100_000)]
JsonOption = Annotated[bool, option("--json", "Print JSON.")]
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
    int, option("--jobs N", "Read at most this many jobs of each queue or set.", min=1, max=10_000_000)
]
SecondsOption = Annotated[int, option("--seconds N", "Search for this long.", min=1, max=3600)]
JsonLogsOption = Annotated[bool, option("--json-logs", "Write logs as JSON lines.")]
