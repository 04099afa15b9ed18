"""Where a due entry goes, and when delayed jobs do, whoever came before them."""

import json

import pytest
import trio

from restbroker.broker.delayed import DelayedJobs
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.ready_buffer import BatchSize, ReadyBuffer
from restbroker.broker.scheduler import UnservedQueue, plan
from restbroker.store.sets import Move


@pytest.mark.promise("A good citizen", "jobs are moved byte for byte")
@pytest.mark.promise("Defects of the Go original", "a due job came late, and a crash lost it")
def test_a_job_moves_to_its_queue_byte_for_byte() -> None:
    raw = b'{ "queue":"rest", "x": 1.0 }'
    assert plan(raw, 5.0, ()) == Move(raw, "rest", None, 5.0)


def test_a_job_without_a_queue_goes_where_rubys_client_would_push_it() -> None:
    raw = b'{"class":"A"}'
    assert plan(raw, 5.0, ()) == Move(raw, "default", None, 5.0)


def test_a_queue_that_is_a_number_is_the_one_of_which_ruby_would_make_a_text() -> None:
    names = {b"5": "5", b"-7": "-7", b"1.50": "1.5", b"1e20": "1.0e+20", b"2e0": "2.0"}
    for queue, name in names.items():
        raw = b'{"class":"A","args":[],"queue":' + queue + b"}"
        assert plan(raw, 5.0, ()) == Move(raw, name, None, 5.0)


def test_what_only_ruby_can_read_moves_byte_for_byte_to_the_queue_that_it_names() -> None:
    for raw in (
        b'{"class":"A","queue":"foreign","args":["\\q"]}',
        b'{"class":"A","queue": "foreign","args":[/* a comment */ 1]}',
        b'{"args":[' + b"9" * 4301 + b'],"queue" :"foreign"}',
    ):
        assert plan(raw, 5.0, ()) == Move(raw, "foreign", None, 5.0)


def test_what_no_worker_could_read_is_parked_as_an_object() -> None:
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
        assert isinstance(move, Move), raw
        assert move.queue is None, raw
        assert move.new is not None
        assert json.loads(move.new)["error_class"] == "UnreadablePayload"


def test_what_restbroker_wrote_goes_to_a_served_queue_only() -> None:
    for field in ("restbroker_attempts", "restbroker_deferred", "restbroker_deferred_at"):
        raw = json.dumps({"queue": "rest", field: []}).encode()
        assert plan(raw, 5.0, ("rest",)) == Move(raw, "rest", None, 5.0)
        assert plan(raw, 5.0, ()) == UnservedQueue("rest")


def job(number: int) -> JobInProgress:
    return JobInProgress(f"{number}:rest", number, "rest", b"{}")


async def test_each_goes_back_at_its_own_time(autojump_clock: object) -> None:
    ready = ReadyBuffer(1, BatchSize())
    ready.allow(9)
    delayed, back = DelayedJobs(ready), dict[int, float]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(delayed.run)
        began_s = trio.current_time()
        for number, wait_s in ((1, 3.0), (2, 1.0), (3, 2.0), (4, 2.5)):
            delayed.add(job(number), wait_s)
        delayed.drop_unless({"1:rest", "2:rest", "3:rest"})
        assert delayed.waiting_tickets() == {"1:rest", "2:rest", "3:rest"}
        while len(back) < 3:
            number = (await ready.receive()).number
            back[number] = round(trio.current_time() - began_s, 1)
        nursery.cancel_scope.cancel()
    assert back == {2: 1.0, 3: 2.0, 1: 3.0}
    assert not delayed.waiting_tickets()


async def test_those_of_one_moment_go_back_in_their_order(autojump_clock: object, nursery: trio.Nursery) -> None:
    ready = ReadyBuffer(1, BatchSize())
    ready.allow(9)
    delayed = DelayedJobs(ready)
    for number in (1, 2, 3):
        delayed.add(job(number), 1.0)
    nursery.start_soon(delayed.run)
    assert [(await ready.receive()).number for _ in range(3)] == [1, 2, 3]
