"""A pool keeps as many jobs ready as it settled in its last 25 ms, 4 to 400."""

from restbroker.broker.ready_buffer import SPAN_S, BatchSize, are_many, stretch


def test_what_was_settled_in_the_last_25_to_50_ms_is_kept_ready_but_4_at_least_and_400_at_most() -> None:
    for settled, reserve in ((0, 4), (31, 31), (1000, 400)):
        pace = BatchSize()
        pace.note_settled(settled, 100.015)
        assert [pace.reserve(at_s) for at_s in (100.016, 100.030, 100.08)] == [reserve, reserve, 4]


def test_beside_many_pools_what_was_settled_in_a_longer_time_is_kept_ready() -> None:
    assert [are_many(pools) for pools in (1, 10, 11)] == [False, False, True]
    assert [stretch(pools) for pools in (1, 10, 40, 100, 1000)] == [1, 1, 4, 10, 10]
    pace = BatchSize(stretch(40) * SPAN_S)
    for at_s in (100.01, 100.04, 100.07):
        pace.note_settled(10, at_s)
    assert [pace.reserve(at_s) for at_s in (100.08, 100.15, 100.4)] == [30, 30, 4]


def test_what_may_start_before_redis_is_told_follows_the_largest_of_the_last_four_groups() -> None:
    pace = BatchSize()
    assert pace.lead == 0
    for count in (50, 30, 40, 1):
        pace.note_settled(count, 100.0)
    assert pace.lead == 100
    for _ in range(3):
        pace.note_settled(1, 100.0)
    assert pace.lead == 2
