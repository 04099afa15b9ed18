"""How long things took: a histogram of fixed size, and the speed of a target, of late and since it was asked last.

Used by the counters for the log, /metrics and snapshots. Always holds: memory is bounded, a duration costs well under a
microsecond, and with `LATENCY_LIMITS_S` a percentile is within 5 % of the true one, between 10 µs and 40 minutes.
"""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import repeat
from typing import Final

import attrs

from restbroker.light import define, field, frozen

LATENCY_LIMITS_S: Final = tuple(10 ** (number / 30 - 5) for number in range(253))
"""Limits from 10 µs on; neighbouring limits differ by 8 %, so the middle of a bucket is at most 4 % off."""
RATE_WINDOW_S: Final = 10
_SLICES: Final = 6
_SLICE_S: Final = 10
"""Latencies are those of so many slices of so many seconds: of the last minute."""


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

    def since(self, before: "Histogram") -> "Histogram":
        """Return what was counted since `before`, a copy of this one."""
        counts = [now - earlier for now, earlier in zip(self.counts, before.counts, strict=True)]
        return Histogram(self.limits_s, counts, self.total_s - before.total_s)

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


@frozen
class Sums:
    """The tries of a target in some time: how many were delivered, how many failed, and how long they took."""

    delivered: int
    failed: int
    latency: Histogram


@define
class Speed:
    """The speed of a target. `now_s` is any clock in seconds; it may stand still.

    `durations`: those of all tries, as /metrics shows them. `delivered` and `failed`: how many since `take`.
    """

    durations: Histogram = field(factory=Histogram)
    delivered: int = 0
    failed: int = 0
    _latency: Histogram = field(factory=Histogram)
    _slices: deque[tuple[int, Histogram]] = field(factory=lambda: deque(maxlen=_SLICES))
    """The number of each slice in which something was tried, and `_latency` as it was before."""
    _seconds: deque[list[int]] = field(factory=lambda: deque(maxlen=RATE_WINDOW_S + 1))
    """The seconds of the clock in which something was tried, each with how much, up to the one that runs."""
    _taken: Histogram = field(factory=Histogram)

    def add(self, now_s: float, durations_s: Sequence[float]) -> None:
        """Count tries of these durations, which ended at `now_s`."""
        second, slices, seconds = int(now_s), self._slices, self._seconds
        if not seconds or second > seconds[-1][0]:
            seconds.append([second, 0])
            if not slices or second // _SLICE_S > slices[-1][0]:
                slices.append((second // _SLICE_S, self._latency.copy()))
        seconds[-1][1] += len(durations_s)
        self.durations.add(durations_s)
        self._latency.add(durations_s)

    def rate_per_s(self, now_s: float) -> float:
        """Return how many were tried per second in the last ten whole seconds: that which runs is left out."""
        second = int(now_s)
        return sum(tries for old, tries in self._seconds if second - RATE_WINDOW_S <= old < second) / RATE_WINDOW_S

    def of_last_minute(self, now_s: float) -> Histogram:
        """Return the durations of the minute before `now_s`, to ten seconds."""
        oldest = int(now_s) // _SLICE_S - _SLICES
        return next((self._latency.since(before) for number, before in self._slices if number > oldest), Histogram())

    def take(self) -> Sums:
        """Return what was counted since the last call."""
        sums = Sums(self.delivered, self.failed, self._latency.since(self._taken))
        self.delivered, self.failed, self._taken = 0, 0, self._latency.copy()
        return sums


def _milliseconds(duration_s: float | None) -> float | None:
    return None if duration_s is None else float(f"{duration_s * 1000:.3g}")
