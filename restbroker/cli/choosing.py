"""Which jobs a command is about. Used by the verbs of `dead`, `retries` and `scheduled`.

Always holds: it is said in exactly one way; nobody means all by leaving something out.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import typer

from restbroker.admin.act import Chosen
from restbroker.admin.known import Known
from restbroker.errors import UsageError
from restbroker.rules import where as rule
from restbroker.store.keys import SortedSet

Jids = Annotated[list[str] | None, typer.Argument(metavar="[JID]...", help="Job ids.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="FIELD OP VALUE, e.g. 'error = BadToken' or 'failed_at < 2h'; several all must hold.",
    ),
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Only from this time on: parked, first failed (retries) or due, e.g. 2h, yesterday.",
    ),
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Only before this time, of a day before its beginning.")
]
AllOption = Annotated[bool, typer.Option("--all", help="All jobs of the set.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only count, and show the first.")]
RateOption = Annotated[float | None, typer.Option("--rate", min=0.01, help="At most so many jobs a second.")]
RepeatUnsafeOption = Annotated[
    bool,
    typer.Option("--repeat-unsafe", help="Also what may have run and is not safe to repeat: it may happen twice."),
]
WhyOption = Annotated[str, typer.Option("--why", help="For the audit, and for whoever finds the job.")]


_TIMES: Final[Mapping[SortedSet, str]] = {"dead": "at", "retry": "failed_at", "schedule": "at"}


def within(typed: Sequence[str] | None, zset: SortedSet, since: str | None, until: str | None) -> list[str]:
    """What was typed behind `--where`, with `--since` and `--until` as the conditions that they stand for.

    A parked job's time is when it was parked, a retry's when it first failed, and a scheduled one's when it is due.
    """
    bounds = [("--since", ">", since), ("--until", "<", until)]
    for option, _, value in bounds:
        if value is not None and not value.strip(" +-")[:1].isalnum():
            raise UsageError(
                f"{option} takes a time, and {value!r} is none.", f"For example: {option} 2h, or {option} yesterday."
            )
    return [*(typed or ()), *(f"{_TIMES[zset]} {sign} {value}" for _, sign, value in bounds if value is not None)]


def conditions(typed: Sequence[str] | None, zset: SortedSet, known: Known) -> rule.Where:
    """What was typed behind `--where`. Raises `UsageError`."""
    return rule.read(typed or (), time.time(), ahead=zset != "dead", hidden=known.hidden)


def chosen(
    jids: Sequence[str] | None, typed: Sequence[str] | None, *, everything: bool, zset: SortedSet, known: Known
) -> Chosen:
    """The jobs that are meant. Raises `UsageError` unless it is said in exactly one way."""
    where = conditions(typed, zset, known)
    if [bool(jids), bool(where), everything].count(True) != 1:
        raise UsageError(
            "It must be said which jobs are meant, in one way.",
            "Give job ids, or --where CONDITION (--since, --until), or --all.",
        )
    return Chosen(tuple(jids or ()), where)
