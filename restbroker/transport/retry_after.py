"""Reads the Retry-After header of an answer. Connectors use it, and may wait for less."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from restbroker.transport.message import Response

LONGEST_S: Final = 24 * 3600.0
"""The longest wait that a 429 may ask of its job."""
LONGEST_PAUSE_S: Final = 900.0
"""The longest wait that any other answer may ask for, and the longest pause of a target."""
_TOO_MANY: Final = 429


def retry_after_s(response: Response, now_s: float) -> float | None:
    """Return the seconds to wait by the Retry-After header (seconds or a date); None if it is invalid.

    At most a day for a 429, else 15 minutes. `now_s` is the current time in epoch seconds. None too if there is no such
    header; 0.0 for a date that has passed.
    """
    longest_s = LONGEST_S if response.status == _TOO_MANY else LONGEST_PAUSE_S
    text = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(float(text), longest_s)
    try:
        date = parsedate_to_datetime(text)
        wait_s = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now_s
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, wait_s), longest_s)
