"""Ask before an action that cannot be undone, or concerns many jobs; used by the commands that change something.

Always holds: there is no question where no one can answer; `--yes` replaces it there.
"""

import sys

import typer

from restbroker.console import output
from restbroker.console.exits import Exit
from restbroker.errors import UsageError


def confirm(question: str, *, yes: bool = False) -> None:
    """Ask `question` on a terminal and return after a yes; otherwise end the command with exit code 1.

    `yes` means that the answer was given in advance. Raise `UsageError` if stdin is no terminal.
    """
    if yes:
        return
    question = output.one_line(question)  # which may name what strangers sent
    if not sys.stdin.isatty():
        raise UsageError(
            f"{question} This needs your confirmation, but stdin is not a terminal.",
            "Add --yes to go ahead, or --dry-run to see what would be done.",
        )
    if not typer.confirm(question, err=True):
        output.say("Nothing was done.")
        raise typer.Exit(Exit.FAILED)
