"""The rules of Sidekiq's metrics: buckets, sums, and names."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.telemetry.metrics import BUCKET_LIMITS_MS, BUCKETS, Tally, bucket, safe_name
from tests.support.rows import rows

COUNTS = st.integers(0, 10_000)
TIMES = st.lists(st.floats(0, 1000), max_size=30)


@rows(
    ("ms", "place"),
    [(0, 0), (10, 0), (19.9, 0), (20, 1), (46, 3), (48, 3), (300, 7), (334_999, 24), (335_000, 25), (300_000_000, 25)],
)
def test_a_time_belongs_to_the_first_bucket_with_a_limit_above_it(ms: float, place: int) -> None:
    assert bucket(ms / 1000) == place


@given(st.floats(0, 1e9))
def test_every_time_lies_between_the_limits_of_its_bucket(duration_s: float) -> None:
    place, ms = bucket(duration_s), duration_s * 1000
    assert 0 <= place < BUCKETS
    assert place == 0 or BUCKET_LIMITS_MS[place - 1] <= ms
    assert place == BUCKETS - 1 or ms < BUCKET_LIMITS_MS[place]


def tally(times_s: list[float], failures: int) -> Tally:
    counted = Tally()
    counted.succeeded(times_s)
    for _ in range(failures):
        counted.has_failed()
    return counted


@given(TIMES, COUNTS)
def test_failures_are_processed_and_only_successes_are_timed(times_s: list[float], failures: int) -> None:
    counted = tally(times_s, failures).executions(60, "add")
    assert (counted.minute_s, counted.command) == (60, "add")
    assert (counted.processed, counted.failed) == (len(times_s) + failures, failures)
    assert sum(counted.histogram) == len(times_s)
    assert counted.total_ms == pytest.approx(math.fsum(times_s) * 1000, abs=1)


@given(TIMES, COUNTS, TIMES, COUNTS)
def test_counting_in_two_parts_is_counting_at_once(
    before_s: list[float], failed: int, after_s: list[float], failed_later: int
) -> None:
    both = tally(after_s, failed_later)
    both.include(tally(before_s, failed).executions(60, "add"))
    added = both.executions(60, "add")
    at_once = tally(before_s + after_s, failed + failed_later).executions(60, "add")
    assert (added.processed, added.failed, added.histogram) == (at_once.processed, at_once.failed, at_once.histogram)
    assert abs(added.total_ms - at_once.total_ms) <= 1


@rows(("command", "shown"), [
    ("a|p", "a_p"),
    ("rest/send", "rest_send"),
    ("queue:rest", "queue_rest"),
    ('"><script>alert(1)</script>', "___script_alert_1___script_"),
    ("a\r\nb\0c", "a__b_c"),
    ("naïve", "na_ve"),
    ("x" * 65, "x" * 64),
    ("", "unnamed"),
    ("?", "unnamed"),
    ("✓" * 1000, "unnamed"),
    ("account.registerUser", "account.registerUser"),
    ("a_b-c~d.E9", "a_b-c~d.E9"),
    ("x" * 64, "x" * 64),
])  # fmt: skip
def test_a_name_that_sidekiq_web_cannot_show_is_made_safe(command: str, shown: str) -> None:
    assert safe_name(command) == shown


@given(st.text())
def test_every_name_is_safe_and_stays_what_it_became(command: str) -> None:
    shown = safe_name(command)
    assert re.fullmatch(r"[A-Za-z0-9_.~-]{1,64}", shown)
    assert safe_name(shown) == shown
