"""Numbers and times as the live screen shows them: short, and of about the same width each time.

Used by `screen`, `problems` and `stats_terminal`.
"""

from collections.abc import Sequence
from itertools import pairwise

_BARS = "▁▂▃▄▅▆▇█"


def number(value: int) -> str:
    """Return a count as 12,345."""
    return f"{value:,}"


def jobs(count: int) -> str:
    """Return a count of jobs, as `1 job` or `1,234 jobs`."""
    return f"{number(count)} job{'' if count == 1 else 's'}"


def waiting_text(count: int) -> str:
    """Return how many jobs wait, as `1 job waits` or `1,234 jobs wait`."""
    return f"{jobs(count)} wait{'s' if count == 1 else ''}"


def rate(per_s: float) -> str:
    """Return jobs per second, as 0.4 or 1,234."""
    return f"{per_s:,.1f}" if per_s < 100 else f"{per_s:,.0f}"


def chart(values: Sequence[float], width: int) -> str:
    """Return the values as bars, oldest left, in at most `width` characters, each as high as its largest value."""
    if not values or width < 1:
        return ""
    count = min(width, len(values))
    places = [place * len(values) // count for place in range(count + 1)]
    highest = [max(values[start:end]) for start, end in pairwise(places)]
    top = max(highest)
    if top <= 0:
        return _BARS[0] * count
    # Whatever is more than nothing is higher than nothing.
    steps = len(_BARS) - 1
    return "".join(_BARS[0] if value <= 0 else _BARS[max(1, round(value / top * steps))] for value in highest)
