"""Batches: a row is pushed once, an answer counted once, whatever is sent again."""

import json

import pytest

from restbroker.bulk import store as bulk
from restbroker.errors import StoreRefused
from restbroker.store.client import Client
from tests.store.pools import Server, on_both

BATCH = "0123456789abcdef"


def answer(row: int, code: str = "") -> bytes:
    return json.dumps({"row": row, "code": code}).encode()


def put(server: Server, *answers: bytes) -> None:
    server.raw.lpush(f"ns:{bulk.reply_to(BATCH)}", *answers)


def push(client: Client, before: int, last: int, jobs: dict[str, list[bytes]], at_s: float | None = None) -> int:
    return bulk.push(client, BATCH, bulk.Chunk(last, jobs), before, at_s)


def known(client: Client) -> bulk.BatchRecord:
    found = bulk.read_batch(client, BATCH)
    assert found is not None
    return found


@on_both
def test_rows_are_pushed_in_order_together_with_their_number(client: Client, server: Server) -> None:
    assert bulk.read_batch(client, BATCH) is None
    assert push(client, 0, 3, {"a": [b"1", b"3"], "b": [b"2"]}) == 3
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"3", b"1"]
    assert server.raw.lrange("ns:queue:b", 0, -1) == [b"2"]
    assert server.raw.smembers("ns:queues") == {b"a", b"b"}
    assert known(client) == bulk.BatchRecord(row=3, pushed=3)
    assert bulk.REMEMBERED_S - 5 < server.raw.ttl(f"ns:restbroker:bulk:{BATCH}") <= bulk.REMEMBERED_S


def test_row_pushed_twice_is_there_once(client: Client, server: Server) -> None:
    for _ in range(2):
        assert push(client, 0, 2, {"a": [b"1", b"2"]}) == 2
    assert push(client, 1, 3, {"a": [b"2", b"3"]}) == 2
    assert server.raw.llen("ns:queue:a") == 2


def test_rows_that_are_all_bad_are_noted_too(client: Client, server: Server) -> None:
    assert push(client, 0, 500, {}) == 500
    assert known(client) == bulk.BatchRecord(row=500)
    assert server.raw.exists("ns:queues") == 0


def test_batch_redis_refuses_is_pushed_to_no_queue(client: Client, server: Server) -> None:
    server.raw.lpush("ns:queue:a", "before")
    server.raw.set("ns:queue:b", "precious")
    with pytest.raises(StoreRefused):
        push(client, 0, 3, {"a": [b"1", b"2"], "b": [b"3"]})
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"before"]
    assert server.raw.get("ns:queue:b") == b"precious"
    assert bulk.read_batch(client, BATCH) is None


def test_rows_for_later_are_scheduled(client: Client, server: Server) -> None:
    assert push(client, 0, 2, {"a": [b"1"], "b": [b"2"]}, 4_000_000_000.5) == 2
    assert server.raw.zrange("ns:schedule", 0, -1, withscores=True) == [(b"1", 4e9 + 0.5), (b"2", 4e9 + 0.5)]
    assert server.raw.exists("ns:queue:a") == 0


@on_both
def test_an_answer_counts_once_and_a_later_one_takes_its_place(client: Client, server: Server) -> None:
    put(server, answer(1), answer(2, "NotFound"), answer(7, "NotFound"))
    answers = bulk.answers(client, BATCH, 2)
    assert answers == [answer(1), answer(2, "NotFound")]
    assert bulk.count(client, BATCH, answers, [(1, ""), (2, "NotFound")])
    assert not bulk.count(client, BATCH, answers, [(1, ""), (2, "NotFound")])
    rest = bulk.answers(client, BATCH, 2)
    assert rest == [answer(7, "NotFound")]
    assert bulk.count(client, BATCH, rest, [(7, "NotFound")])
    found = known(client)
    assert (found.done, found.failed, found.ended_rows) == (1, {"NotFound": 2}, 3)
    # A person retried the jobs: one is done now, one fails otherwise, and one that was done is reported again.
    put(server, answer(2), answer(7, "Refused"), answer(1, "AlreadyExists"))
    answers = bulk.answers(client, BATCH, 500)
    assert bulk.count(client, BATCH, answers, [(2, ""), (7, "Refused"), (1, "AlreadyExists")])
    found = known(client)
    assert (found.done, found.failed, found.ended_rows) == (2, {"Refused": 1}, 3)
    assert server.raw.hgetall(f"ns:restbroker:bulk:failed:{BATCH}") == {b"7": b"Refused"}
    assert server.raw.exists(f"ns:{bulk.reply_to(BATCH)}") == 0


def test_an_answer_that_is_of_no_row_is_taken_away(client: Client, server: Server) -> None:
    put(server, b"odd")
    assert bulk.count(client, BATCH, bulk.answers(client, BATCH, 9), [])
    assert bulk.answers(client, BATCH, 9) == []


def test_without_an_answer_nothing_is_counted(client: Client) -> None:
    assert bulk.count(client, BATCH, bulk.answers(client, BATCH, 9), [])
    assert bulk.read_batch(client, BATCH) is None


def test_late_row_reported_twice_at_once_counts_once(client: Client, server: Server) -> None:
    put(server, answer(1))
    assert bulk.count(client, BATCH, bulk.answers(client, BATCH, 9), [(2**24, ""), (2**24, "")])
    assert known(client).done == 1


def test_notes_stay_beside_the_counts(client: Client) -> None:
    bulk.write_notes(client, BATCH, {"wait": "1"})
    push(client, 0, 1, {"a": [b"1"]})
    assert known(client) == bulk.BatchRecord(1, 1, notes={"wait": "1"})
