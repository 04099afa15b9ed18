"""Each line of the log, once: its levels, fields and fixed texts, the metrics that it moves, and what it means.

`telemetry.events` gives each class its row, from which `telemetry.log` makes lines and `telemetry.counters` numbers;
`explain` and docs/codes.md show the rows. Always holds: it loads quickly, without
attrs.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

Level = Literal["debug", "info", "warning", "error"]
Fields: TypeAlias = Mapping[str, Any]


class LogLine(NamedTuple):
    """One line: its level, the name of what happened, and the fields; fields that are None are left out."""

    level: Level
    event: str
    fields: Fields


class LogEvent(NamedTuple):
    """What a line of the log has and says.

    `levels`: its level, and the other one that it has if the event's attribute `second_if` is true. `fields`: names of
    attributes of the event, with blanks between them; `texts`: what some of them say instead, with `{0.name}` for an
    attribute. `metrics`: by its name, the attribute that is added to the metric; `""`: one is added.
    """

    name: str
    levels: Sequence[Level]
    fields: str
    meaning: str
    second_if: str = ""
    texts: Mapping[str, str] = MappingProxyType({})
    metrics: Mapping[str, str] = MappingProxyType({})

    def line(self, event: object) -> LogLine:
        """Return the line for this event."""
        second = bool(self.second_if and getattr(event, self.second_if))
        fields = {
            name: self.texts[name].format(event) if name in self.texts else getattr(event, name)
            for name in self.fields.split()
        }
        return LogLine(self.levels[second], self.name, fields)


_DATA: Final = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
LOG_EVENTS: Final[Mapping[str, LogEvent]] = {name: LogEvent(name, **row) for name, row in _DATA["events"].items()}
HINTS: Final[Mapping[str, str]] = _DATA["hints"]
"""What to do about a line, by its name; lines that need nothing are left out.

One hint may be for several names, with commas between them; of a line that is not always a warning, it is for that.
"""
