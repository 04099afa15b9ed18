# ruff: noqa: SLF001 - what is kept stays bounded, and no door tells how much it is
"""Executions are counted once, as Sidekiq counts them, within bounds whatever happens."""

import math
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.telemetry.events import JobFinished, JobsDelivered
from restbroker.telemetry.executions import (
    BACKLOG_MINUTES,
    BUCKET_LIMITS_MS,
    BUCKETS,
    NAMES_PER_MINUTE,
    TAKEN_AT_ONCE,
    ExecutionCounts,
    Executions,
    safe_name,
)
from tests.support.rows import rows

MINUTE_S = 1_700_000_040


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now_s: float = MINUTE_S + 37.5

    def __call__(self) -> float:
        return self.now_s


def finished(command: str = "add", fate: str = "ack", duration_s: float = 0.025) -> JobFinished:
    return JobFinished("t", "q", command, "j", "delivered", fate, 1, duration_s)


def processed(executions: tuple[Executions, ...]) -> dict[tuple[int, str], int]:
    return {(one.minute_s, one.command): one.total for one in executions}


def everything(counts: ExecutionCounts) -> tuple[Executions, ...]:
    taken: list[Executions] = []
    while some := counts.take():
        taken += some
    return tuple(taken)


def counted(times_s: Sequence[float] = (), failed: int = 0, command: str = "add") -> Executions:
    """What is counted of successes that took so long, and of so many failures."""
    counts = ExecutionCounts(Clock())
    counts(JobsDelivered("t", {command: list(times_s)}, list))
    for _ in range(failed):
        counts(finished(command, fate="dead"))
    (one,) = counts.take()
    return one


@rows(
    ("ms", "place"),
    [(0, 0), (10, 0), (19.9, 0), (20, 1), (46, 3), (48, 3), (300, 7), (334_999, 24), (335_000, 25), (300_000_000, 25)],
)
def test_a_time_belongs_to_the_first_bucket_with_a_limit_above_it(ms: float, place: int) -> None:
    assert counted([ms / 1000]).times.counts[place] == 1


@given(st.floats(0, 1e9))
def test_every_time_lies_between_the_limits_of_its_bucket(duration_s: float) -> None:
    place, ms = counted([duration_s]).times.counts.index(1), duration_s * 1000
    assert place == 0 or BUCKET_LIMITS_MS[place - 1] <= ms
    assert place == BUCKETS - 1 or ms < BUCKET_LIMITS_MS[place]


@given(st.lists(st.floats(0, 1000), max_size=30), st.integers(0, 100))
def test_failures_are_processed_and_only_successes_are_timed(times_s: list[float], failed: int) -> None:
    one = counted(times_s, failed)
    assert (one.minute_s, one.command) == (MINUTE_S, "add")
    assert (one.total, one.failed, sum(one.times.counts)) == (len(times_s) + failed, failed, len(times_s))
    assert one.times.total_s == pytest.approx(math.fsum(times_s))


def test_what_became_of_a_job_says_what_is_counted_of_it_once() -> None:
    done, failed = counted([0.025]), Executions(MINUTE_S, "add", failed=1)
    assert done.times.counts == [0, 1, *[0] * 24]
    rows = {
        "ack": (done,),
        **dict.fromkeys(("retry", "dead", "drop"), (failed,)),
        **dict.fromkeys(("schedule", "back"), ()),
    }
    counts, found = ExecutionCounts(Clock()), {}
    for fate in rows:
        counts(finished(fate=fate))
        found[fate] = counts.take()
    assert found == rows
    assert counts.take() == ()


def test_each_minute_and_command_is_counted_by_itself_and_the_oldest_comes_first() -> None:
    clock = Clock()
    counts = ExecutionCounts(clock)
    counts(finished("add"))
    clock.now_s = MINUTE_S + 59.999
    counts(finished("add"))
    clock.now_s = MINUTE_S + 60
    counts(finished("kick"))
    counts(finished("add"))
    taken = counts.take()
    assert processed(taken) == {(MINUTE_S, "add"): 2, (MINUTE_S + 60, "kick"): 1, (MINUTE_S + 60, "add"): 1}
    assert taken[0].minute_s == MINUTE_S


@pytest.mark.promise("Sidekiq: counters and metrics", "Metrics page: executions by class")
def test_names_beyond_the_limit_count_as_other_also_after_a_take() -> None:
    clock = Clock()
    counts = ExecutionCounts(clock)
    for number in range(NAMES_PER_MINUTE + 50):
        counts(finished(f"c{number}"))
    taken = processed(everything(counts))
    assert len(taken) == NAMES_PER_MINUTE + 1
    assert taken[MINUTE_S, "other"] == 50
    counts(finished("c0"))
    counts(finished("new"))
    assert processed(counts.take()) == {(MINUTE_S, "c0"): 1, (MINUTE_S, "other"): 1}
    clock.now_s += 60
    counts(finished("new"))
    assert processed(counts.take()) == {(MINUTE_S + 60, "new"): 1}


def test_jobs_told_of_together_count_as_if_each_had_been_told() -> None:
    clock = Clock()
    one, each = ExecutionCounts(clock), ExecutionCounts(clock)
    took_s = {"add": [0.025, 0.1], "kick/v1": [0.25], "kick": [0.03], "": [0.01]}
    one(JobsDelivered("t", took_s, list))
    for command, durations_s in took_s.items():
        for duration_s in durations_s:
            each(finished(command, duration_s=duration_s))
    taken = one.take()
    assert taken == each.take()
    assert processed(taken) == {(MINUTE_S, "add"): 2, (MINUTE_S, "kick"): 2, (MINUTE_S, "unnamed"): 1}


def test_names_that_become_the_same_are_counted_together() -> None:
    counts = ExecutionCounts(Clock())
    for command in ("a_p", "a|p", "a_p/v1"):
        counts(finished(command))
    assert processed(counts.take()) == {(MINUTE_S, "a_p"): 3}


def test_what_could_not_be_written_is_counted_again_with_what_came_since() -> None:
    counts = ExecutionCounts(Clock())
    counts(finished(duration_s=0.010))
    counts(finished("kick", fate="dead"))
    taken = counts.take()
    counts(finished(duration_s=0.025))
    counts.give_back(taken)
    again = {one.command: one for one in counts.take()}
    assert again == {"add": counted([0.010, 0.025]), "kick": Executions(MINUTE_S, "kick", failed=1)}


def test_a_backlog_keeps_the_last_hour() -> None:
    clock = Clock()
    counts = ExecutionCounts(clock)
    held: tuple[Executions, ...] = ()
    for _ in range(100):
        counts(finished())
        held = counts.take()
        counts.give_back(held)
        clock.now_s += 60
    last_s = MINUTE_S + 99 * 60
    assert [one.minute_s for one in everything(counts)] == list(range(last_s - 59 * 60, last_s + 60, 60))
    counts.give_back([counted([0.001])])
    assert counts.take() == ()


def test_a_large_backlog_is_taken_in_parts() -> None:
    clock = Clock()
    counts = ExecutionCounts(clock)
    for _ in range(2):
        for number in range(TAKEN_AT_ONCE - 10):
            counts(finished(f"c{number}"))
        clock.now_s += 60
    first, second, none = counts.take(), counts.take(), counts.take()
    assert (len(first), len(second), none) == (TAKEN_AT_ONCE, TAKEN_AT_ONCE - 20, ())
    assert {one.minute_s for one in second} == {MINUTE_S + 60}


def test_a_clock_that_is_set_back_loses_nothing_new() -> None:
    clock = Clock()
    counts = ExecutionCounts(clock)
    for _ in range(BACKLOG_MINUTES):
        counts(finished())
        clock.now_s += 60
    clock.now_s = 1000.0
    counts(finished("late"))
    assert processed(everything(counts))[960, "late"] == 1


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


JOBS = st.lists(
    st.tuples(
        st.integers(-100, 100),
        st.integers(0, 400),
        st.sampled_from(["ack", "retry", "dead", "drop", "schedule", "back"]),
    ),
    max_size=400,
)


@given(JOBS, st.sets(st.integers(0, 399)))
def test_whatever_the_clock_and_producers_do_memory_is_bounded_and_within_bounds_each_job_counts_once(
    jobs: list[tuple[int, int, str]], failing_writes: set[int]
) -> None:
    clock = Clock()
    counts = ExecutionCounts(clock)
    written: list[Executions] = []
    for place, (minute, name, fate) in enumerate(jobs):
        clock.now_s = MINUTE_S + minute * 60
        counts(finished(f"c{name}", fate))
        if place % 5 == 0:
            taken = counts.take()
            if place in failing_writes:
                counts.give_back(taken)
            else:
                written += taken
        assert len(counts._minutes) <= BACKLOG_MINUTES
    written += everything(counts)
    tries = sum(fate not in {"schedule", "back"} for _, _, fate in jobs)
    total = sum(one.total for one in written)
    assert total <= tries
    if len({minute for minute, _, _ in jobs}) <= BACKLOG_MINUTES:
        assert total == tries
    assert all(one.total >= one.failed and one.total > 0 for one in written)
