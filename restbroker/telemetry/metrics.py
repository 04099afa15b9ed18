"""What Sidekiq's metrics count: executions per minute and command. Used by `telemetry.executions` and `store.metrics`.

Always holds: numbers only, and names that are safe wherever Sidekiq Web puts them.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence

import attrs

# fmt: off
BUCKET_LIMITS_MS = (
    20, 30, 45, 65, 100,
    150, 225, 335, 500, 750,
    1_100, 1_700, 2_500, 3_800, 5_750,
    8_500, 13_000, 20_000, 30_000, 45_000,
    65_000, 100_000, 150_000, 225_000, 335_000,
)
# fmt: on
"""A time belongs to the first bucket whose limit is above it, or to the one after the last (Sidekiq 6.5 to 8)."""
BUCKETS = len(BUCKET_LIMITS_MS) + 1

OTHER = "other"
_UNNAMED = "unnamed"
_LONGEST_NAME = 64
_UNSAFE = re.compile(r"[^A-Za-z0-9_.~-]")
_TELLING = re.compile(r"[A-Za-z0-9]")


def bucket(duration_s: float) -> int:
    """The place of a time in a histogram, 0 to 25."""
    return bisect_right(BUCKET_LIMITS_MS, duration_s * 1000)


def safe_name(command: str) -> str:
    """A command's name as Sidekiq Web can show it: letters, digits and `_ . ~ -`, at most 64.

    What else a producer writes becomes `_`. Sidekiq splits at `|`; its page of one class cannot be reached with `/` or
    `$` in the name; and its Metrics page puts names into HTML and into a link as they are (read in its views).
    """
    short = command[:_LONGEST_NAME]
    return _UNSAFE.sub("_", short) if _TELLING.search(short) else _UNNAMED


@attrs.frozen
class Executions:
    """How often a command ran within a minute, which began at `minute_s` (epoch seconds, UTC).

    `processed` includes `failed`. `total_ms` and `histogram` (26 counts) are of the others only: Sidekiq times nothing
    that failed.
    """

    minute_s: int
    command: str
    processed: int
    failed: int
    total_ms: int
    histogram: tuple[int, ...]


@attrs.define
class Tally:
    """Executions of one command within one minute, while they are counted."""

    processed: int = 0
    failed: int = 0
    # Not whole milliseconds: commands that take less than one each must not add up to nothing.
    total_s: float = 0.0
    histogram: list[int] = attrs.field(factory=lambda: [0] * BUCKETS)

    def succeeded(self, durations_s: Sequence[float]) -> None:
        """Counts successes with their times."""
        self.processed += len(durations_s)
        self.total_s += sum(durations_s)
        for duration_s in durations_s:
            self.histogram[bucket(duration_s)] += 1

    def has_failed(self) -> None:
        """Counts a failure."""
        self.processed += 1
        self.failed += 1

    def include(self, more: Executions) -> None:
        """Adds what was counted elsewhere."""
        self.processed += more.processed
        self.failed += more.failed
        self.total_s += more.total_ms / 1000
        self.histogram = [mine + other for mine, other in zip(self.histogram, more.histogram, strict=True)]

    def executions(self, minute_s: int, command: str) -> Executions:
        """What was counted up to now."""
        total_ms = round(self.total_s * 1000)
        return Executions(minute_s, command, self.processed, self.failed, total_ms, tuple(self.histogram))
