"""The options of `restbroker enqueue`, by what they are for: one job, or many.

Used by `cli.enqueue` as annotations of its parameters; options of several commands are in `console.options`.
"""

from pathlib import Path
from typing import Annotated

import typer

from restbroker.console import completion, panels

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
OkIfExists = Annotated[
    bool, typer.Option("--ok-if-exists", help="Count it as done if it was done before.", rich_help_panel=panels.WHAT)
]
QueueOption = Annotated[
    str | None,
    typer.Option(
        "--queue",
        metavar="QUEUE",
        help="Another queue than the target's first one.",
        autocompletion=completion.queues,
        rich_help_panel=panels.WHAT,
    ),
]
ExpireOption = Annotated[
    str | None,
    typer.Option(
        "--expire",
        metavar="DURATION",
        help="Drop it unless it is sent within this time, e.g. 5m, 2h, after the push, or after --in or --at.",
        rich_help_panel=panels.WHAT,
    ),
]
UniqueOption = Annotated[
    str | None,
    typer.Option(
        "--unique",
        metavar="KEY",
        help="Queue nothing if a job with this key is queued already; needs --unique-for.",
        rich_help_panel=panels.WHAT,
    ),
]
UniqueForOption = Annotated[
    str | None,
    typer.Option(
        "--unique-for",
        metavar="DURATION",
        help="How long the key counts at most, e.g. 10m, after the push, or after --in or --at. With --bulk, keys "
        "are in the column _unique.",
        rich_help_panel=panels.WHAT,
    ),
]
FairKeyOption = Annotated[
    str | None,
    typer.Option(
        "--fair-key",
        metavar="KEY",
        help='The key by which it takes turns in its queue, with FairBy "fair_key". With --bulk: of rows without '
        "one in the column _fair_key.",
        rich_help_panel=panels.WHAT,
    ),
]
OrderKeyOption = Annotated[
    str | None,
    typer.Option(
        "--order-key",
        metavar="KEY",
        help='Jobs with one such key are done one after the other, with OrderBy "order_key". With --bulk: of rows '
        "without one in the column _order_key.",
        rich_help_panel=panels.WHAT,
    ),
]
RetryOption = Annotated[
    str,
    typer.Option(
        "--retry",
        metavar="N",
        help="How often to try again: a number, true (25) or false.",
        rich_help_panel=panels.WHAT,
    ),
]
ReplyIdOption = Annotated[
    str | None,
    typer.Option(help="The id to send back with the answer on the response queue.", rich_help_panel=panels.ANSWER),
]

# For many jobs at once.
BulkOption = Annotated[
    Path | None,
    typer.Option(
        "--bulk",
        metavar="FILE",
        autocompletion=completion.paths,
        help="Push one job for each row: CSV or NDJSON; - is standard input.",
        rich_help_panel=panels.BULK,
    ),
]
ConstOption = Annotated[
    list[str] | None,
    typer.Option(
        "--const", metavar="NAME=TEXT", help="With --bulk: an argument for all rows.", rich_help_panel=panels.BULK
    ),
]
RejectsOption = Annotated[
    Path | None,
    typer.Option(
        "--rejects",
        metavar="FILE",
        autocompletion=completion.paths,
        help="With --bulk: write rows that cannot be used to this file.",
        rich_help_panel=panels.BULK,
    ),
]
