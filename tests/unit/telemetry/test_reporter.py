# ruff: noqa: SLF001 - what waits shows nowhere
"""Delivered jobs wait to be counted together: no reader misses one, nothing of them is kept, and a bug ends nothing."""

import io
import math
import weakref
from collections.abc import Callable

import pytest
import trio
import trio.testing

from restbroker.telemetry.counters import GATHER_S, MOST_WAIT, Counters, Reporter
from restbroker.telemetry.events import Event, EventHandled, JobFinished, JobsDelivered, StoreBack
from restbroker.telemetry.log import LogSettings, LogSink

FAILED = JobFinished("e", "q", "status", "j", "deferred", "retry", 1, 0.01, code="Timeout")


def reporter(stream: io.StringIO | None = None) -> Reporter:
    log = LogSink(LogSettings(), io.StringIO() if stream is None else stream)
    return Reporter(log, commands_of=lambda _target: {"status"})


def delivered(count: int = 1) -> JobsDelivered:
    return JobsDelivered("e", {"status": [0.01] * count})


class Spy:
    """Notes each event that is counted, and whether something waited then."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.counted: list[Event] = []
        count = Counters.__call__

        def noting(counters: Counters, event: Event) -> None:
            self.counted.append(event)
            count(counters, event)

        patch.setattr(Counters, "__call__", noting)


READERS: dict[str, Callable[[Counters], object]] = {
    "metrics": lambda counters: counters.samples()["restbroker_jobs_total"]["e", "status", "delivered"],
    "stats": lambda counters: counters.snapshot("e")["delivered"],
    "log": lambda counters: counters.take_sums()["e"].delivered,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_who_reads_a_count_finds_what_waited_in_it(read: Callable[[Counters], object]) -> None:
    report = reporter()
    for _ in range(3):
        report(delivered())
    assert read(report.counters) == 3


def test_any_other_event_is_reported_behind_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    spy, report = Spy(monkeypatch), reporter()
    events = (FAILED, EventHandled("s", "accepted"), StoreBack(1.0))
    for event in events:
        report(delivered())
        report(event)
    assert [type(event) for event in spy.counted[::2]] == [JobsDelivered] * 3
    assert spy.counted[1::2] == [*events]


async def test_jobs_are_counted_ten_times_a_second_at_most(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    spy, report = Spy(monkeypatch), reporter()
    async with trio.open_nursery() as nursery:
        await nursery.start(report.run)
        for _ in range(1000):
            report(delivered())
            await trio.sleep(0.001)
        await trio.sleep(GATHER_S)
        assert 9 <= len(spy.counted) <= 11
        assert report.counters.snapshot("e")["delivered"] == 1000
        nursery.cancel_scope.cancel()
    assert autojump_clock.current_time() < 1.2


async def test_while_nothing_waits_nothing_wakes_up(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    report = reporter()
    async with trio.open_nursery() as nursery:
        await nursery.start(report.run)
        for _ in range(2):
            await trio.testing.wait_all_tasks_blocked()
            assert trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf
            report(delivered())
            await trio.sleep(3 * GATHER_S)
        nursery.cancel_scope.cancel()


async def test_an_end_counts_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    spy, report = Spy(monkeypatch), reporter()
    async with trio.open_nursery() as nursery:
        await nursery.start(report.run)
        report(delivered(5))
        nursery.cancel_scope.cancel()
    assert spy.counted == [delivered(5)]


def test_what_waits_is_bounded_without_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    spy, report = Spy(monkeypatch), reporter()
    for number in range(MOST_WAIT + 10):
        report(JobsDelivered("e", {f"command-{number}": [0.01]}))
    assert sum(len(event.took_s) for event in spy.counted if isinstance(event, JobsDelivered)) == MOST_WAIT
    assert report._count == sum(map(len, report._waiting["e"].values())) == 10


def test_what_waits_keeps_nothing_of_a_job_but_its_time() -> None:
    class Job:
        def events(self) -> list[JobFinished]:
            return []

    job = Job()
    gone = weakref.ref(job)
    report = reporter()
    report(JobsDelivered("e", {"status": [0.01]}, job.events))
    del job
    assert gone() is None
    assert report._waiting == {"e": {"status": [0.01]}}


async def test_a_bug_in_counting_is_one_line_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    del autojump_clock
    stream = io.StringIO()
    report = reporter(stream)

    def fail(_counters: Counters, _event: Event) -> None:
        raise ZeroDivisionError("secret")

    async with trio.open_nursery() as nursery:
        await nursery.start(report.run)
        with monkeypatch.context() as patch:
            patch.setattr(Counters, "__call__", fail)
            report(delivered())
            assert report.counters.snapshot("e")["delivered"] == 0, "who reads goes on, too"
            report(delivered())
            await trio.sleep(2 * GATHER_S)
        report(delivered())
        await trio.sleep(2 * GATHER_S)
        nursery.cancel_scope.cancel()
    assert report.counters.snapshot("e")["delivered"] == 1
    line = 'WARNING warning code=Bug message="restbroker failed with ZeroDivisionError as it counted delivered jobs'
    assert stream.getvalue().count(line) == 2
    assert "secret" not in stream.getvalue()
