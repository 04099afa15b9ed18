"""The options of `restbroker enqueue` in groups, by what they are for, and what they say, checked.

Used by `cli.enqueue`. Options of several commands are in `console.options`.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import attrs
import typer

from restbroker.config.target import Target
from restbroker.console import completion, output
from restbroker.console.options import AtOption, InOption, finite
from restbroker.console.times import at_s, duration_s, local
from restbroker.errors import UsageError
from restbroker.job import claims
from restbroker.job.claims import Lock

CommandWord = Annotated[
    str,
    typer.Argument(metavar="COMMAND", help="The server's command, e.g. register.", autocompletion=completion.commands),
]
ArgumentWords = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ARGUMENT]...",
        help="NAME=TEXT, NAME:=JSON, NAME=@FILE, or NAME=- for standard input.",
        autocompletion=completion.plain_words,
    ),
]
OkIfExists = Annotated[bool, typer.Option("--ok-if-exists", help="Count it as done if it was done before.")]
QueueOption = Annotated[
    str | None,
    typer.Option(
        "--queue", metavar="QUEUE", help="Another queue than the target's first one.", autocompletion=completion.queues
    ),
]
RetryOption = Annotated[
    str, typer.Option("--retry", metavar="N", help="How often to try again: a number, true (25) or false.")
]
ReplyIdOption = Annotated[
    str | None, typer.Option(metavar="TEXT", help="The id to send back with the answer on the response queue.")
]
AnswerOption = Annotated[bool, typer.Option("--wait", help="Wait, and print the server's answer.")]
_OF_EACH_ROW: Final = "-"
"""Stands for the keys of a file's rows."""


def retry(text: str) -> bool | int:
    """Return what --retry says, as a job has it. Raise `UsageError` if it is neither a number nor true nor false."""
    if text in ("true", "false"):
        return text == "true"
    if text.isascii() and text.isdigit() and len(text) <= 6:
        return int(text)
    raise UsageError("--retry takes a number, true or false.", "For example: --retry 3")


@attrs.frozen
class When:
    """When the job is due, and until when it is worth doing."""

    delay: InOption = None
    at: AtOption = None
    expire: Annotated[
        str | None,
        typer.Option(
            "--expire",
            metavar="DURATION",
            help="Drop it unless it is sent within this time, e.g. 5m, 2h, after the push, or after --in or --at.",
        ),
    ] = None

    def times(self) -> tuple[float | None, float | None]:
        """Return when the job is due (epoch seconds; None: now), and how many seconds later it expires (None: never).

        Raise `UsageError` for what is no time, and if the job would have expired when it is pushed.
        """
        due_s = at_s(self.delay, self.at)
        expire_s = None if self.expire is None else duration_s("--expire", self.expire, 366)
        if due_s is not None and expire_s is not None and due_s + expire_s <= time.time():
            when = local(due_s + expire_s)
            raise UsageError(
                f"--expire {self.expire} after --at {self.at} is {when}, which is past: the job would never be sent.",
                "Name a later --at, or leave it out: then --expire counts from now.",
            )
        return due_s, expire_s


@attrs.frozen
class Keys:
    """The keys by which jobs are told from others, take turns, and are kept in order."""

    unique: Annotated[
        str | None,
        typer.Option(
            "--unique",
            metavar="KEY",
            help="Queue nothing if a job with this key is queued already; needs --unique-for.",
        ),
    ] = None
    unique_for: Annotated[
        str | None,
        typer.Option(
            "--unique-for",
            metavar="DURATION",
            help="How long the key counts at most, e.g. 10m, after the push, or after --in or --at. With --bulk, keys "
            "are in the column _unique.",
        ),
    ] = None
    fair_key: Annotated[
        str | None,
        typer.Option(
            "--fair-key",
            metavar="KEY",
            help='The key by which it takes turns in its queue, with FairBy "fair_key". With --bulk: of rows without '
            "one in the column _fair_key.",
        ),
    ] = None
    order_key: Annotated[
        str | None,
        typer.Option(
            "--order-key",
            metavar="KEY",
            help='Jobs with one such key are done one after the other, with OrderBy "order_key". With --bulk: of rows '
            "without one in the column _order_key.",
        ),
    ] = None

    def lock(self, *, is_bulk: bool) -> Lock | None:
        """Return the lock that is wanted, without its name; None for none. Raise `UsageError`."""
        example = "For example: restbroker enqueue --unique nightly --unique-for 10m"
        key, lasts = self.unique, self.unique_for
        if is_bulk and key is not None:
            raise UsageError("--unique is for one job; --bulk pushes many.", "Put the keys into a column _unique.")
        if is_bulk and lasts is not None:
            key = _OF_EACH_ROW
        if key is None and lasts is None:
            return None
        if key is None:
            raise UsageError("--unique-for is for --unique.", example)
        if lasts is None:
            raise UsageError("--unique needs --unique-for: how long the key counts at most.", example)
        if not claims.is_key(key):
            raise UsageError(f"--unique takes a string of 1 to {claims.MOST_BYTES} bytes.", example)
        return Lock("", key, duration_s("--unique-for", lasts, 366))

    def require_keys(self) -> None:
        """Raise `UsageError` if a key cannot be one."""
        from restbroker.job.fairness import LONGEST_KEY_BYTES, is_key

        for option, typed in (("--fair-key", self.fair_key), ("--order-key", self.order_key)):
            if typed is not None and not is_key(typed):
                raise UsageError(
                    f"{option} takes a string of 1 to {LONGEST_KEY_BYTES} bytes without control characters.",
                    f"For example: {option} customer-7",
                )

    def note_vain_keys(self, places: Sequence[Target], *, is_bulk: bool) -> None:
        """Say so if no target of these reads a key; with --bulk a vain --order-key is refused later."""
        names = ", ".join(place.name for place in places)
        if self.fair_key is not None and not any(place.takes_fair_key for place in places):
            output.say(f'note: --fair-key has no effect: no "FairBy": "fair_key" in this configuration of {names}.')
        if self.order_key is not None and not is_bulk and not any(place.takes_order_key for place in places):
            output.say(f'note: --order-key has no effect: no "OrderBy": "order_key" in this configuration of {names}.')


@attrs.frozen
class Many:
    """Many jobs from a file."""

    bulk: Annotated[
        Path | None,
        typer.Option(
            "--bulk",
            metavar="FILE",
            autocompletion=completion.paths,
            help="Push one job for each row: CSV or NDJSON; - is standard input.",
        ),
    ] = None
    const: Annotated[
        list[str] | None, typer.Option("--const", metavar="NAME=TEXT", help="With --bulk: an argument for all rows.")
    ] = None
    rejects: Annotated[
        Path | None,
        typer.Option(
            "--rejects",
            metavar="FILE",
            autocompletion=completion.paths,
            help="With --bulk: write rows that cannot be used to this file.",
        ),
    ] = None
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            metavar="N",
            min=0.01,
            callback=finite,
            help="With --bulk: push at most this many rows per second.",
        ),
    ] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With a file: check all rows, push none.")] = False

    def require_one_job(self) -> None:
        """Raise `UsageError` if an option was given that only --bulk has."""
        options = {"const": self.const, "dry-run": self.dry_run, "rejects": self.rejects, "rate": self.rate}
        if named := next((option for option, value in options.items() if value), None):
            raise UsageError(f"--{named} is for --bulk.", "For example: restbroker enqueue register --bulk users.csv")
