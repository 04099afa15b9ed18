"""What configurations and looks into Redis have in common, in tests with real broker processes."""

from collections.abc import Mapping
from typing import Final

TOKEN: Final = "a token of the test"
FAST_RETRIES: Final = {"Base": "200ms", "Factor": 1, "Cap": "200ms"}
"""As `Backoff`: a test need not wait for Sidekiq's."""
NO_JOB: Final = frozenset({"last", "hwm"})
"""What the hash of an identity's jobs in progress has beside them."""


def jobs_in(hand: Mapping[str, bytes]) -> int:
    return len(hand.keys() - NO_JOB)
