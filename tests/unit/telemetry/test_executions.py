# ruff: noqa: SLF001 - what is kept stays bounded, and no door tells how much it is
"""Executions are counted once, as Sidekiq counts them, within bounds whatever happens."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.telemetry.events import JobFinished, JobsDelivered
from restbroker.telemetry.executions import (
    BACKLOG_MINUTES,
    NAMES_PER_MINUTE,
    ExecutionCounts,
    Executions,
)

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


def test_what_could_not_be_written_is_counted_again_with_what_came_since() -> None:
    counts = ExecutionCounts(Clock())
    counts(finished(duration_s=0.010))
    counts(finished("kick", fate="dead"))
    taken = counts.take()
    counts(finished(duration_s=0.025))
    counts.give_back(taken)
    again = {one.command: one for one in counts.take()}
    assert again == {"add": counted([0.010, 0.025]), "kick": Executions(MINUTE_S, "kick", failed=1)}


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
