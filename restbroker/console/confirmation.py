"""Asks before what cannot be undone, or reaches many. Used by the commands that change something.

Always holds: nobody is asked where nobody can answer; there `--yes` says it.
"""

import sys

import typer

from restbroker.console import output
from restbroker.console.exits import Exit
from restbroker.errors import UsageError


def confirm(question: str, *, yes: bool = False) -> None:
    """Asks on a terminal, and ends the command with 1 without a yes. Raises `UsageError` where nobody is to be asked.

    `yes`: it was said already.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"{question} There is no one to ask.", "Add --yes to do it, or --dry-run to see what it would be."
        )
    if not typer.confirm(question, err=True):
        output.say("Nothing was done.")
        raise typer.Exit(Exit.FAILED)
