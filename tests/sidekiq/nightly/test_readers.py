"""Each defect that was measured on Sidekiq Web, put into a good record or job, is refused by exactly the versions that
it broke: so readers.py is right.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import pytest

from tests.sidekiq.readers import READERS, PageGone, Place, Reader, ShownWrong

ALL: Final = set(READERS)
NEW: Final = {"8.0", "8.1"}
OLD: Final = ALL - NEW
NONE: Final = set[str]()
SETS: Final[tuple[Place, ...]] = ("retry", "schedule", "dead")
PLACES: Final[tuple[Place, ...]] = ("queue", *SETS)
IDENTITY: Final = "host:1:0123456789ab"


def good_info() -> dict[str, Any]:
    return {
        "hostname": "host",
        "started_at": 1_700_000_000.5,
        "pid": 1,
        "tag": "restbroker",
        "concurrency": 10,
        "queues": ["rest"],
        "weights": [{"rest": 0}],
        "labels": ["ejabberd"],
        "identity": IDENTITY,
        "version": "restbroker 1",
        "embedded": False,
        "capsules": {"ejabberd": {"concurrency": 10, "mode": "strict", "weights": {"rest": 0}}},
    }


def good_process(info: Mapping[str, Any]) -> dict[str, str]:
    numbers = {"busy": "1", "beat": "1700000000.5", "rss": "40000", "rtt_us": "120", "concurrency": "10"}
    return {"info": json.dumps(info), "quiet": "false", **numbers}


def good_job() -> dict[str, Any]:
    return {
        "class": "Add",
        "args": ["check_account", {"user": "a"}, "token"],
        "jid": "0123456789abcdef01234567",
        "queue": "rest",
        "retry": True,
        "created_at": 1_700_000_000.25,
        "enqueued_at": 1_700_000_000.5,
        "failed_at": 1_700_000_001.5,
        "retry_count": 0,
        "error_class": "HTTP500",
        "error_message": "no",
    }


def good_work() -> dict[str, Any]:
    return {"queue": "rest", "run_at": 1_700_000_000, "payload": json.dumps(good_job())}


def refusals(read: Callable[[Reader], None]) -> tuple[set[str], set[str]]:
    """The versions that lose a page over it, and those that show something false."""
    gone, wrong = set[str](), set[str]()
    for version, reader in READERS.items():
        try:
            read(reader)
        except PageGone:
            gone.add(version)
        except ShownWrong:
            wrong.add(version)
    return gone, wrong


def refusals_of_job(place: Place, fields: object) -> tuple[set[str], set[str]]:
    """The same for a job, or for what stands in the place of one; bytes are as they are."""
    member = fields if isinstance(fields, bytes) else json.dumps(fields)
    return refusals(lambda reader: reader.job(place, member))


def without(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


@pytest.mark.promise("Sidekiq: other versions", "info: started_at a number")
@pytest.mark.promise("Sidekiq: other versions", "info: queues, weights, capsules")
@pytest.mark.promise("Sidekiq: other versions", "info: concurrency")
def test_defective_process_info_is_refused_by_affected_versions() -> None:
    info = good_info()
    rows: list[tuple[Mapping[str, Any], set[str], set[str]]] = [
        (info, NONE, NONE),
        (without(info, "started_at"), ALL, NONE),
        (without(info, "concurrency"), {"7", "8.0"}, {"5", "6.4", "6.5"}),
        (without(info, "queues"), {"5", "6.4", "6.5"}, NONE),
        (without(info, "capsules"), {"8.0"}, NONE),
        ({**info, "labels": None}, NONE, NONE),
        ({**info, "weights": {"rest": 0}}, NONE, NONE),
        ({**info, "weights": [None]}, {"7", "8.0"}, NONE),
        ({**info, "identity": "other"}, NONE, ALL),
        ({**info, "embedded": True}, NONE, ALL),
        *(
            (without(info, name), NONE, NONE)
            for name in ("version", "embedded", "tag", "pid", "hostname", "weights", "labels")
        ),
    ]
    found = [refusals(lambda reader, one=fields: reader.process(IDENTITY, good_process(one))) for fields, _, _ in rows]  # type: ignore[misc]
    assert found == [(gone, wrong) for _, gone, wrong in rows]


@pytest.mark.promise("Sidekiq: other versions", "the record's field concurrency")
def test_missing_process_field_is_refused_by_versions_needing_it() -> None:
    needed_by = {"info": ALL, "quiet": ALL, "rss": NONE, "rtt_us": NONE, "concurrency": {"8.1"}}
    for name, wrong in needed_by.items():
        fields = without(good_process(good_info()), name)
        assert refusals(lambda reader, fields=fields: reader.process(IDENTITY, fields)) == (NONE, wrong), name  # type: ignore[misc]


@pytest.mark.promise("Sidekiq: other versions", "jobs in progress: run_at and payload")
def test_defective_running_job_is_refused_by_affected_versions() -> None:
    rows: list[tuple[Mapping[str, Any], set[str]]] = [
        ({}, NONE),
        ({"run_at": "1700000000"}, ALL),
        ({"run_at": 1_700_000_000.5}, NONE),
        ({"payload": good_job()}, NONE),
        ({"payload": without(good_job(), "class")}, NONE),
        ({"payload": None}, ALL),
    ]
    for change, gone in rows:
        value = json.dumps({**good_work(), **change})
        assert refusals(lambda reader, value=value: reader.running_job(value)) == (gone, NONE), value  # type: ignore[misc]


@pytest.mark.promise("Sidekiq: other versions", "times are numbers with a fraction")
@pytest.mark.promise("Sidekiq: other versions", "failed_at and retried_at")
@pytest.mark.promise("Sidekiq: other versions", "queue in every set")
@pytest.mark.promise("Sidekiq: other versions", "jid")
@pytest.mark.promise("Sidekiq: other versions", "tags a list")
@pytest.mark.promise("Sidekiq: other versions", "error_backtrace packed, not a list")
def test_defective_job_is_refused_by_affected_versions() -> None:
    rows: list[tuple[Iterable[Place], Mapping[str, Any], set[str], set[str]]] = [
        (PLACES, {}, NONE, NONE),
        (["retry"], {"failed_at": None}, ALL, NONE),
        (["retry"], {"failed_at": "2006-01-02 15:04:05 UTC"}, ALL, NONE),
        (["retry", "dead"], {"created_at": "2006-01-02"}, ALL, NONE),
        (PLACES, {"enqueued_at": "2006-01-02"}, ALL, NONE),
        (PLACES, {"enqueued_at": None, "created_at": None}, NONE, NONE),
        (PLACES, {"enqueued_at": 1_700_000_000}, NONE, NEW),
        (PLACES, {"enqueued_at": 1_700_000_000_000}, NONE, OLD),
        (SETS, {"queue": None}, {"8.1"}, NONE),
        (SETS, {"jid": None}, NONE, ALL),
        (PLACES, {"tags": "a"}, ALL, NONE),
        (["retry", "dead"], {"error_backtrace": ["a"]}, {"7", *NEW}, NONE),
        (PLACES, {"args": {}}, NONE, NONE),
        (PLACES, {"args": "x"}, NONE, NONE),
        (SETS, {"error_message": None}, NONE, NONE),
        (SETS, {"error_message": ["a"]}, NONE, NONE),
        (["retry"], {"retry_count": -1}, NONE, NONE),
        (["retry"], {"retry_count": "2"}, ALL, NONE),
        (["retry"], {"retry_count": 2}, ALL, NONE),
        (PLACES, {"encrypt": True, "args": []}, ALL, NONE),
        (PLACES, {"display_class": "<b>"}, NONE, ALL),
        (SETS, {"restbroker_attempts": ["<b>"]}, NONE, ALL),
    ]
    for places, change, gone, wrong in rows:
        for place in places:
            assert refusals_of_job(place, {**good_job(), **change}) == (gone, wrong), (place, change)


@pytest.mark.promise("Sidekiq: other versions", "objects, nothing else")
@pytest.mark.promise("Sidekiq: other versions", "text that Ruby parses")
@pytest.mark.promise("Sidekiq: other versions", "scores from which a link can be made")
def test_values_without_object_json_or_score_are_refused() -> None:
    for place in PLACES:
        for value in (5, [1], None, "text"):
            assert refusals_of_job(place, value) == (ALL, NONE)
    for broken in (b"{x", b"", b'{"a": NaN}', b'{"a": "\\ud800"}', b'{"a":' * 101 + b"1" + b"}" * 101):
        assert refusals_of_job("queue", broken) == (ALL, NONE)
        assert refusals_of_job("retry", broken) == ({"8.1"}, ALL - {"8.1"})
        assert refusals_of_job("schedule", broken) == ({"8.1"}, ALL - {"8.1"})
        assert refusals_of_job("dead", broken) == (NONE, ALL)
    for score in ("-5", "1e+17", "1700000000000", "inf", "0"):
        assert refusals(lambda reader, score=score: reader.score(score)) == (NONE, ALL)  # type: ignore[misc]
