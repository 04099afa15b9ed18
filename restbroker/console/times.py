"""Times on a command line, such as `--in 5m` and `--at 2030-01-31T08:00`, and how they are shown.

Used by `enqueue`, by the verbs that reschedule, and by all that show jobs. Always holds: a score that is no time, which
any producer may have written, is shown as it is; one in milliseconds is named as such.
"""

import re
import time
from datetime import UTC, datetime
from typing import Final

import typer

from restbroker.config.values import BadValue, duration_text, far_year, json_or_text, seconds
from restbroker.errors import UsageError

_YEAR_DAYS: Final = 366
_MOST_MS: Final = 1e15
_NOT_POSITIVE: Final = re.compile(r"\s*+(?:-[\d.].*|[^0-9]*+0[^1-9]*)")


def at_s(delay: str | None, at: str | None) -> float | None:
    """Return the moment that `--in` or `--at` names, in epoch seconds; None if neither is used.

    Raise `UsageError` for both, or for what is no time.
    """
    if delay is not None and at is not None:
        raise UsageError("--in and --at exclude each other.", "Keep one of them.")
    if delay is not None:
        return time.time() + duration_s("--in", delay, _YEAR_DAYS)
    if at is None:
        return None
    try:
        moment_s = datetime.fromisoformat(at).timestamp()
    except (ValueError, OverflowError) as error:
        hint = "Write it as 2030-01-31T08:00+01:00; without a zone it is in this machine's time zone."
        raise UsageError(f"--at takes an ISO time, not {at[:60]!r}.", hint) from error
    return moment_s


def duration_s(option: str, text: str, most_days: int = 1) -> float:
    """Return the seconds of a duration such as 30s, at most `most_days`.

    Raise `UsageError`, which names the `option` and what was given.
    """
    try:
        return seconds(json_or_text(text), most_days)
    except BadValue as bad:
        wrong = "not more than 0" if _NOT_POSITIVE.fullmatch(text) else "no such duration"
        message = f"{option} takes {bad.expected}. {text!r} is {wrong}."
        raise UsageError(message, f"For example: {option} 30s") from bad


def waiting_s(context: typer.Context, timeout: str, *, waits: bool) -> float:
    """Return the seconds that `--timeout` says. Raise `UsageError` if it is none, or was typed without `--wait`."""
    length_s = duration_s("--timeout", timeout)
    source = context.get_parameter_source("timeout")
    if not waits and source is not None and source.name == "COMMANDLINE":
        raise UsageError("--timeout is for --wait.", "Add --wait, or leave --timeout out.")
    return length_s


def duration(value: float | None) -> str:
    """Return seconds as people see them; a dash for None."""
    return "-" if value is None else duration_text(value)


def milliseconds(value: object) -> str:
    """Return milliseconds as people see them, such as `250 ms`; a dash for no number, or more than a job can take."""
    return duration_text(value / 1000) if isinstance(value, int | float) and abs(value) < _MOST_MS else "-"


def utc(moment_s: float) -> str:
    """Return a moment for programs, as 2026-11-20T08:56:16Z."""
    try:
        return f"{datetime.fromtimestamp(moment_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return str(moment_s)


def local(moment_s: float) -> str:
    """Return a moment for people, as 2026-11-20 09:56:16, in the terminal's time zone."""
    try:
        return f"{datetime.fromtimestamp(moment_s).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return far_year(moment_s) or str(moment_s)


def listed(moment_s: float) -> str:
    """Return a moment as a list for people has it: as `local` does, without the date if that is today."""
    return local(moment_s).removeprefix(f"{datetime.now().astimezone():%Y-%m-%d} ")
