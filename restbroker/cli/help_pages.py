"""The help of every command, ready-made: a command's own modules take ten times as long to load as to be described.

Called by `__main__` before anything else is imported. `help.json` beside this file is written by `make reference`, from
what Typer makes of the commands. Always holds: a page that may be out of date is not used, but made anew by Typer; what
tells is the size of the files in this folder.
"""

import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("help.json")
WIDTH: Final = 80
"""What click makes help for, unless the terminal is narrower."""


def ready(words: Sequence[str]) -> str | None:
    """The page for `restbroker WORD… --help`; None: let the command itself tell."""
    # Where an option is among the words, `--help` may be its value.
    if words[-1:] != ["--help"] or any(word.startswith("-") for word in words[:-1]) or _columns() < WIDTH:
        return None
    return _written("pages").get(" ".join(words[:-1]))


def below(words: Sequence[str]) -> Mapping[str, str]:
    """The commands below this one, with a line on each; none where that is not known for certain."""
    path = "".join(f"{word} " for word in words)
    lines = _written("lines").items()
    return {name[len(path) :]: line for name, line in lines if name.startswith(path) and " " not in name[len(path) :]}


def size() -> int:
    """Of all the files that help is made of, in bytes."""
    rooms = (FILE.parent, *(FILE.parents[1] / room for room in ("bulk", "console", "rosters")))
    files = (entry for room in rooms for entry in os.scandir(room))
    return sum(entry.stat().st_size for entry in files if entry.name.endswith((".py", ".txt")))


def flags(path: str) -> Collection[str]:
    """The command's options that take no value; none where that is not known for certain."""
    return _written("flags").get(path, "").split()


def _written(what: str) -> Mapping[str, str]:
    try:
        written = json.loads(FILE.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    found: Mapping[str, str] = written[what] if written["size"] == size() else {}
    return found


def _columns() -> int:
    """As `shutil.get_terminal_size`, whose module takes longer to import than all of this."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH
    except (OSError, ValueError):
        return WIDTH
