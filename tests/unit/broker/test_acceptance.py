"""Which signatures and marks of acceptance are timely, by two clocks, and for how long they are recorded as done."""

import attrs
import pytest

from restbroker.broker.acceptance import CLOCKS_DIFFER, accept, fingerprint_of, record_of
from restbroker.broker.tokens import Proof
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.job import rubyjson, signing
from restbroker.job.job import Job, read
from restbroker.job.outcome import Delivered, Duplicate, Expired, Reason
from restbroker.job.settlement import Ack, Dead, Drop, Requeue, Retry, Schedule
from restbroker.job.signing import Signature

NOW_S, DAY_S = 1_795_165_609.0, 86_400.0
WINDOW_S = 3600.0
TOKEN = Token("app", (Secret("s3cret"),), window_s=WINDOW_S)


def signature(age_s: float) -> Signature:
    found = signing.read(f"v1q:app:{NOW_S - age_s:.0f}:{'ab' * 32}")
    assert found is not None
    return found


def proof(age_s: float) -> Proof:
    return Proof(TOKEN, "s3cret", is_previous=False, signature=signature(age_s))


def job(**fields: str) -> Job:
    entry = read(rubyjson.dumps({"class": "A", "jid": "j1", "args": ["safe", {}, "x"], **fields}), "rest", "")
    assert isinstance(entry, Job)
    return entry


def marked(by: Proof, ago_s: float) -> Job:
    assert by.signature is not None
    return job(restbroker_accepted=signing.acceptance("s3cret", by.signature, "rest", NOW_S - ago_s))


def verdict(found: Job | Reason) -> str:
    return found.code if isinstance(found, Reason) else "accepted"


LATE, WAITS, OK = "UntimelySignature", "ClocksDiffer", "accepted"


@pytest.mark.parametrize(
    ("age_s", "ahead_s", "expected"),
    [
        (0, 0, OK),
        (WINDOW_S, 0, OK),
        (WINDOW_S + 1, 0, LATE),
        (-60, 0, OK),
        (-61, 0, LATE),
        # One clock finds it timely, and both are alike.
        (WINDOW_S + 50, -59, OK),
        (WINDOW_S - 9, 59, OK),
        (-110, 59, OK),
        (-121, 59, LATE),
        (WINDOW_S + 61, -59, LATE),
        # Both are not alike.
        (0, 61, WAITS),
        (0, -61, WAITS),
        (0, 7200, WAITS),
        (-7200, 7200, WAITS),
        (7200, -7200, WAITS),
        # What both find untimely is.
        (WINDOW_S + 1, 7200, LATE),
        (7200 + WINDOW_S + 1, -7200, LATE),
        (-7261, 7200, LATE),
        (-61, -7200, LATE),
    ],
)
def test_a_signature_is_untimely_by_both_clocks_or_not_at_all(age_s: float, ahead_s: float, expected: str) -> None:
    assert verdict(accept(job(), proof(age_s), "rest", NOW_S, ahead_s)) == expected


@pytest.mark.parametrize(
    ("ago_s", "ahead_s", "expected"),
    [
        (0, 0, OK),
        (0, 7200, OK),
        (0, -7200, OK),
        (-DAY_S, 0, OK),
        (30 * DAY_S, 0, OK),
        (30 * DAY_S + 1, 0, LATE),
        (30 * DAY_S + 50, -59, OK),
        (30 * DAY_S + 1, 7200, LATE),
        (30 * DAY_S, 7200, WAITS),
        (30 * DAY_S + 1, -7200, WAITS),
    ],
)
def test_a_mark_is_good_for_30_days_however_old_its_signature(ago_s: float, ahead_s: float, expected: str) -> None:
    by = proof(400 * DAY_S)
    entry = marked(by, ago_s)
    found = accept(entry, by, "rest", NOW_S, ahead_s)
    assert verdict(found) == expected
    if isinstance(found, Job):
        assert found is entry, "it is not renewed by being seen"


def test_a_new_mark_says_when_it_was_made_by_the_clock_of_redis() -> None:
    by = proof(0)
    found = accept(job(), by, "rest", NOW_S, 30.0)
    assert isinstance(found, Job)
    assert by.signature is not None
    assert signing.accepted_at_s(found.fields, "s3cret", by.signature) == NOW_S + 30


@pytest.mark.promise("Security: who can write to Redis beyond the queues", "to have a signed job done again")
def test_every_signature_that_can_be_accepted_again_is_on_record() -> None:
    """Its record begins when it is done, at the earliest now, and is over by the clock of Redis.

    So whatever the clocks of two brokers, each within a minute of Redis', what the one accepted now the other accepts
    no more when the record is over.
    """
    for accepting_s in (-60.0, 0.0, 60.0):
        by = proof(-accepting_s - 60.0)
        entry = job()
        found = accept(entry, by, "rest", NOW_S + accepting_s, -accepting_s)
        assert isinstance(found, Job)
        one = fingerprint_of(entry, found, by, NOW_S + min(0.0, accepting_s))
        assert one is not None
        over_s = NOW_S + one.keep_s + 1
        for other_s in (-60.0, 0.0, 60.0):
            assert verdict(accept(entry, by, "rest", over_s + other_s, -other_s)) == LATE


def test_marked_job_is_recorded_as_long_as_its_mark_is_good() -> None:
    by = proof(400 * DAY_S)
    entry = marked(by, 10 * DAY_S)
    one = fingerprint_of(entry, entry, by, NOW_S)
    assert one is not None
    assert (one.is_stored, one.queue, one.keep_s) == (True, "rest", 20 * DAY_S + 180)


def test_record_follows_from_the_fate_of_the_job() -> None:
    by = proof(0)
    entry = job()
    accepted = accept(entry, by, "rest", NOW_S, 0.0)
    assert isinstance(accepted, Job)
    first = fingerprint_of(entry, accepted, by, NOW_S)
    assert first is not None
    assert (first.is_stored, first.is_done, first.keep_s) == (False, True, WINDOW_S + 180)
    stored = attrs.evolve(first, is_stored=True, is_done=False, keep_s=30 * DAY_S + 180)
    for settlement in (Retry(1.0, b"{}"), Schedule(1.0, b"{}"), Dead(1.0, b"{}"), Requeue(b"{}")):
        assert record_of(first, settlement, None) == stored
        assert record_of(attrs.evolve(first, is_stored=True), settlement, None) is None, "the mark is the same"
    assert record_of(first, Requeue(), None) is None
    assert record_of(first, Drop(), None) is None
    assert record_of(first, Ack(), Delivered("0", 0, 200)) == first
    for undone in (Duplicate(CLOCKS_DIFFER, "j2"), Expired(CLOCKS_DIFFER), None):
        assert record_of(first, Ack(), undone) is None
