"""What is due, and its way to the queues; queues and answers."""

import pytest

from restbroker.store import queues
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Clash, Refused
from restbroker.store.sets import Placement, due, place
from tests.store.pools import Server, on_both


def test_a_pushed_queue_is_named_and_served_oldest_first(client: Client, server: Server) -> None:
    assert queues.push(client, "a", [b"1", b"2"]) == 2
    assert queues.push(client, "a", []) == 2
    assert server.raw.rpop("ns:queue:a") == b"1"
    assert server.raw.smembers("ns:queues") == {b"a"}
    assert queues.sizes(client, ["a", "none"]) == {"a": 1, "none": 0}


def test_a_job_is_scheduled_once(client: Client, server: Server) -> None:
    assert queues.schedule(client, b"p", 1700000000.25)
    assert not queues.schedule(client, b"p", 1800000000.0)
    assert server.raw.zrange("ns:schedule", 0, -1, withscores=True) == [(b"p", 1700000000.25)]


def test_latency_is_read_in_the_units_of_every_sidekiq() -> None:
    rows: dict[bytes | None, float | None] = {
        b'{"enqueued_at":990.5}': 9.5,
        b'{"enqueued_at":1700000000000}': 0.0,
        b'{"enqueued_at":"x"}': None,
        b'{"created_at":990.5}': 9.5,
        b'{"enqueued_at":995,"created_at":990.5}': 5.0,
        b'{"enqueued_at":null,"created_at":990.5}': 9.5,
        b"{}": None,
        b"5": None,
        b"{": None,
        None: 0.0,
    }
    assert {job: queues.latency_s(job, 1000.0) for job in rows} == rows
    assert queues.latency_s(b'{"enqueued_at":1700000000500}', 1700000002.0) == 1.5


@on_both
def test_an_answer_is_taken_once_and_waited_for_only_so_long(client: Client, server: Server) -> None:
    server.raw.lpush("ns:restbroker:reply:x", "answer")
    assert queues.wait_reply(client, "x", 1.0) == b"answer"
    assert queues.wait_reply(client, "x", 0.05) is None


@pytest.mark.promise("Security: who can push to the queues", "to have an answer written into another key of Redis")
def test_an_answer_s_name_cannot_be_any_key(client: Client) -> None:
    with pytest.raises(ValueError, match="is not a key for answers"):
        queues.wait_reply(client, "../x", 0.1)


def test_a_member_that_cannot_be_placed_stays_with_its_score(client: Client, server: Server) -> None:
    score = 1700000000.123456
    server.raw.zadd("ns:retry", {"one": score, "two": score, "three": 1})
    server.raw.set("ns:queue:a", "x")
    server.raw.zadd("ns:dead", {"wrapped": 1})
    refused, clash, moved = place(
        client,
        "retry",
        [Placement(b"one", "a"), Placement(b"two", zset="dead", new=b"wrapped", score=2.0), Placement(b"three", "b")],
    )
    assert isinstance(refused, Refused)
    assert (clash, moved) == (Clash(), Applied())
    assert server.raw.zrange("ns:retry", 0, -1, withscores=True) == [(b"one", score), (b"two", score)]
    assert server.raw.zrange("ns:dead", 0, -1, withscores=True) == [(b"wrapped", 1.0)]
    server.raw.delete("ns:dead")
    server.raw.set("ns:dead", "no set")
    (refused,) = place(client, "retry", [Placement(b"two", zset="dead", new=b"wrapped", score=2.0)])
    assert isinstance(refused, Refused)
    assert server.raw.zscore("ns:retry", "two") == score


def test_a_due_job_goes_to_the_head_of_its_queue_changed_or_not(client: Client, server: Server) -> None:
    queues.push(client, "a", [b"waits"])
    server.raw.zadd("ns:retry", {"one": 1, "two": 2})
    assert place(client, "retry", [Placement(b"one", "a"), Placement(b"two", "b", new=b"two!")]) == [
        Applied(),
        Applied(),
    ]
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"one", b"waits"]
    assert server.raw.lrange("ns:queue:b", 0, -1) == [b"two!"]
    assert server.raw.smembers("ns:queues") == {b"a", b"b"}
    assert server.raw.zcard("ns:retry") == 0


@on_both
def test_only_what_is_due_by_redis_clock_is_listed(client: Client, server: Server) -> None:
    seconds, _ = server.raw.time()
    server.raw.zadd("ns:retry", {"late": seconds - 5, "later": seconds - 9.5, "not yet": seconds + 60})
    found = due(client, "retry", 10)
    assert found.members == [(b"later", seconds - 9.5), (b"late", seconds - 5)]
    assert abs(found.now_s - seconds) < 5
    assert found.now_s % 1 or due(client, "retry", 1).now_s % 1, "to the microsecond"
    assert due(client, "retry", 1).members == [(b"later", seconds - 9.5)]
