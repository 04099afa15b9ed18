"""The headings of options in `--help`, by what they are for, which Typer shows; and options of quick commands.

Used by the commands, which name a heading as `rich_help_panel`. Always holds: this imports nothing that a command which
works without a configuration does not need.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from restbroker.console.completion import paths

WHICH: Final = "Which jobs"
WHAT: Final = "What to do"
ANSWER: Final = "The answer"
BULK: Final = "Many jobs"
SAFETY: Final = "Safety"
OUTPUT: Final = "Output"
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=OUTPUT)]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The configuration file. (default: $RESTBROKER_CONFIG, ./env.json, /etc/restbroker/env.json)",
        autocompletion=paths,
        # Not tested by Typer, which would say less than our own message does.
        readable=False,
    ),
]
JobsOption = Annotated[
    int,
    typer.Option(
        "--jobs",
        metavar="N",
        help="Read at most this many jobs of each queue or set.",
        min=1,
        max=10_000_000,
        rich_help_panel=WHICH,
    ),
]
SecondsOption = Annotated[
    int,
    typer.Option("--seconds", metavar="N", help="Search for this long.", min=1, max=3600, rich_help_panel=WHICH),
]
