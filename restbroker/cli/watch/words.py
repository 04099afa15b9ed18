"""Numbers and times as the live screen says them: short, and of about the same width from look to look.

Used by `screen`, `targets` and `troubles`.
"""

from collections.abc import Sequence
from itertools import pairwise

_BARS = "▁▂▃▄▅▆▇█"


def number(value: int) -> str:
    """A count, as 12,345."""
    return f"{value:,}"


def jobs(count: int) -> str:
    """So many jobs."""
    return f"{number(count)} job{'' if count == 1 else 's'}"


def waiting(count: int) -> str:
    """So many jobs wait."""
    return f"{jobs(count)} wait{'s' if count == 1 else ''}"


def rate(per_s: float) -> str:
    """Jobs a second, as 0.4 or 1,234."""
    return f"{per_s:,.1f}" if per_s < 100 else f"{per_s:,.0f}"


def chart(values: Sequence[float], width: int) -> str:
    """The values as bars, oldest left, in at most `width` letters; each is as high as the largest of its letter."""
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
