"""The values of a group's workers, added up, whoever of them comes and goes."""

from hypothesis import given
from hypothesis import strategies as st

from restbroker.broker.group.sums import Sums
from restbroker.telemetry.series import Samples

JOBS = ("e", "c", "delivered")


def told(jobs: float, in_hand: float = 0) -> Samples:
    return {"restbroker_jobs_total": {JOBS: jobs}, "restbroker_jobs_in_hand": {("e",): in_hand}}


def jobs(sums: Sums) -> object:
    return sums.samples().get("restbroker_jobs_total", {}).get(JOBS, 0)


def test_what_a_worker_counted_stays_when_it_is_gone_and_what_it_had_does_not() -> None:
    sums = Sums(2)
    sums.started(11)
    sums.started(12)
    sums.heard(11, told(5, in_hand=2))
    sums.heard(12, told(7, in_hand=3))
    sums.ended(11)
    sums.started(13)
    sums.heard(13, told(1, in_hand=1))
    samples = sums.samples()
    assert jobs(sums) == 13
    assert samples["restbroker_jobs_in_hand"] == {("e",): 4}
    assert samples["restbroker_workers"] == {(): 2}
    assert samples["restbroker_workers_wanted"] == {(): 2}
    assert samples["restbroker_worker_starts_total"] == {(): 3}


def test_the_processor_time_of_a_worker_that_is_gone_is_told_no_more() -> None:
    sums = Sums(1)
    sums.started(11)
    sums.heard(11, {"restbroker_worker_cpu_seconds_total": {("1",): 9.0}})
    sums.ended(11)
    sums.started(12)
    sums.heard(12, {"restbroker_worker_cpu_seconds_total": {("1",): 1.0}})
    assert sums.samples()["restbroker_worker_cpu_seconds_total"] == {("1",): 1.0}


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9), st.booleans()), max_size=60))
def test_no_counter_runs_backwards(steps: list[tuple[int, int, bool]]) -> None:
    sums, counted, before = Sums(3), dict.fromkeys((1, 2, 3), 0), 0.0
    for pid in counted:
        sums.started(pid)
    for pid, more, dies in steps:
        counted[pid] += more
        sums.heard(pid, told(counted[pid]))
        if dies:
            sums.ended(pid)
            sums.started(pid)
            counted[pid] = 0
        now = jobs(sums)
        assert isinstance(now, float | int)
        assert now >= before
        before = now
    assert before == sum(more for _, more, _ in steps)
