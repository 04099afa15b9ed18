"""Payloads as real producers write them are read; what is no job comes back with a reason."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job.format import PAYLOAD_LIMIT_BYTES
from restbroker.job.job import Job, NotAJob, digest, memory_bytes, read, spare_jid
from restbroker.job.json_types import Json
from restbroker.job.rubyjson import dumps
from tests.support.rows import rows

SPARE = "0" * 24


def job(fields: dict[str, Json], forgotten: int = 0) -> Job:
    entry = read(json.dumps(fields).encode(), "q", SPARE, forgotten)
    assert isinstance(entry, Job), entry
    return entry


@rows("raw", [
    b"", b"{x", b"5", b"[1]", b"null", b'"text"', b"\x00", b'{"a":"\xff"}', b'{"a":"\\ud800"}', b'{"a":NaN}',
    b"{} {}",
])  # fmt: skip
def test_invalid_job_comes_back_with_a_reason(raw: bytes) -> None:
    entry = read(raw, "q", SPARE)
    assert isinstance(entry, NotAJob)
    assert entry.reason.code == "UnreadablePayload"
    assert entry.raw == raw


def test_longest_payload_stays_storable_when_rewritten() -> None:
    # Numbers grow most: 1e14 becomes 100000000000000.0.
    raw = b'{"restbroker_attempts":[' + b"1e14," * (PAYLOAD_LIMIT_BYTES // 5 - 8) + b"0]}"
    entry = read(raw, "q", SPARE)
    assert isinstance(entry, Job)
    assert isinstance(read(dumps(dict(entry.fields)), "q", SPARE), Job)


@given(st.binary(max_size=200))
def test_reading_never_raises(raw: bytes) -> None:
    assert isinstance(read(raw, "q", SPARE), Job | NotAJob)


@pytest.mark.promise("Producers: jobs", "a job without a jid gets one")
@rows("jid", [None, 5, "", [], "missing"])
def test_a_job_without_a_usable_jid_gets_the_spare_one(jid: Json) -> None:
    fields: dict[str, Json] = {"args": []} if jid == "missing" else {"args": [], "jid": jid}
    assert job(fields).jid == SPARE


def test_the_queue_is_the_one_it_was_taken_from() -> None:
    assert job({"queue": "elsewhere"}).queue == "q"


@rows(("count", "attempt"), [(None, 1), (0, 2), (3, 5), (-1, 1)])
def test_the_attempt_follows_from_the_retry_count(count: int | None, attempt: int) -> None:
    assert job({"retry_count": count, "failed_at": 1700000000.5}).attempt == attempt


def test_crashes_forgotten_runs_and_unanswered_ones_add_up() -> None:
    entry = job({"restbroker_crashes": 4, "restbroker_uncertain": 2}, forgotten=1)
    assert (entry.maybe_run, entry.crashes, entry.is_plain) == (7, 4, False)
    assert "restbroker_crashes" not in entry.fields
    assert job({"args": []}, forgotten=1).maybe_run == 1


@rows(("given_count", "counts"), [(1, 1), (-1, 0), ("2", 0), (None, 0), ([], 0)])
def test_a_senseless_uncertain_count_counts_as_none(given_count: Json, counts: int) -> None:
    assert job({"restbroker_uncertain": given_count}).maybe_run == counts


@pytest.mark.promise("Producers: jobs", "ok_if_exists: only true counts")
def test_only_true_means_ok_if_exists() -> None:
    assert job({"ok_if_exists": True}).ok_if_exists
    assert not job({"ok_if_exists": "yes"}).ok_if_exists


def test_the_spare_jid_is_the_same_for_the_same_ticket() -> None:
    assert spare_jid("id", "1:1") == spare_jid("id", "1:1") != spare_jid("id", "2:1")
    assert len(spare_jid("id", "1:1")) == 24


@pytest.mark.promise("Security: who can push to the queues", "to leave the API's path, or to add a header")
@pytest.mark.promise("Producers: jobs", "traceparent is passed on if it has the form of the W3C")
def test_only_well_formed_trace_context_is_passed_on() -> None:
    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert job({"traceparent": good}).traceparent == good
    others: tuple[Json, ...] = (f" {good}", "a\r\nX: y", "ü", 5, "x" * 100_000)
    assert [job({"traceparent": other}).traceparent for other in others] == [None] * 5


@pytest.mark.promise("Producers: jobs", "a payload over 1 MiB is dead")
def test_invalid_job_keeps_its_bytes_and_place_and_gives_advice() -> None:
    too_large = b'{"a":"' + b"x" * PAYLOAD_LIMIT_BYTES + b'"}'
    for raw, code, found in (
        (b"{x", "UnreadablePayload", "not valid JSON"),
        (b"5", "UnreadablePayload", "not an object"),
        (too_large, "PayloadTooLarge", "1048584 bytes; 1048576 are"),
    ):
        entry = read(raw, "q", SPARE)
        assert isinstance(entry, NotAJob)
        assert (entry.raw, entry.queue, entry.jid, entry.reason.code) == (raw, "q", SPARE, code)
        assert found in entry.reason.message
        assert entry.reason.hint


@pytest.mark.promise("Producers: jobs", "a payload over 1 MiB is dead")
def test_payload_of_the_greatest_length_is_a_job_also_if_stored() -> None:
    stored = b'{"restbroker_attempts":[],"a":"', b'{"restbroker_deferred_at":1,"a":"'
    for limit_bytes, start in ((1, b'{"a":"'), *((4, raw) for raw in stored)):
        longest = start + b"x" * (limit_bytes * PAYLOAD_LIMIT_BYTES - len(start) - 2) + b'"}'
        assert isinstance(read(longest, "q", SPARE), Job)
        assert isinstance(read(longest + b" ", "q", SPARE), NotAJob)


def test_payload_is_counted_under_the_name_the_scripts_give_it() -> None:
    # Redis' sha1hex("abc"), and the example of FIPS 180.
    assert digest(b"abc") == "a9993e364706816aba3e25717850c26c9cd0d89d"


@rows(("letter", "times"), [
    (b"x", 1), ("\U0001f600".encode(), 4), (b"\\ud83d\\ude00", 4), (b"[", 65),
])  # fmt: skip
def test_large_payload_counts_with_its_size_in_python(letter: bytes, times: int) -> None:
    raw = letter * 100_000 if times > 4 else letter + b"x" * 100_000
    assert memory_bytes(raw) == times * len(raw)


def test_a_small_payload_counts_with_its_bytes() -> None:
    assert memory_bytes(b"[\xf0\x9f\x98\x80]") == 6
