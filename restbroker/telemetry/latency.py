"""How long things took: a histogram of fixed size, and one that forgets what is older than a minute.

Used by `telemetry.log` for its summaries, by `telemetry.figures`, and by `app` for /metrics. Always holds: memory is
bounded, a duration costs well under a microsecond, and a percentile is within 5 % of the true one, between 10 µs and 40
minutes; 1, 2 and 5 of each power of ten are limits of buckets, so that coarser ones are made of these without a loss.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence

import attrs

_SMALLEST = -5
_SMALLEST_S = 10.0**_SMALLEST
# Neighbouring limits differ by 8 %: the middle of a bucket is at most 4 % off.
_PER_DECADE = 30
_STEP = 10 ** (1 / _PER_DECADE)
_BUCKETS = 254
_ROUND = {0: 1, 9: 2, 21: 5}
"""The places in a decade that are 1, 2 and 5 to a quarter of a percent, and made so exactly."""


def _limit_s(number: int) -> float:
    power, place = divmod(number, _PER_DECADE)
    return float(f"{_ROUND[place]}e{_SMALLEST + power}") if place in _ROUND else _SMALLEST_S * _STEP**number


_LIMITS_S = [_limit_s(number) for number in range(_BUCKETS - 1)]
WINDOW_S = 60.0
_SLICES = 6
_SLICE_S = WINDOW_S / _SLICES


@attrs.define
class Histogram:
    """Counts of durations in buckets whose limits grow by a fixed factor."""

    count: int = 0
    total_s: float = 0.0
    buckets: list[int] = attrs.field(factory=lambda: [0] * _BUCKETS)

    def add(self, durations_s: Sequence[float]) -> None:
        """Counts these; what is out of range counts in the first or last bucket."""
        self.count += len(durations_s)
        self.total_s += sum(durations_s)
        buckets = self.buckets
        for duration_s in durations_s:
            buckets[bisect_left(_LIMITS_S, duration_s)] += 1

    def include(self, other: "Histogram") -> None:
        """Adds the other's counts."""
        self.count += other.count
        self.total_s += other.total_s
        self.buckets = [mine + more for mine, more in zip(self.buckets, other.buckets, strict=True)]

    def copied(self) -> "Histogram":
        """The same, on its own from now on."""
        return Histogram(self.count, self.total_s, self.buckets.copy())

    def summary_ms(self) -> dict[str, float | None]:
        """The median, and what one in twenty and one in a hundred exceed, in milliseconds with three digits."""
        shares = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
        return {name: _milliseconds(self.percentile_s(share)) for name, share in shares.items()}

    def between(self, limits_s: Sequence[float]) -> tuple[int, ...]:
        """How many lie up to the first limit, above it and up to the second, …, and above the last.

        Exact where each limit is 1, 2 or 5 times a power of ten.
        """
        places = [bisect_left(_LIMITS_S, limit_s) + 1 for limit_s in limits_s]
        pairs = zip([0, *places], [*places, _BUCKETS], strict=True)
        return tuple(sum(self.buckets[start:end]) for start, end in pairs)

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

    _older: Histogram = attrs.field(factory=Histogram)
    _slices: deque[tuple[int, Histogram]] = attrs.field(factory=lambda: deque(maxlen=_SLICES))

    def add(self, now_s: float, durations_s: Sequence[float]) -> None:
        """Counts these."""
        number = int(now_s / _SLICE_S)
        if not self._slices or number > self._slices[-1][0]:
            if len(self._slices) == _SLICES:
                self._older.include(self._slices[0][1])
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

    def parts(self) -> tuple[Histogram, ...]:
        """All since the beginning, for `added`; they stay as they are, whatever is counted meanwhile.

        It costs no job anything: what leaves the last minute is added to the rest, which makes a new list. And it costs
        little here: durations are counted in the newest of the last minute's histograms alone, so only that is copied.
        """
        rest = self._older
        whole = [histogram for _, histogram in self._slices]
        newest = [histogram.copied() for histogram in whole[-1:]]
        return (Histogram(rest.count, rest.total_s, rest.buckets), *whole[:-1], *newest)


def added(parts: Iterable[Histogram]) -> Histogram:
    """What all of them counted."""
    whole = Histogram()
    for part in parts:
        whole.include(part)
    return whole


def _milliseconds(duration_s: float | None) -> float | None:
    return None if duration_s is None else float(f"{duration_s * 1000:.3g}")
