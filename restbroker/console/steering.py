"""What `queues`, `targets` and `processes` share: how times, pauses and counts are said."""

from collections.abc import Mapping

from restbroker.config.values import duration_text
from restbroker.console import output, times
from restbroker.job.json_types import Json
from restbroker.store.pauses import Pause

_MOST_DAYS = 366


def duration_s(text: str | None) -> float | None:
    """What was given as `--for`, in seconds. Raises `UsageError`."""
    return None if text is None else times.duration_s("--for", text, _MOST_DAYS)


def for_how_long(for_s: float | None) -> str:
    """`for 2 h`, `until resumed`."""
    return "until resumed" if for_s is None else f"for {duration_text(for_s)}"


def report(words: str, fields: Mapping[str, Json], *, as_json: bool, dry_run: bool) -> None:
    """Says what was done, or would be; with `--json` also on stdout, as these fields."""
    if as_json:
        output.as_json({**fields, "dry_run": dry_run})
    output.say(words)


def pause_text(pause: Pause) -> str:
    """Why it is paused: by whom and until when, in one line; for restbroker's own pauses, the reason's name."""
    left = "until resumed" if pause.left_s is None else f"for {duration_text(pause.left_s)} more"
    by = f"by {pause.who}" if pause.who is not None else pause.reason
    return f"{by} {left}" + (f": {pause.why}" if pause.why is not None else "")


def join_names(names: tuple[str, ...]) -> str:
    """Names in one cell; `-` if there are none."""
    return ",".join(names) or "-"


def number(value: float | None) -> str:
    """A number in a cell, with one digit behind the point unless it is whole; `-` if it is not known."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.1f}"
