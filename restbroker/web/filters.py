"""How pages write numbers, times and texts of strangers; called by templates, as filters.

Always holds: an unknown value is a dash; no control character, and none that hides or turns text, reaches a page.
"""

import json
import re
import time
from datetime import UTC, datetime
from typing import TypeGuard

from markupsafe import Markup, escape

from restbroker.config.values import duration_text, far_year
from restbroker.operate.order_wait import OrderWait

UNKNOWN = "–"
_BRIEF = 90
_LONG_S = 30 * 86400
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))
_CODE = re.compile("`([^`]+)`")
_LARGEST = 10**19
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\U000e0000-\U000e007f]"
)


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
    if value is None or value == {}:
        return ""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return UNKNOWN
    return text if len(text) <= _BRIEF else text[: _BRIEF - 1] + "…"
