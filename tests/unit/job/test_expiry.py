"""When a job expires: what it says itself, what its target says of the command, and what a person says."""

import pytest

from restbroker.job import expiry, settle
from restbroker.job.backoff import SidekiqBackoff
from restbroker.job.job import Job
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Expired, Reason, Rejected, Uncertain
from restbroker.job.policy import Context, Policy
from restbroker.job.settlement import Ack, Dead, Drop, Retry, Schedule

NOW_S = 1_790_000_000.5


@pytest.mark.parametrize("written", [NOW_S, NOW_S * 1000])
def test_a_time_is_read_in_seconds_and_in_milliseconds(written: float) -> None:
    assert expiry.read({"expiry": written}, None) == NOW_S


@pytest.mark.parametrize("written", ["1790000000", True, False, -1, 0, [], {}, 1e300])
def test_invalid_time_is_refused_and_not_ignored(written: Json) -> None:
    found = expiry.read({"expiry": written}, None)
    assert isinstance(found, Reason)
    assert found.code == "BadExpiry"


def test_expiry_of_a_job_precedes_that_of_its_target() -> None:
    assert expiry.read({"created_at": NOW_S}, 60.0) == NOW_S + 60
    assert expiry.read({"created_at": int(NOW_S * 1000)}, 60.0) == NOW_S + 60
    assert expiry.read({"created_at": NOW_S, "expiry": NOW_S + 5}, 60.0) == NOW_S + 5
    assert expiry.read({"created_at": NOW_S, "expiry": None}, 60.0) is None


@pytest.mark.parametrize("fields", [{}, {"created_at": "yesterday"}, {"enqueued_at": NOW_S}])
def test_a_job_that_says_no_time_at_all_never_expires(fields: dict[str, Json]) -> None:
    assert expiry.read(fields, 60.0) is None
    assert expiry.read(fields, None) is None


def test_a_person_lifts_an_expiry_that_has_passed_and_no_other() -> None:
    passed: dict[str, Json] = {"expiry": NOW_S}
    assert expiry.lift(passed, None, NOW_S + 1) == {"expiry": None}
    assert expiry.lift(passed, None, NOW_S - 1) == passed
    assert expiry.lift({"created_at": NOW_S}, 60.0, NOW_S + 61)["expiry"] is None
    assert expiry.lift({"created_at": NOW_S}, None, NOW_S + 61) == {"created_at": NOW_S}


def job(**fields: Json) -> Job:
    return Job(b"{}", {"class": "Add", "jid": "1", "retry": True, **fields}, "1", "q", 1, 0, None)


def context(*, keeps: bool = False) -> Context:
    return Context(Policy(SidekiqBackoff(), keeps_expired=keeps), NOW_S, jitter=0.0, unique=0, reply_jid="r")


EXPIRED = Expired(Reason("Expired", "It had expired 3 s before it could be sent."))


def test_job_expired_unsent_is_dropped_as_done() -> None:
    assert settle.settle(job(), None, EXPIRED, context()) == Ack()


def test_expired_job_is_kept_where_the_target_says_so() -> None:
    assert isinstance(settle.settle(job(), None, EXPIRED, context(keeps=True)), Dead)
    assert isinstance(settle.settle(job(dead=False), None, EXPIRED, context(keeps=True)), Drop)


@pytest.mark.parametrize(
    "fields", [{"restbroker_may_have_run": True}, {"restbroker_effected": True}], ids=["before", "in part"]
)
def test_job_that_may_have_run_is_never_dropped(fields: dict[str, Json]) -> None:
    assert isinstance(settle.settle(job(**fields), None, EXPIRED, context()), Dead)
    lost = Expired(EXPIRED.reason, maybe_run=True)
    assert isinstance(settle.settle(job(), None, lost, context()), Dead)


def test_try_that_would_come_too_late_names_the_last_error() -> None:
    broken = Deferred(Reason("HttpStatus500", "It broke.", "Look at it.", 500), text="oops")
    retry = Retry(30.0, b"{}")
    found = settle.expire_before(retry, broken, NOW_S + 29, NOW_S)
    assert found is not None
    assert found.text == "oops"
    assert not found.maybe_run
    assert found.reason.code == "Expired"
    assert found.reason.status == 500
    assert "HttpStatus500: It broke." in found.reason.message
    assert settle.expire_before(retry, broken, NOW_S + 31, NOW_S) is None
    assert settle.expire_before(retry, broken, None, NOW_S) is None
    assert settle.expire_before(Schedule(30.0, b"{}"), broken, NOW_S, NOW_S) is not None


def test_a_try_without_an_answer_may_have_run() -> None:
    found = settle.expire_before(Retry(30.0, b"{}"), Uncertain(Reason("TimedOut", "No answer.")), NOW_S, NOW_S)
    assert found is not None
    assert found.maybe_run


def test_outcome_that_ends_a_job_is_not_replaced() -> None:
    dead = Dead(NOW_S, b"{}")
    assert settle.expire_before(dead, Rejected(Reason("BadArgument", "No.")), NOW_S - 1, NOW_S) is None
    assert settle.expire_before(Ack(), Delivered("0", 0, 200), NOW_S - 1, NOW_S) is None
