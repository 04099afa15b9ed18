"""Reads the Retry-After header of an answer. Connectors use it, and may wait for less."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from restbroker.transport.message import Response

LONGEST_S: Final = 24 * 3600.0


def retry_after_s(response: Response, now_s: float) -> float | None:
    """Return the seconds to wait by the Retry-After header (seconds or a date), at most a day; None if it is invalid.

    `now_s` is the current time in epoch seconds. None too if there is no such header; 0.0 for a date that has passed.
    """
    text = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(float(text), LONGEST_S)
    try:
        date = parsedate_to_datetime(text)
        wait_s = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now_s
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, wait_s), LONGEST_S)
