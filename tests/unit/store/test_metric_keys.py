"""The keys of metrics are those that Sidekiq's readers ask for, at any time."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.store.keys import Keys
from tests.support.sidekiq_metrics import EIGHT, EIGHT_DAYS, SEVEN, moment

# The years 2000 to 2099: a century is what Sidekiq 8 can tell apart.
SECONDS = st.integers(946_684_800, 4_102_444_799)


@pytest.fixture(autouse=True, scope="module")
def _far_from_utc() -> Iterator[None]:
    """Hours and minutes are UTC's wherever the broker runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Kathmandu")
        time.tzset()
        yield
    time.tzset()


@given(SECONDS)
def test_each_reader_asks_for_the_key_that_is_written(at_s: int) -> None:
    keys, at = Keys(), moment(at_s)
    assert SEVEN.counts(at) == keys.executions_7(at_s)
    assert EIGHT.counts(at) == keys.executions_8(at_s)
    assert EIGHT_DAYS.counts(at) == keys.ten_minutes_8(at_s)
    assert SEVEN.times is not None
    assert SEVEN.times("add", at) == keys.histogram_7("add", at_s)
    assert EIGHT.times is not None
    assert EIGHT.times("add", at) == keys.histogram_8("add", at_s)


@given(SECONDS, st.integers(0, 59), st.integers(0, 59))
def test_a_minute_is_asked_for_by_any_second_of_it_and_by_any_step_of_the_last_hour(
    at_s: int, second: int, back: int
) -> None:
    begun_s = at_s // 60 * 60
    now = moment(begun_s + back * 60 + second)
    keys = Keys()
    assert SEVEN.keys(now, 60)[back] == keys.executions_7(begun_s)
    assert EIGHT.keys(now, 60)[back] == keys.executions_8(begun_s)
    # Ten minutes are asked for once, wherever within them the reader's steps fall.
    assert EIGHT_DAYS.keys(now, 144).count(keys.ten_minutes_8(begun_s)) == 1


@given(SECONDS, SECONDS)
def test_no_two_minutes_share_a_key_and_no_key_is_of_both_versions(one_s: int, other_s: int) -> None:
    keys = Keys()
    every = [(keys.executions_7(at_s), keys.executions_8(at_s)) for at_s in (one_s, other_s)]
    same = one_s // 60 == other_s // 60
    assert (every[0][0] == every[1][0]) == (every[0][1] == every[1][1]) == same
    assert keys.ten_minutes_8(one_s) not in (*every[0], *every[1])
    assert (keys.ten_minutes_8(one_s) == keys.ten_minutes_8(other_s)) == (one_s // 600 == other_s // 600)
