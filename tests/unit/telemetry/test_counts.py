"""What happened is counted for /metrics, under labels that nobody from outside chooses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.telemetry.counts import MOST_CODES, MOST_COMMANDS, Counts
from restbroker.telemetry.events import (
    BrokerQuiet,
    EventHandled,
    GateClosed,
    IdentityFenced,
    JobFinished,
    JobsDelivered,
    JobsRecovered,
    StoreLost,
    Warned,
)
from restbroker.telemetry.series import Distribution

KNOWN = {"register", "status"}


def finished(
    command: str = "status", outcome: str = "deferred", fate: str = "retry", code: str = "Timeout"
) -> JobFinished:
    return JobFinished("e", "q", command, "j", outcome, fate, 1, 0.01, code=code)


def counts() -> Counts:
    return Counts(lambda _target: KNOWN)


def test_jobs_are_counted_by_target_command_and_outcome() -> None:
    seen = counts()
    seen(JobsDelivered("e", {"status": [0.1, 0.2], "status/v1": [0.1], "mine": [0.3]}, list))
    seen(finished("register"))
    assert seen.samples()["restbroker_jobs_total"] == {
        ("e", "status", "delivered"): 3,
        ("e", "other", "delivered"): 1,
        ("e", "register", "deferred"): 1,
    }


def test_what_was_not_done_is_counted_by_code_and_fate() -> None:
    seen = counts()
    for event in (finished(), finished(fate="dead", code="BadToken"), finished(outcome="delivered", fate="ack")):
        seen(event)
    seen(finished(fate="dead", code="no code\nat all"))
    assert seen.samples()["restbroker_failures_total"] == {
        ("e", "Timeout", "retry"): 1,
        ("e", "BadToken", "dead"): 1,
        ("e", "other", "dead"): 1,
    }


def test_events_of_servers_are_counted_by_source_and_outcome() -> None:
    seen = counts()
    for source, outcome in (("p", "accepted"), ("p", "accepted"), ("p", "malformed"), ("q", "accepted")):
        seen(EventHandled(source, outcome))
    assert seen.samples()["restbroker_events_total"] == {
        ("p", "accepted"): 2,
        ("p", "malformed"): 1,
        ("q", "accepted"): 1,
    }


def test_how_long_a_server_waited_is_counted_for_what_was_taken() -> None:
    seen = counts()
    for event in (
        EventHandled("p", "accepted", 0.003),
        EventHandled("p", "own", 0.2),
        EventHandled("p", "unavailable"),
    ):
        seen(event)
    found = seen.samples()["restbroker_event_seconds"]
    assert list(found) == [("p",)]
    distribution = found["p",]
    assert isinstance(distribution, Distribution)
    assert sum(distribution.counts) == 2
    assert distribution.total_s == pytest.approx(0.203)


def test_events_of_the_process_are_counted() -> None:
    seen = counts()
    for event in (
        GateClosed("e", "TargetUnreachable", "m"),
        StoreLost("m"),
        IdentityFenced("i"),
        JobsRecovered("i", 7, 1),
        Warned("DeadSetFull", "m"),
        BrokerQuiet("SIGTSTP"),
    ):
        seen(event)
    samples = seen.samples()
    assert samples["restbroker_gate_closings_total"] == {("e", "TargetUnreachable"): 1}
    assert samples["restbroker_warnings_total"] == {("DeadSetFull",): 1}
    assert [samples[name][()] for name in samples if name.startswith(("restbroker_redis", "restbroker_fenced"))] == [
        1,
        1,
    ]
    assert samples["restbroker_jobs_recovered_total"] == {(): 7}


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=50))
def test_no_name_from_outside_becomes_a_label(names: list[tuple[str, str]]) -> None:
    seen = counts()
    for command, code in names:
        seen(finished(command, code=code))
    samples = seen.samples()
    assert {command for _, command, _ in samples["restbroker_jobs_total"]} <= {*KNOWN, "other"}
    assert all(code.isascii() and code.isalnum() for _, code, _ in samples["restbroker_failures_total"])


def test_labels_are_bounded() -> None:
    seen = Counts(lambda _target: {f"c{number}" for number in range(1000)})
    for number in range(1000):
        seen(finished(f"c{number}", code=f"Code{number}"))
    samples = seen.samples()
    assert len(samples["restbroker_jobs_total"]) == MOST_COMMANDS + 1
    assert len(samples["restbroker_failures_total"]) == MOST_CODES + 1
    assert samples["restbroker_jobs_total"]["e", "other", "deferred"] == 1000 - MOST_COMMANDS
