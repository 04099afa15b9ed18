"""What each line of the log means, and what to do about it: docs/telemetry.md and docs/operations.md have these tables.

Used by `tools.telemetry_page` and `explain`. Always holds: each line that `telemetry.lines` makes is here once, with
the levels that it may have; texts may have Markdown, with links as from `docs`.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple


class LogEvent(NamedTuple):
    """What a line of the log says; `levels` has each level that it may have, with commas between them."""

    levels: str
    meaning: str


_DATA: Final = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
LOG_EVENTS: Final[Mapping[str, LogEvent]] = {name: LogEvent(**row) for name, row in _DATA["events"].items()}
HINTS: Final[Mapping[str, str]] = _DATA["hints"]
"""What to do about a line, by its name; lines that need nothing are left out.

One hint may be for several names, with commas between them; of a line that is not always a warning, it is for that.
"""
