"""Reads the Retry-After of an answer. Connectors do; how long they heed it is for them to say."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from restbroker.transport.message import Response

LONGEST_S: Final = 24 * 3600.0


def retry_after_s(response: Response, now_s: float) -> float | None:
    """The seconds that it asks for, given as seconds or as a date; None if there is none that makes sense.

    `now_s` is epoch seconds. At most a day.
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
