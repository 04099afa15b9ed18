"""Where a due entry goes."""

import json

import pytest

from restbroker.broker.scheduler import UnservedQueue, plan
from restbroker.store.sets import Placement


@pytest.mark.promise("A good citizen", "jobs are moved byte for byte")
@pytest.mark.promise("Defects of the Go original", "a due job came late, and a crash lost it")
def test_a_job_moves_to_its_queue_byte_for_byte() -> None:
    raw = b'{ "queue":"rest", "x": 1.0 }'
    assert plan(raw, 5.0, ()) == Placement(raw, "rest")


def test_job_without_a_queue_goes_where_rubys_client_pushes_it() -> None:
    raw = b'{"class":"A"}'
    assert plan(raw, 5.0, ()) == Placement(raw, "default")


def test_numeric_queue_is_the_one_ruby_would_make_a_text_of() -> None:
    names = {b"5": "5", b"-7": "-7", b"1.50": "1.5", b"1e20": "1.0e+20", b"2e0": "2.0"}
    for queue, name in names.items():
        raw = b'{"class":"A","args":[],"queue":' + queue + b"}"
        assert plan(raw, 5.0, ()) == Placement(raw, name)


def test_payload_only_ruby_reads_moves_unchanged_to_its_queue() -> None:
    for raw in (
        b'{"class":"A","queue":"foreign","args":["\\q"]}',
        b'{"class":"A","queue": "foreign","args":[/* a comment */ 1]}',
        b'{"args":[' + b"9" * 4301 + b'],"queue" :"foreign"}',
    ):
        assert plan(raw, 5.0, ()) == Placement(raw, "foreign")


def test_payload_no_worker_reads_dies_as_an_object() -> None:
    for raw in (
        b"{x",
        b"5",
        b"[1]",
        b'{"queue":[5]}',
        b'{"queue":true}',
        b'{"queue":null}',
        b'{"queue":""}',
        b'{"a":"\\ud800"}',
        b'{"queue":"q","args":["\\q",{"queue":"r"}]}',
        b'{"queue":"q","args":[',
        b'"queue":"q"',
        b'{"a":"\\"queue\\":\\"q\\"",}',
    ):
        move = plan(raw, 5.0, ())
        assert isinstance(move, Placement), raw
        assert (move.queue, move.zset, move.score) == (None, "dead", 5.0), raw
        assert move.new is not None
        assert json.loads(move.new)["error_class"] == "UnreadablePayload"


def test_job_restbroker_wrote_goes_to_a_served_queue_only() -> None:
    for field in ("restbroker_attempts", "restbroker_deferred", "restbroker_deferred_at"):
        raw = json.dumps({"queue": "rest", field: []}).encode()
        assert plan(raw, 5.0, ("rest",)) == Placement(raw, "rest")
        assert plan(raw, 5.0, ()) == UnservedQueue("rest")
