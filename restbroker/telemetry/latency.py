"""How long things took: a histogram of fixed size, and one that forgets what is older than a minute.

Used by `telemetry.log` for its summaries and by `telemetry.figures`. Always holds: memory is bounded, a duration
costs well under a microsecond, and a percentile is within 5 % of the true one, between 10 µs and 40 minutes.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

import attrs

_SMALLEST_S = 1e-5
# Neighbouring limits differ by 8 %: the middle of a bucket is at most 4 % off.
_STEP = 1.08
_BUCKETS = 254
_LIMITS_S = [_SMALLEST_S * _STEP**number for number in range(_BUCKETS - 1)]
WINDOW_S = 60.0
_SLICES = 6
_SLICE_S = WINDOW_S / _SLICES


@attrs.define
class Histogram:
    """Counts of durations in buckets whose limits grow by a fixed factor."""

    count: int = 0
    buckets: list[int] = attrs.field(factory=lambda: [0] * _BUCKETS)

    def add(self, durations_s: Sequence[float]) -> None:
        """Counts these; what is out of range counts in the first or last bucket."""
        self.count += len(durations_s)
        buckets = self.buckets
        for duration_s in durations_s:
            buckets[bisect_right(_LIMITS_S, duration_s)] += 1

    def include(self, other: "Histogram") -> None:
        """Adds the other's counts."""
        self.count += other.count
        self.buckets = [mine + more for mine, more in zip(self.buckets, other.buckets, strict=True)]

    def summary_ms(self) -> dict[str, float | None]:
        """The median and what one in a hundred exceeds, in milliseconds with three significant digits."""
        return {"p50_ms": _milliseconds(self.percentile_s(0.5)), "p99_ms": _milliseconds(self.percentile_s(0.99))}

    def percentile_s(self, share: float) -> float | None:
        """The duration below which this share (0 to 1) lies, in seconds; None when nothing was counted."""
        wanted = share * self.count
        seen = 0
        for bucket, number in enumerate(self.buckets):
            seen += number
            if number and seen >= wanted:
                return _SMALLEST_S * _STEP ** (bucket - 0.5) if bucket else _SMALLEST_S
        return None


@attrs.define
class RecentLatency:
    """The durations of the last minute, to ten seconds. `now_s` is any clock in seconds; it may stand still."""

    _slices: deque[tuple[int, Histogram]] = attrs.field(factory=lambda: deque(maxlen=_SLICES))

    def add(self, now_s: float, durations_s: Sequence[float]) -> None:
        """Counts these."""
        number = int(now_s / _SLICE_S)
        if not self._slices or number > self._slices[-1][0]:
            self._slices.append((number, Histogram()))
        self._slices[-1][1].add(durations_s)

    def recent(self, now_s: float) -> Histogram:
        """Those of the last minute."""
        oldest = int(now_s / _SLICE_S) - _SLICES
        recent = Histogram()
        for number, histogram in self._slices:
            if number > oldest:
                recent.include(histogram)
        return recent


def _milliseconds(duration_s: float | None) -> float | None:
    return None if duration_s is None else float(f"{duration_s * 1000:.3g}")
