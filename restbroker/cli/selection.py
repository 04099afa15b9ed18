"""Which jobs a command is about. Used by the verbs of `dead`, `retries` and `scheduled`.

Always holds: it is said in exactly one way; nobody means all by leaving something out.
"""

import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from restbroker.console import completion, panels
from restbroker.errors import UsageError
from restbroker.store.keys import SortedSet

if TYPE_CHECKING:  # a list without conditions does without them
    from restbroker.operate.act import Selection
    from restbroker.operate.context import ConfigContext
    from restbroker.operate.where import Where

Jids = Annotated[list[str] | None, typer.Argument(metavar="[JID]...", help="Job ids.", autocompletion=completion.jids)]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="FIELD OP VALUE, e.g. 'error = BadToken' or 'failed_at < yesterday'; several all must hold.",
        autocompletion=completion.conditions,
        rich_help_panel=panels.WHICH,
    ),
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Only from this time on: parked, first failed (retries) or due, e.g. 2h, yesterday.",
        rich_help_panel=panels.WHICH,
    ),
]
UntilOption = Annotated[
    str | None,
    typer.Option(
        "--until",
        metavar="TIME",
        help="Only before this time, of a day before its beginning.",
        rich_help_panel=panels.WHICH,
    ),
]
OlderOption = Annotated[
    str | None,
    typer.Option(
        "--older-than",
        metavar="SPAN",
        help="Only what is older than that, by the same time, e.g. 2h, 4w. Not for scheduled.",
        rich_help_panel=panels.WHICH,
    ),
]
NewerOption = Annotated[
    str | None,
    typer.Option(
        "--newer-than",
        metavar="SPAN",
        help="Only what is not so old yet, by the same time. Not for scheduled.",
        rich_help_panel=panels.WHICH,
    ),
]
GroupOption = Annotated[
    list[str] | None,
    typer.Option(
        "--group",
        metavar="ID",
        help="Only jobs that failed of one cause, as `summary` names it. Not for scheduled.",
        autocompletion=completion.groups,
        rich_help_panel=panels.WHICH,
    ),
]
AllOption = Annotated[bool, typer.Option("--all", help="All jobs of the set.", rich_help_panel=panels.WHICH)]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only count, and show the first.", rich_help_panel=panels.SAFETY)
]
WaitOption = Annotated[
    bool,
    typer.Option("--wait", help="Wait until they are done or have failed again.", rich_help_panel=panels.ANSWER),
]
TimeoutOption = Annotated[str, typer.Option(help="How long --wait waits.", rich_help_panel=panels.ANSWER)]
RateOption = Annotated[
    float | None, typer.Option("--rate", min=0.01, help="At most so many jobs a second.", rich_help_panel=panels.WHAT)
]
RepeatUnsafeOption = Annotated[
    bool,
    typer.Option(
        "--repeat-unsafe",
        help="Also what may have run and is not safe to repeat: it may happen twice.",
        rich_help_panel=panels.SAFETY,
    ),
]
ForeignQueuesOption = Annotated[
    bool,
    typer.Option(
        "--foreign-queues", help="Also to queues that this configuration does not serve.", rich_help_panel=panels.SAFETY
    ),
]
WhyOption = Annotated[
    str, typer.Option("--why", help="For the audit, and for whoever finds the job.", rich_help_panel=panels.SAFETY)
]


_GROUP: Final = re.compile("[0-9a-f]{10}", re.ASCII)
_TIMES: Final[Mapping[SortedSet, str]] = {"dead": "at", "retry": "failed_at", "schedule": "at"}


def within(
    typed: Sequence[str] | None,
    zset: SortedSet,
    bounds: tuple[str | None, str | None],
    ages: tuple[str | None, str | None],
    group: Sequence[str] | None = None,
) -> list[str]:
    """What was typed behind `--where`, with the options for times as the conditions that they stand for.

    `bounds`: `--since` and `--until`; `ages`: `--older-than` and `--newer-than`; `group`: `--group`. A parked
    job's time is when it was parked, a retry's when it first failed, and a scheduled one's when it is due: it has no
    age. Raises `UsageError`.
    """
    found = [*(typed or ()), *_of_group(group or (), zset)]
    if not any((*bounds, *ages)):
        return found
    from restbroker.operate import where as rule

    field, now_s = _TIMES[zset], time.time()
    for option, value in zip(("--since", "--until"), bounds, strict=True):
        if value is not None and not value.strip(" +-")[:1].isalnum():
            raise UsageError(
                f"{option} takes a time, and {value!r} is none.", f"For example: {option} 2h, or {option} yesterday."
            )
        if value is not None:
            op: Literal["<", ">"] = ">" if option == "--since" else "<"
            found.append(rule.bound(field, op, value.strip(), now_s, ahead=zset != "dead"))
    for option, value in zip(("--older-than", "--newer-than"), ages, strict=True):
        if value is not None and zset == "schedule":
            raise UsageError(
                f"{option} is not for scheduled jobs: their time is when they are due, and it lies ahead.",
                "Due within two hours: --until 2h; later: --since 2h; or a date: --where 'at < 2026-11-20T08:00'.",
            )
        if value is not None:
            condition = rule.older(field, value.strip(), now_s, is_older=option == "--older-than")
            if condition is None:
                raise UsageError(f"{option} takes a span of time, and {value!r} is none.", f"For example: {option} 2h")
            found.append(condition)
    return found


def _of_group(groups: Sequence[str], zset: SortedSet) -> Sequence[str]:
    if not groups:
        return ()
    if zset == "schedule":
        raise UsageError("--group is not for scheduled jobs: a group has jobs that failed.", "Use --where.")
    if len(groups) > 1:
        raise UsageError("--group takes one group, since a job is of one only.", "Run the command once for each.")
    if _GROUP.fullmatch(groups[0]) is None:
        name = "dead" if zset == "dead" else "retries"
        raise UsageError(f"{groups[0][:60]!r} is no group.", f"`restbroker {name} summary` names them.")
    return (f"failure_group = {groups[0]}",)


def conditions(typed: Sequence[str] | None, zset: SortedSet, known: "ConfigContext") -> "Where":
    """What was typed behind `--where`. Raises `UsageError`."""
    from restbroker.operate import where as rule

    return rule.read(typed or (), time.time(), ahead=zset != "dead", hidden=known.hidden)


def selected(
    jids: Sequence[str] | None,
    typed: Sequence[str] | None,
    *,
    everything: bool,
    zset: SortedSet,
    known: "ConfigContext",
) -> "Selection":
    """The jobs that are meant. Raises `UsageError` unless it is said in exactly one way."""
    from restbroker.operate.act import Selection

    where = conditions(typed, zset, known)
    if [bool(jids), bool(where), everything].count(True) != 1:
        raise UsageError(
            "It must be said which jobs are meant, in one way.",
            "Give job ids, or --where CONDITION (--since, --until, --older-than, --newer-than), or --all.",
        )
    return Selection(tuple(jids or ()), where)
