"""What `queues`, `targets` and `processes` share: in whose name, for how long, and asking before what cannot be undone.

Always holds: nobody is asked where nobody can answer; there `--yes` says it.
"""

import getpass
import os
import socket
import sys
from typing import Annotated

import typer

from restbroker.cli import output
from restbroker.cli.exits import Exit
from restbroker.config.values import BadValue, seconds
from restbroker.errors import UsageError
from restbroker.store.pauses import Pause

_MOST_DAYS = 366
ForOption = Annotated[str | None, typer.Option("--for", help="How long, e.g. 30m, 2h, 1d. [default: until resumed]")]
WhyOption = Annotated[str, typer.Option("--why", help="Why, for everybody who looks.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


def who() -> str:
    """The person at the terminal, as well as is known: `ann@web1`, behind sudo the one who called it."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def duration_s(text: str | None) -> float | None:
    """What was given as `--for`, in seconds. Raises `UsageError`."""
    if text is None:
        return None
    try:
        return seconds(text, _MOST_DAYS)
    except BadValue as error:
        raise UsageError(f"--for {text!r} is no duration.", f"It is {error.expected}.") from error


def confirm(question: str, unasked: str, *, yes: bool) -> None:
    """Asks on a terminal, and ends the command unless the answer is yes. Raises `UsageError` where nobody is."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{unasked}, and there is nobody to ask.", "Add --yes to do it, or --dry-run to only look.")
    if not typer.confirm(question, err=True):
        output.say("Nothing was done.")
        raise typer.Exit(Exit.FAILED)


def for_how_long(for_s: float | None) -> str:
    """`for 2 h`, `until resumed`."""
    return "until resumed" if for_s is None else f"for {span(for_s)}"


def pause_text(pause: Pause) -> str:
    """Why it is paused: by whom and until when, in one line; for restbroker's own pauses, the reason's name."""
    left = "until resumed" if pause.left_s is None else f"for {span(pause.left_s)} more"
    by = f"by {pause.who}" if pause.who is not None else pause.reason
    return f"{by} {left}" + (f": {pause.why}" if pause.why is not None else "")


def span(length_s: float) -> str:
    """A length of time in the two largest units that it has: `45 s`, `2 h 30 min`, `3 d`."""
    rest, parts = round(length_s), []
    for size_s, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, size_s)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def listed(names: tuple[str, ...]) -> str:
    """Names in one cell; `-` if there are none."""
    return ",".join(names) or "-"


def number(value: float | None, unit: str = "") -> str:
    """A number in a cell, with one digit behind the point unless it is whole; `-` if it is not known."""
    if value is None:
        return "-"
    return f"{value}{unit}" if isinstance(value, int) else f"{value:.1f}{unit}"


def jobs(count: int) -> str:
    """`1 job`, `5 jobs`."""
    return "1 job" if count == 1 else f"{count} jobs"
