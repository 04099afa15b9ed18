"""How `queues`, `targets` and `processes` show times, pauses and counts."""

from collections.abc import Mapping

from restbroker.config.values import duration_text
from restbroker.console import output, times
from restbroker.job.json_types import Json
from restbroker.operate.overview import state_text
from restbroker.store.pauses import Pause

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


def pause_text(pause: Pause) -> str:
    """Return in one line by whom something is paused, until when and why; for restbroker's own pauses, the reason."""
    left = "until resumed" if pause.remaining_s is None else f"for {duration_text(pause.remaining_s)} more"
    by = f"by {pause.who}" if pause.who is not None else state_text(pause.reason)
    return f"{by} {left}" + (f": {pause.why}" if pause.why is not None else "")


def join_names(names: tuple[str, ...]) -> str:
    """Return the names as one cell, separated by commas; `-` if there are none."""
    return ",".join(names) or "-"


def number(value: float | None) -> str:
    """Return a number as a cell, with one decimal unless it is whole; `-` if it is not known."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.1f}"
