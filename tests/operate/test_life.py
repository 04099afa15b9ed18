"""The line that a job's page draws: in the order of what happened, without what is unknown or nonsense."""

from typing import Any

import pytest

from restbroker.operate.explain import Timeline
from restbroker.operate.job import ShownJob
from restbroker.operate.life import of_job, of_timeline
from restbroker.operate.walk import FoundEnd
from restbroker.store.history import JobEnd, JobTimes

AT_S = 1_700_000_000.0
PLAIN: dict[str, Any] = {"key": "k", "size_bytes": 9, "message": None}
TRY: dict[str, Any] = {"at": AT_S, "outcome": "deferred", "code": "ServerError", "ms": 1500}
Line = list[tuple[str, float, str]]


def life_of(times: JobTimes, outcome: str = "delivered", status: int | None = 200) -> Line:
    end = FoundEnd(AT_S, JobEnd("j1", "e", "add", outcome=outcome, status=status, took_ms=20.0, times=times))
    found = of_timeline(Timeline("j1", (), (), (), ends=(end,)))
    return [(moment.what, round(moment.at_s - AT_S, 3), moment.note) for moment in found]


@pytest.mark.parametrize(
    ("times", "outcome", "status", "life"),
    [
        (
            JobTimes(900, 30, 5),
            "delivered",
            200,
            [("pushed", -0.9, ""), ("fetched", -0.03, ""), ("sent", -0.025, ""), ("answered", -0.005, "status 200")],
        ),
        # Rounded, and by the clock of a producer that is ahead.
        (
            JobTimes(1, 20, 1),
            "delivered",
            200,
            [("pushed", -0.001, ""), ("fetched", -0.02, ""), ("sent", -0.02, ""), ("answered", -0.001, "status 200")],
        ),
        (
            JobTimes(9000, None, 5, 3, (7000, 4000)),
            "uncertain",
            None,
            [
                ("pushed", -9.0, ""),
                ("failed", -7.0, ""),
                ("failed", -4.0, ""),
                ("sent", -0.025, ""),
                ("no answer", -0.005, ""),
            ],
        ),
        (JobTimes(900, 30), "rejected", None, [("pushed", -0.9, ""), ("fetched", -0.03, "")]),
    ],
)
def test_life_of_a_finished_job(times: JobTimes, outcome: str, status: int | None, life: Line) -> None:
    settled = ("settled", 0.0, outcome if times.tries == 1 else f"{outcome}, try {times.tries}")
    assert life_of(times, outcome, status) == [*life, settled]


def test_a_record_of_an_earlier_version_says_only_when_it_ended() -> None:
    assert life_of(JobTimes()) == [("settled", 0.0, "delivered")]


def test_life_of_a_dead_job_has_its_tries_and_no_nonsense() -> None:
    odd: list[dict[str, Any]] = [{}, {"at": "soon", "outcome": "x"}, {"at": AT_S, "outcome": 7}, {"at": 1e300}]
    unsent: dict[str, Any] = {"at": AT_S + 4, "outcome": "killed", "code": 7, "ms": "long"}
    entry = ShownJob(**PLAIN, at_s=AT_S + 5, created_at_s=AT_S - 60, history=(*odd, TRY, unsent))
    assert [(moment.what, round(moment.at_s - AT_S, 3), moment.note) for moment in of_job(entry, "dead")] == [
        ("pushed", -60, ""),
        ("sent", -1.5, ""),
        ("deferred", 0, "ServerError"),
        ("killed", 4, ""),
        ("died", 5, ""),
    ]


def test_a_job_in_a_set_ends_with_what_comes_next() -> None:
    entry = ShownJob(**PLAIN, at_s=AT_S, enqueued_at_s=AT_S - 60)
    assert [of_job(entry, kind)[-1].what for kind in ("retry", "schedule", "queue")] == ["next try", "due", "pushed"]
    foreign = ShownJob(**PLAIN, at_s=AT_S, failed_at_s=AT_S - 9, error_class="ServerError")
    assert [(one.what, one.note) for one in of_job(foreign, "dead")] == [("first failed", "ServerError"), ("died", "")]
    assert of_job(entry, "in progress", AT_S)[-1].what == "in progress"
    assert of_job(ShownJob(**PLAIN, at_s=1e300), "dead") == []
