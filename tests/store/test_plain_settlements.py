"""The script that settles plain jobs: as `finish` does, and nothing else; and the settlements that `finish` keeps."""

from collections.abc import Callable
from typing import Any

import pytest

from restbroker.errors import RestbrokerError
from restbroker.job.settlement import Ack, Reply, Requeue
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.codes import Applied, Gone
from restbroker.store.history import Records
from restbroker.store.in_progress import read_jobs
from restbroker.store.jobs import mark, register
from restbroker.store.keys import RedisKeys
from restbroker.store.settling import FinishRequest, FinishSteps, TakeNext
from tests.store.pools import FACTS, NAMESPACE, QUEUES, Pool, Server, die, on_both
from tests.support.redis_server import RedisServer
from tests.support.store_calls import finish_alone

TOTAL, DAY = "ns:stat:processed", "ns:stat:processed:1970-01-01"
ONE, TWO = ("1:1", Ack()), ("2:1", Ack())


def settle(pool: Pool, *tickets: str, **more: Any) -> list[object]:
    return list(pool.settle(*((ticket, Ack()) for ticket in tickets), may_be_marked=False, **more))


def counted(server: Server) -> list[int]:
    return [int(count or 0) for count in server.raw.mget(TOTAL, DAY)]


@on_both
def test_plain_jobs_are_settled_and_counted_once(pool: Pool, server: Server) -> None:
    tickets = pool.start(3)
    assert settle(pool, *tickets[:2]) == [Applied()] * 2
    assert settle(pool, *tickets) == [Gone(), Gone(), Applied()]
    assert counted(server) == [3, 3]
    assert not read_jobs(pool.client, pool.identity).jobs
    assert not server.raw.exists("ns:stat:failed")


def test_jobs_of_a_fenced_process_are_counted_where_they_are_done(pool: Pool, server: Server) -> None:
    tickets = pool.start(2)
    assert settle(pool, tickets[0]) == [Applied()]
    die(pool.client, pool.identity)
    assert settle(pool, *tickets, hwm=9) == [Gone(), Gone()]
    assert counted(server) == [1, 1]
    assert not server.raw.exists(f"ns:restbroker:ip:{pool.identity}"), "it does not come back"


@pytest.mark.parametrize(("hwm", "then"), [(0, 1), (1, 1), (3, 3), (9, 5)])
def test_mark_is_told_where_it_is_given(pool: Pool, hwm: int, then: int) -> None:
    pool.start(4)
    pool.client.command("HSET", f"ns:restbroker:ip:{pool.identity}", "last", 5, "hwm", 1)
    assert settle(pool, "1:1", hwm=hwm) == [Applied()]
    assert read_jobs(pool.client, pool.identity).hwm == then


def test_counter_of_a_new_day_ends_after_five_years(pool: Pool, server: Server) -> None:
    tickets = pool.start(3)
    settle(pool, *tickets[:2])
    assert server.raw.ttl(DAY) == pytest.approx(157_680_000, abs=60)
    server.raw.expire(DAY, 1000)
    settle(pool, tickets[2])
    assert server.raw.ttl(DAY) <= 1000
    assert server.raw.ttl(TOTAL) == -1


@pytest.mark.promise("No command is lost", "Redis is full, or refuses a part of a script")
@pytest.mark.parametrize("how", ["it is full", "its counters are lists", "its history is a list"])
def test_what_redis_refuses_beside_the_job_fails_no_settlement(
    make_redis: Callable[..., RedisServer], how: str
) -> None:
    own = make_redis()
    client = open_client(StoreSettings(own.url))
    assert register(client, "me", FACTS, QUEUES)
    client.command("HSET", "restbroker:ip:me", "1:1", "job", "last", 1)
    match how:
        case "it is full":
            own.command("CONFIG SET maxmemory 1")
        case "its counters are lists":
            own.command("LPUSH stat:processed x")
            own.command("LPUSH stat:processed:1970-01-01 x")
        case _:
            own.command("LPUSH restbroker:history x")
    records = Records(1000, [b"record"])
    assert settle(Pool(client, "me"), "1:1", records=records) == [Applied()]
    assert not read_jobs(client, "me").jobs
    if how == "it is full":
        assert client.command("GET", "stat:processed") == b"1"
        assert client.command("XLEN", "restbroker:history") == 1


@on_both
def test_records_are_written_of_what_was_settled_and_kept_for_their_time(pool: Pool, server: Server) -> None:
    tickets, history = pool.start(4), "ns:restbroker:history"
    for number in range(1000):
        server.raw.xadd(history, {"end": "old"}, id=f"{number + 1}-0")
    assert settle(pool, tickets[0], records=Records(50_000, [b"one"])) == [Applied()]
    records = Records(60_000, [b"again", b"two", b"", b"four"])
    assert settle(pool, *tickets, records=records) == [Gone(), Applied(), Applied(), Applied()]
    found = [fields[b"end"] for _, fields in server.raw.xrevrange(history)]
    assert found[:3] == [b"four", b"two", b"one"]
    assert len(found) < 200, "the others are too old"
    assert server.raw.pttl(history) == pytest.approx(60_000, abs=5000)


NOT_PLAIN: dict[str, dict[str, Any]] = {
    "a reply": {"items": [ONE, ("2:1", Ack((Reply(b"r", queue="out"),)))]},
    "another fate": {"items": [ONE, ("2:1", Requeue())]},
    "marks": {"may_be_marked": True},
    "an ordered key": {"items": [("1:1:user\x1eann", Ack())], "key_rules": '{"order":"user "}'},
    "what is taken along": {"next": TakeNext(2, 1), "items": [("1:1:user\x1eann", Ack())], "queues": ("a",)},
}


@pytest.mark.parametrize("why", NOT_PLAIN)
def test_what_is_not_plain_is_settled_by_finish(why: str) -> None:
    request: dict[str, Any] = {"queues": QUEUES, "items": [ONE, TWO], "may_be_marked": False, **NOT_PLAIN[why]}
    steps = FinishSteps(RedisKeys(NAMESPACE), FinishRequest(identity="me", target="t", hwm=0, **request), 1.0)
    assert [name for name, *_ in steps.calls] == ["finish"]


def test_marks_of_jobs_go_with_them_where_there_may_be_any(pool: Pool, server: Server) -> None:
    tickets = pool.start(2)
    mark(pool.client, pool.identity, tickets)
    assert pool.settle(*((ticket, Ack()) for ticket in tickets)) == [Applied()] * 2
    assert not server.raw.exists(f"ns:restbroker:sent:{pool.identity}")


ALONE: dict[str, Any] = {"items": [ONE], "may_be_marked": False, "is_ours": True}
BY_SCRIPT: dict[str, dict[str, Any]] = {
    "others may have it": {"is_ours": False},
    "marks": {"may_be_marked": True},
    "a mark to tell": {"hwm": 1},
    "records": {"records": Records(1000, [b"record"])},
    "two jobs": {"items": [ONE, TWO]},
    "another fate": {"items": [("1:1", Requeue())]},
}


@pytest.mark.parametrize("why", BY_SCRIPT)
def test_all_but_a_single_plain_job_needs_a_script(why: str) -> None:
    request: dict[str, Any] = {"hwm": 0, **ALONE, **BY_SCRIPT[why]}
    steps = FinishSteps(RedisKeys(NAMESPACE), FinishRequest(identity="me", target="t", queues=QUEUES, **request), 1.0)
    assert steps.commands() is None


@on_both
def test_a_single_plain_job_is_settled_and_counted_without_a_script(pool: Pool, server: Server) -> None:
    (ticket,) = pool.start(1)
    request = FinishRequest(pool.identity, "t", QUEUES, 0, [(ticket, Ack())], may_be_marked=False, is_ours=True)
    assert finish_alone(pool.client, request, 1.0) == [Applied()]
    assert counted(server) == [1, 1]
    assert not read_jobs(pool.client, pool.identity).jobs
    assert settle(pool, ticket) == [Gone()]
    assert counted(server) == [1, 1]


@pytest.mark.promise("No command is lost", "Redis is full")
def test_full_redis_refuses_all_of_it_and_counts_by_script(make_redis: Callable[..., RedisServer]) -> None:
    own = make_redis()
    client = open_client(StoreSettings(own.url))
    assert register(client, "me", FACTS, QUEUES)
    client.command("HSET", "restbroker:ip:me", "1:1", "job", "last", 1)
    own.command("CONFIG SET maxmemory 1")
    request = FinishRequest("me", "t", QUEUES, 0, [ONE], may_be_marked=False, is_ours=True)
    with pytest.raises(RestbrokerError):
        finish_alone(client, request, 1.0)
    assert dict(read_jobs(client, "me").jobs) == {"1:1": b"job"}
    assert settle(Pool(client, "me"), "1:1") == [Applied()]
    assert client.command("GET", "stat:processed") == b"1"
