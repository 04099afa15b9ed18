"""How long things took: a histogram of fixed size, and one that forgets what is older than a minute.

Used by the counters for the log, /metrics, snapshots and Sidekiq. Always holds: memory is bounded, a
duration costs well under a microsecond, and with `LATENCY_LIMITS_S` a percentile is within 5 % of the true one, between
10 µs and 40 minutes.
"""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import repeat
from typing import Final

import attrs

from restbroker.light import define, field

LATENCY_LIMITS_S: Final = tuple(10 ** (number / 30 - 5) for number in range(253))
"""Limits from 10 µs on; neighbouring limits differ by 8 %, so the middle of a bucket is at most 4 % off."""
WINDOW_S: Final = 60.0
_SLICES: Final = 6
_SLICE_S: Final = WINDOW_S / _SLICES


@define
class Histogram:
    """Durations counted by size: `counts[i]` are those up to `limits_s[i]` and above the limit before it.

    The last count is of those above all limits. `total_s` is the sum of all.
    """

    limits_s: tuple[float, ...] = LATENCY_LIMITS_S
    counts: list[int] = field(default=attrs.Factory(lambda self: [0] * (len(self.limits_s) + 1), takes_self=True))
    total_s: float = 0.0

    def add(self, durations_s: Sequence[float]) -> None:
        """Count these durations."""
        self.total_s += sum(durations_s)
        counts = self.counts
        for place in map(bisect_left, repeat(self.limits_s), durations_s):
            counts[place] += 1

    def include(self, other: "Histogram") -> None:
        """Add the counts of the other histogram, which has the same limits."""
        self.total_s += other.total_s
        self.counts = [mine + more for mine, more in zip(self.counts, other.counts, strict=True)]

    def copy(self) -> "Histogram":
        """Return a copy that stays as this one is now."""
        return Histogram(self.limits_s, self.counts.copy(), self.total_s)

    def summary_ms(self) -> dict[str, float | None]:
        """Return the median (`p50_ms`), `p95_ms` and `p99_ms`, in milliseconds with three digits; None without data."""
        shares = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
        return {name: _milliseconds(self.percentile_s(share)) for name, share in shares.items()}

    def percentile_s(self, share: float) -> float | None:
        """Return the duration below which this share (0 to 1) lies, in seconds; None if nothing was counted."""
        limits_s, rank, counted = self.limits_s, share * sum(self.counts), 0
        for place, number in enumerate(self.counts):
            counted += number
            if number and counted >= rank:
                between = limits_s[max(0, place - 1)], limits_s[min(place, len(limits_s) - 1)]
                return math.sqrt(math.prod(between))
        return None


@define
class RecentLatency:
    """The durations of the last minute, to ten seconds. `now_s` is any clock in seconds; it may stand still."""

    _slices: deque[tuple[int, Histogram]] = field(factory=lambda: deque(maxlen=_SLICES))

    def add(self, now_s: float, durations_s: Sequence[float]) -> None:
        """Count these durations, which ended at `now_s`."""
        number = int(now_s / _SLICE_S)
        if not self._slices or number > self._slices[-1][0]:
            self._slices.append((number, Histogram()))
        self._slices[-1][1].add(durations_s)

    def of_last_minute(self, now_s: float) -> Histogram:
        """Return the durations of the minute before `now_s` as one histogram."""
        oldest = int(now_s / _SLICE_S) - _SLICES
        recent = Histogram()
        for number, histogram in self._slices:
            if number > oldest:
                recent.include(histogram)
        return recent


def _milliseconds(duration_s: float | None) -> float | None:
    return None if duration_s is None else float(f"{duration_s * 1000:.3g}")
