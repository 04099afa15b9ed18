"""Where a due entry goes."""

import json

import pytest

from restbroker.broker.scheduler import plan


def test_a_job_moves_to_its_queue_byte_for_byte() -> None:
    raw = b'{ "queue":"rest", "x": 1.0 }'
    move = plan(raw, 5.0)
    assert (move.old, move.queue, move.new) == (raw, "rest", None)


def test_a_job_without_a_queue_goes_where_rubys_client_would_push_it() -> None:
    assert plan(b'{"class":"A"}', 5.0).queue == "default"


@pytest.mark.parametrize("raw", [b"{x", b"5", b"[1]", b'{"queue":5}', b'{"queue":""}', b'{"a":"\\ud800"}'])
def test_what_no_worker_could_read_is_parked_as_an_object(raw: bytes) -> None:
    move = plan(raw, 5.0)
    assert move.queue is None
    assert move.new is not None
    assert json.loads(move.new)["error_class"] == "UnreadablePayload"
