"""How `queues`, `targets` and `periodic` show for how long something is paused, and what was done."""

from collections.abc import Mapping

from restbroker.config.values import duration_text
from restbroker.console import output, times
from restbroker.job.json_types import Json

_MOST_DAYS = 366


def duration_s(text: str | None) -> float | None:
    """Return the value of `--for` in seconds; None if there is none. Raise `UsageError` if it is no duration."""
    return None if text is None else times.duration_s("--for", text, _MOST_DAYS)


def for_how_long(for_s: float | None) -> str:
    """Return `for 2 h`, or `until resumed` for None."""
    return "until resumed" if for_s is None else f"for {duration_text(for_s)}"


def report(words: str, fields: Mapping[str, Json], *, as_json: bool, dry_run: bool) -> None:
    """Print on stderr what was done, or would be; `as_json` also prints these fields on stdout."""
    if as_json:
        output.as_json({**fields, "dry_run": dry_run})
    output.say(words)
