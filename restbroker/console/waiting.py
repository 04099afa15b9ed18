"""How long `--wait` waits, as `--timeout` says it. Used by all commands that have both."""

import typer

from restbroker.console.times import duration_s
from restbroker.errors import UsageError


def waiting_s(context: typer.Context, timeout: str, *, waits: bool) -> float:
    """Return the seconds that `--timeout` says. Raise `UsageError` if it is none, or was typed without `--wait`."""
    length_s = duration_s("--timeout", timeout)
    source = context.get_parameter_source("timeout")
    if not waits and source is not None and source.name == "COMMANDLINE":
        raise UsageError("--timeout is for --wait.", "Add --wait, or leave --timeout out.")
    return length_s
