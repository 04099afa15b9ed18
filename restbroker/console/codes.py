"""What every code means that a job, the log, a check or an exit names, as `explain-error` and completion use it.

`codes.json` beside this file holds the rows of the pages' tables (`make reference` writes it from docs/producers.md,
operations.md, check.md and telemetry.md, where they are written by hand). Always holds: it needs no configuration, no
Redis and no network; a test compares the file with the pages.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from restbroker.console.exits import MEANINGS, Exit

FILE: Final = Path(__file__).with_name("codes.json")
_EXIT_CURES: Final[Mapping[int, str]] = {
    Exit.OK: "Nothing.",
    Exit.WAITING: "`restbroker explain JID` tells what became of the job.",
}

Explained = Mapping[str, str]
"""`code`, `what` it is a code of, its `meaning`, what to do (`cure`), and the `page` with more."""


@cache
def every() -> tuple[Explained, ...]:
    """All of them, in the order of the pages; a code of several places has a row for each."""
    rows: list[Explained] = json.loads(FILE.read_text("utf-8"))
    return (*rows, *map(_exit, MEANINGS))


def names() -> list[str]:
    """Each code once, in the alphabet's order."""
    return sorted({row["code"] for row in every()}, key=str.casefold)


def beginning(letters: str) -> list[str]:
    """The codes that begin like this, in capital letters or not."""
    return [name for name in names() if name.casefold().startswith(letters.casefold())]


def found(code: str) -> list[Explained]:
    """What is known of this code; capital letters may be left out."""
    wanted = code.casefold()
    return [row for row in every() if row["code"].casefold() == wanted]


def _exit(code: int) -> Explained:
    return {
        "code": f"{code:d}",
        "what": "an exit code",
        "meaning": MEANINGS[code],
        "cure": _EXIT_CURES.get(code, "stderr says why."),
        "page": "docs/cli.md",
    }
