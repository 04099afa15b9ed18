# ruff: noqa: SLF001 - what is kept stays bounded, and no public name shows how much it is
import io
import json
import os
from typing import Any

import attrs
import pytest

from restbroker.telemetry import events
from restbroker.telemetry.counters import Reporter
from restbroker.telemetry.events import (
    BrokerStarted,
    BrokerStopped,
    ConfigRefused,
    Event,
    EventHandled,
    GroupStopped,
    JobDied,
    JobFinished,
    JobsDelivered,
    JobsPromoted,
    JobsRecovered,
    OneEvent,
    OperatorWarning,
    PauseEnded,
    PeriodicDue,
    StoreBack,
    StoreLost,
    StoreOutageChanged,
    TargetDown,
    TargetUp,
)
from restbroker.telemetry.log import LogSettings, LogSink
from restbroker.telemetry.log_events import LOG_EVENTS, Level
from restbroker.telemetry.metrics import METRICS
from tests.support.rows import rows

DELIVERED = JobFinished("ejabberd", "rest", "status", "j1", "delivered", "ack", 1, 0.01, 200)
FAILED = JobFinished(
    "ejabberd", "rest", "register", "j2", "deferred", "retry", 2, 0.02, 500, "HttpStatus500", 'said "no"', "Look."
)
STAMP = "2023-11-14T22:13:20.250Z"

LINES: list[tuple[Event, str]] = [
    (
        TargetDown("e", "Refused", "no one listens", "Start it."),
        'WARNING target.down target=e code=Refused message="no one listens" hint="Start it."',
    ),
    (TargetDown("e", "Denied", "401", denied=True), "ERROR   target.down target=e code=Denied message=401"),
    (TargetUp("e", 61.25), "INFO    target.up target=e down_for_s=61.2"),
    (
        StoreOutageChanged("m", 61.7),
        f'ERROR   still what=redis.lost for_s=62 message=m hint="{StoreLost.log.texts["hint"]}"',
    ),
    (
        JobDied("C", "status", "j1", "rest", "m"),
        "INFO    job.failed code=C command=status jid=j1 queue=rest message=m fate=dead",
    ),
    (PauseEnded("queue", "rest", "ann", None), "INFO    pause.ended kind=queue name=rest who=ann"),
    (JobsPromoted("retry", 3), "DEBUG   jobs.promoted zset=retry jobs=3 dead=0"),
    (JobsPromoted("retry", 3, 1), "WARNING jobs.promoted zset=retry jobs=3 dead=1"),
    (
        BrokerStarted(7, "1.0", ("e", "p"), ("q",), 20),
        "INFO    broker.started pid=7 version=1.0 targets=e,p queues=q concurrency=20",
    ),
    (BrokerStopped(clean=True, requeued=2, uncertain=0), "INFO    broker.stopped requeued=2 uncertain=0"),
    (
        BrokerStopped(clean=False, requeued=0, uncertain=1, reserved=5),
        (
            'WARNING broker.stopped requeued=0 uncertain=1 remaining=5 message="{left}" hint="{left_hint}"'.format(
                **BrokerStopped.log.texts
            )
        ),
    ),
    (
        BrokerStopped(clean=False, requeued=0, uncertain=0),
        (
            'WARNING broker.stopped requeued=0 uncertain=0 remaining=0 message="{listed}" hint="{listed_hint}"'.format(
                **BrokerStopped.log.texts
            )
        ),
    ),
    (
        ConfigRefused("env.json cannot be used.", "Mend it."),
        (
            'ERROR   config.refused message="The previous configuration stays in force. env.json cannot be used." '
            'hint="Mend it."'
        ),
    ),
    (GroupStopped(0), "INFO    group.stopped code=0"),
    (GroupStopped(137), "WARNING group.stopped code=137"),
    (
        DELIVERED,
        (
            "DEBUG   job.done target=ejabberd command=status jid=j1 queue=rest outcome=delivered fate=ack "
            "attempt=1 status=200 duration_ms=10.0"
        ),
    ),
]
"""Where the level or the form depends on what happened."""


def sink(level: Level = "info", *, json: bool = False) -> tuple[LogSink, io.StringIO]:
    stream = io.StringIO()
    return LogSink(LogSettings(level, json), stream, lambda: 1700000000.25), stream


def test_an_event_has_its_line_unless_it_is_below_the_level() -> None:
    for level in ("debug", "warning"):
        log, stream = sink(level)
        for event, _ in LINES:
            log(event)
        shown = [line for _, line in LINES if level == "debug" or line.startswith(("WARNING", "ERROR"))]
        assert stream.getvalue().splitlines() == [f"{STAMP} {line}" for line in shown]


def test_json_lines_hold_the_same() -> None:
    log, stream = sink(json=True)
    log(FAILED)
    log(BrokerStarted(7, "1.0", ("e", "p"), ("q",), 20))
    failed, started = map(json.loads, stream.getvalue().splitlines())
    assert failed == {
        "timestamp": STAMP,
        "level": "info",
        "event": "job.failed",
        "target": "ejabberd",
        "code": "HttpStatus500",
        "command": "register",
        "jid": "j2",
        "queue": "rest",
        "outcome": "deferred",
        "fate": "retry",
        "attempt": 2,
        "status": 500,
        "message": 'said "no"',
        "hint": "Look.",
    }
    assert list(failed)[:3] == ["timestamp", "level", "event"]
    assert started["targets"] == ["e", "p"]


def test_each_line_of_a_worker_has_its_number_after_a_reload_too() -> None:
    for as_json, first in ((False, f"{STAMP} INFO    redis.back worker=2 outage_s="), (True, '"worker":2,"outage_s":')):
        stream = io.StringIO()
        log = LogSink(LogSettings("info", as_json, worker=2), stream, lambda: 1700000000.25)
        log(StoreBack(3.0))
        log.settings = attrs.evolve(log.settings, level="debug")
        log(StoreBack(4.0))
        assert [first in line for line in stream.getvalue().splitlines()] == [True, True]


def test_failure_is_logged_at_once_and_its_repeats_as_a_count() -> None:
    log, stream = sink()
    report = Reporter(log)
    for _ in range(5):
        report(FAILED)
    first = stream.getvalue()
    assert first == (
        f"{STAMP} INFO    job.failed target=ejabberd code=HttpStatus500 command=register jid=j2 queue=rest "
        'outcome=deferred fate=retry attempt=2 status=500 message="said \\"no\\"" hint=Look.\n'
    )
    report.tick(1700000010.25)
    repeats, summary = stream.getvalue().removeprefix(first).splitlines()
    assert repeats == f"{STAMP} INFO    jobs.failed target=ejabberd code=HttpStatus500 count=4"
    assert "summary" in summary


@rows("fate", ["dead", "drop"])
def test_admitted_dead_job_always_has_a_line_and_is_not_counted(fate: str) -> None:
    log, stream = sink()
    for number in range(5):
        log(attrs.evolve(FAILED, jid=f"j{number}", fate=fate, admitted=True))
        log(attrs.evolve(FAILED, fate=fate))
        log(attrs.evolve(FAILED, admitted=True))
    assert all(stream.getvalue().count(f"jid=j{number} ") == 1 for number in (0, 1, 3, 4))
    log.tick(1700000010.25)
    assert "jobs.failed target=ejabberd code=HttpStatus500 count=10" in stream.getvalue()


def test_a_flood_of_reasons_does_not_fill_the_memory() -> None:
    log, stream = sink()
    for number in range(5000):
        log(JobFinished("a", "q", "c", "j", "rejected", "dead", 1, 0.01, code=f"C{number}"))
    assert stream.getvalue().count("job.failed") == 201
    log.tick(1700000010.25)
    assert "jobs.failed target=a code=Other count=4799" in stream.getvalue()


def test_warning_is_logged_three_times_and_then_as_a_count() -> None:
    log, stream = sink()
    for number in range(5):
        log(OperatorWarning("RequestFailed", "/stats failed"))
        log(OperatorWarning("WorkerEnded", f"Worker {number} ended"))
    assert stream.getvalue().count("code=RequestFailed") == 3
    assert stream.getvalue().count("code=WorkerEnded") == 5
    log.tick(510.0)
    assert stream.getvalue().endswith("WARNING warnings code=RequestFailed count=2\n")
    log(OperatorWarning("RequestFailed", "/stats failed"))
    assert stream.getvalue().endswith('code=RequestFailed message="/stats failed"\n')


def test_flood_of_warnings_fills_neither_memory_nor_disk() -> None:
    log, stream = sink()
    for number in range(1000):
        log(OperatorWarning("RequestFailed", f"/{number} failed"))
    assert len(log._warnings) <= 201
    log.tick(510.0)
    assert stream.getvalue().count("code=RequestFailed message") == 203
    assert "WARNING warnings code=RequestFailed count=797\n" in stream.getvalue()


def test_summary_covers_the_last_ten_seconds_of_busy_targets() -> None:
    log, stream = sink()
    report = Reporter(log)
    report.tick(500.0)
    for _ in range(99):
        report(DELIVERED)
    report(FAILED)
    report.tick(510.0)
    written = stream.getvalue()
    assert (
        "summary target=ejabberd delivered=99 failed=1 rate_per_s=10.0 p50_ms=9.62 p95_ms=9.62 p99_ms=9.62\n" in written
    )
    report.tick(520.0)
    assert stream.getvalue() == written


def test_server_events_are_summed_by_source_with_lines_at_debug() -> None:
    for level in ("info", "debug"):
        log, stream = sink(level)
        log.tick(100.0)
        for source, outcome in (("p", "accepted"), ("q", "malformed"), ("p", "accepted"), ("p", "duplicate")):
            log(EventHandled(source, outcome))
        alone = stream.getvalue()
        assert alone.count("event source=p outcome=accepted\n") == (2 if level == "debug" else 0)
        log.tick(110.0)
        assert stream.getvalue().removeprefix(alone) == (
            f"{STAMP} INFO    events source=p accepted=2 duplicate=1 rate_per_s=0.3\n"
            f"{STAMP} INFO    events source=q malformed=1 rate_per_s=0.1\n"
        )
        log.tick(120.0)
        assert stream.getvalue().count("events source=p") == 1


def test_the_first_summary_counts_from_the_start() -> None:
    times = iter([1000.0, 1004.0, 1004.0])
    stream = io.StringIO()
    log = LogSink(stream=stream, now_s=lambda: next(times))
    report = Reporter(log)
    report(DELIVERED)
    report.tick(77.0)
    assert " rate_per_s=0.2 " in stream.getvalue()


@pytest.mark.promise("Security: who can push to the queues", "to forge a line of the log, or to trick a terminal")
@rows("json", [False, True])
def test_no_event_can_forge_a_line(json: bool) -> None:
    log, stream = sink(json=json)
    log(StoreLost("a\nb\r\x1b[2J\u2028\ud800\u202e\u061c\u200b\x9b"))
    assert len(stream.getvalue().splitlines()) == 1
    assert stream.getvalue().rstrip("\n").isprintable()


@pytest.mark.promise("Security: who can push to the queues", "to forge a line of the log, or to trick a terminal")
def test_no_event_makes_a_line_a_journal_would_split() -> None:
    log, stream = sink()
    log(attrs.evolve(FAILED, jid="x" * 48_000 + "2026-01-01T00:00:00Z ERROR forged"))
    assert max(map(len, stream.getvalue().splitlines())) < 16_000


def test_lasting_trouble_is_repeated_each_minute_until_over() -> None:
    times = iter([1000.0 + 10 * number for number in range(100)])
    stream = io.StringIO()
    log = LogSink(stream=stream, now_s=lambda: next(times))
    log(StoreLost("refused"))
    log(TargetDown("e", "Refused", "no one listens"))
    for moment_s in range(0, 121, 10):
        log.tick(float(moment_s))
    reminders = [line.split(" ", 1)[1] for line in stream.getvalue().splitlines() if " still " in line]
    assert [line[:28] for line in reminders] == ["ERROR   still what=redis.los", "WARNING still what=target.do"] * 2
    assert "message=refused" in reminders[0]
    log(StoreBack(130.0))
    log(TargetUp("e", 130.0))
    log.tick(500.0)
    assert stream.getvalue().count(" still ") == len(reminders)


def test_reminder_of_an_outage_has_its_newest_reason_and_length() -> None:
    times = iter([1000.0 + 10 * number for number in range(100)])
    stream = io.StringIO()
    log = LogSink(stream=stream, now_s=lambda: next(times))
    log(StoreLost("refused"))
    log.tick(0.0)
    log(StoreOutageChanged("no login", 10.0))
    log.tick(60.0)
    last = stream.getvalue().splitlines()[-1]
    assert "ERROR   still what=redis.lost for_s=" in last
    assert 'message="no login"' in last
    assert "refused" not in last
    assert int(last.partition("for_s=")[2].split()[0]) > 10


def test_new_generation_forgets_old_breakers_but_not_redis() -> None:
    log, stream = sink()
    log(StoreLost("refused"))
    log(TargetDown("e", "Refused", "no one listens"))
    log(BrokerStarted(7, "1.0", ("e",), ("q",), 20))
    log.tick(0.0)
    log.tick(60.0)
    assert "still what=redis.lost" in stream.getvalue()
    assert "still what=target.down" not in stream.getvalue()


def test_target_down_before_the_start_is_repeated_each_minute() -> None:
    log, stream = sink()
    for target in ("e", "f"):
        log(TargetDown(target, "Refused", "no one listens"))
    log(BrokerStarted(7, "1.0", ("e", "f"), ("q",), 20, down=("f",)))
    log.tick(0.0)
    log.tick(60.0)
    (reminder,) = [line for line in stream.getvalue().splitlines() if "still what=target.down" in line]
    assert "target=f" in reminder
    assert "down=" not in stream.getvalue()


def test_a_closed_stream_is_ignored() -> None:
    log, stream = sink()
    stream.close()
    log(StoreLost("refused"))
    log(FAILED)
    log.tick(1700000010.25)
    assert stream.closed


def test_a_broken_pipe_is_ignored() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = LogSink(LogSettings(), os.fdopen(writer, "w", buffering=1), lambda: 0.0)
    log(StoreLost("refused"))
    log(StoreLost("refused"))
    with pytest.raises(BrokenPipeError):
        log.stream.close()


def test_jobs_reported_together_are_summed_with_lines_at_debug() -> None:
    calls = 0

    def each() -> list[JobFinished]:
        nonlocal calls
        calls += 1
        return [DELIVERED] * 3

    together = JobsDelivered("ejabberd", {"status": [0.01, 0.01], "ping": [0.01]}, each)
    levels: list[tuple[Level, int]] = [("info", 0), ("debug", 3)]
    for level, lines_each in levels:
        log, stream = sink(level)
        report = Reporter(log)
        report.tick(500.0)
        report(together)
        assert stream.getvalue().count("job.done") == lines_each, "at once"
        report.tick(510.0)
        written = stream.getvalue()
        assert written.count("DEBUG   job.done target=ejabberd command=status jid=j1") == lines_each
        assert (
            "summary target=ejabberd delivered=3 failed=0 rate_per_s=0.3 p50_ms=9.62 p95_ms=9.62 p99_ms=9.62\n"
            in written
        )
    assert calls == 1, "what nobody writes is not made"


def test_failure_is_logged_in_full_again_after_ten_seconds() -> None:
    log, stream = sink()
    log(FAILED)
    log.tick(1700000010.25)
    log(FAILED)
    assert stream.getvalue().count("job.failed") == 2
    assert "jobs.failed" not in stream.getvalue()


HIDDEN = {(BrokerStarted, "down"), (BrokerStopped, "clean"), (BrokerStopped, "reserved"), (JobFinished, "admitted")}
HIDDEN |= {(JobsRecovered, "waits_s"), (PeriodicDue, "alarming"), (TargetDown, "denied")}
OF_SEVERAL = {"events", "jobs.failed", "summary", "warnings"}


def kinds_of_events() -> list[Any]:
    found = (value for value in vars(events).values() if isinstance(value, type) and issubclass(value, OneEvent))
    return [event for event in found if event is not OneEvent]


def test_each_event_shows_all_it_has_in_line_and_metrics() -> None:
    for kind in kinds_of_events():
        row = kind.log
        fields = {*row.fields.split()}
        names = (fields - {*row.texts}) | {name for name in (row.second_if, *row.metrics.values()) if name}
        labels = {label for name in row.metrics for label in METRICS[name].labels}
        assert [name for name in names | labels if not hasattr(kind, name)] == [], kind
        assert len(row.levels) == 1 + bool(row.second_if), kind
        shown = fields | {"took_s" if "duration_ms" in fields else "", "duration_s" if "duration_ms" in fields else ""}
        assert {(kind, field.name) for field in attrs.fields(kind)} - HIDDEN <= {(kind, name) for name in shown}
    assert {kind.log.name for kind in kinds_of_events()} == {*LOG_EVENTS} - OF_SEVERAL


def test_each_line_of_several_events_has_the_fields_of_its_row() -> None:
    log, stream = sink(json=True)
    report = Reporter(log)
    for _ in range(5):
        report(FAILED)
        report(OperatorWarning("C", "m"))
    for outcome in ("accepted", "duplicate"):
        report(EventHandled("s", outcome))
    report.tick(1.0)
    written = {line["event"]: line for line in map(json.loads, stream.getvalue().splitlines())}
    for name in OF_SEVERAL:
        assert [*written[name]][3:] == LOG_EVENTS[name].fields.split()
        assert [written[name]["level"]] == [*LOG_EVENTS[name].levels]
