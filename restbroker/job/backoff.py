"""How long a failed job waits for its next try.

Used by `job.retry`, and by the configuration, which says which rule applies. Always holds: it needs nothing else, for
every command reads the configuration.
"""

from typing import Final, TypeAlias, assert_never

from restbroker.light import frozen

# Beyond it a delay is longer than any job lives, and the powers grow out of a float.
COUNT_LIMIT: Final = 1000


@frozen
class SidekiqBackoff:
    """After n retries n⁴ + 15 seconds, and up to 10·(n+1) - 1 more (Sidekiq 8; 6 and 7 spread a little less)."""


@frozen
class ExponentialBackoff:
    """After n retries a random wait from 0 to `base_s`·`factor`ⁿ seconds, at most `cap_s`: full jitter."""

    base_s: float = 1.0
    factor: float = 2.0
    cap_s: float = 3600.0


Backoff: TypeAlias = SidekiqBackoff | ExponentialBackoff


def delay_s(backoff: Backoff, retry_count: int, jitter: float) -> float:
    """Return the seconds until the next try.

    `retry_count` is 0 after the first failure; `jitter` is in [0, 1).
    """
    count = min(max(retry_count, 0), COUNT_LIMIT)
    match backoff:
        case SidekiqBackoff():
            return float(count**4 + 15) + jitter * (10 * (count + 1) - 1)
        case ExponentialBackoff(base_s, factor, cap_s):
            try:
                return jitter * min(cap_s, base_s * factor**count)
            except OverflowError:
                return jitter * cap_s
        case _:
            assert_never(backoff)
