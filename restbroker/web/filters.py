"""How pages write numbers, times and texts of strangers; called by templates, as filters.

Always holds: an unknown value is a dash; no control character, and none that hides or turns text, reaches a page.
"""

import json
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeGuard

from markupsafe import Markup, escape

from restbroker.config.values import duration_text, far_year
from restbroker.light import frozen
from restbroker.operate.job import ShownJob
from restbroker.operate.order_wait import OrderWait

UNKNOWN = "–"
_BRIEF = 90
_CELL = 40
_MOST_COLUMNS = 6
_LONG_S = 30 * 86400
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))
_CODE = re.compile("`([^`]+)`")
_LARGEST = 10**19
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\U000e0000-\U000e007f]"
)


@frozen
class ArgumentColumns:
    """The arguments of a list's jobs: those that are the `same` in all, columns of one cell a job, and how many more.

    Texts are cut.
    """

    same: Sequence[tuple[str, str]]
    columns: Sequence[tuple[str, Sequence[str]]]
    more: int


def plain(value: object) -> object:
    """Return the value as a template shows it: texts with invisible characters as escapes, a dash for None."""
    if value is None:
        return UNKNOWN
    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", value)
    return value


def with_code(value: object) -> object:
    """Return a text as HTML, with what stands between two backticks as code; anything else as `plain` does."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return plain(value)
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(plain(value)))))  # noqa: S704 - it is escaped before


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell whether a value is a number that can be shown; a producer may write others, of hundreds of digits."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def number(value: object) -> str:
    """Return a whole number as `12,345`; a dash for anything else."""
    return f"{value:,}" if is_number(value) and isinstance(value, int) else UNKNOWN


def decimal(value: object) -> str:
    """Return a number as `12.3`, or as `1,234` where the fraction means little; a dash for anything else."""
    if not is_number(value):
        return UNKNOWN
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def duration(seconds: object) -> str:
    """Return seconds as a duration, such as `250 ms`, `3.5 s`, `12 min` or `5 h 20 min`; a dash for anything else."""
    return duration_text(seconds) if is_number(seconds) else UNKNOWN


def milliseconds(value: object) -> str:
    """Return a number of milliseconds as a duration; a dash for anything else."""
    return duration(value / 1000) if is_number(value) else UNKNOWN


def moment(at_s: object) -> str:
    """Return a moment (epoch seconds) in UTC, as `2026-11-21 12:03:11`; a dash for 0 and anything else."""
    if not is_number(at_s) or not at_s:
        return UNKNOWN
    try:
        return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return UNKNOWN


def when(at_s: object) -> Markup | str:
    """Return a moment as a person would say it now, as `3 min ago`, with its time in UTC as the title.

    Beyond a month it is a date.
    """
    text = moment(at_s)
    if text == UNKNOWN or not is_number(at_s):
        return (far_year(at_s) if is_number(at_s) else None) or UNKNOWN
    ago_s = time.time() - at_s
    size, unit = next((unit for unit in _UNITS if abs(ago_s) >= unit[0]), (1, "s"))
    span = f"{abs(ago_s) // size:,.0f} {unit}"
    said = f"{span} ago" if ago_s > 0 else f"in {span}"
    if not 1 <= abs(ago_s) <= _LONG_S:
        said = "now" if abs(ago_s) < 1 else text[:10]
    return Markup('<time datetime="{}Z" title="{} UTC">{}</time>').format(text.replace(" ", "T"), text, said)


def waits_for(order: OrderWait) -> str:
    """Return what a job waits for whose key is held."""
    return order.text(moment)


def brief(value: object) -> str:
    """Return arguments as JSON on one line, cut to 90 characters; "" if there are none."""
    return "" if value is None or value == {} else _cut(_one_line(value), _BRIEF)


def argument_columns(entries: Sequence[ShownJob], room: int) -> ArgumentColumns | None:
    """Return the arguments of several jobs of one command as columns, `room` letters wide; None if commands differ."""
    rows = [entry.arguments for entry in entries if isinstance(entry.arguments, dict)]
    if len(rows) < max(2, len(entries)) or len({entry.command for entry in entries}) > 1 or not entries[0].command:
        return None
    names = dict.fromkeys(name for row in rows for name in row)
    cells = {name: [_one_line(row[name]) if name in row else "" for row in rows] for name in names}
    same = {name: texts[0] for name, texts in cells.items() if len(set(texts)) == 1}
    told: list[str] = []
    for name in sorted(cells.keys() - same.keys(), key=lambda name: (-len(set(cells[name])), [*names].index(name))):
        width = min(_CELL, max(map(len, (name, *cells[name]))))
        if len(told) < _MOST_COLUMNS and (not told or width <= room):
            told.append(name)
            room -= width
    return ArgumentColumns(
        [(_cut(name, _CELL), _cut(text, _CELL)) for name, text in [*same.items()][:_MOST_COLUMNS]],
        [(_cut(name, _CELL), [_cut(text, _CELL) for text in cells[name]]) for name in names if name in told],
        len(names) - len(told) - min(len(same), _MOST_COLUMNS),
    )


def _one_line(value: object) -> str:
    try:
        return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return UNKNOWN


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
