"""What the scripts do at their edges: a half-known identity, a record in the way, shares that others wrote."""

import time

import pytest

from restbroker.errors import StoreRefused
from restbroker.job.settlement import Ack
from restbroker.store import heartbeats, identities, limits, queues
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Gone
from restbroker.store.jobs import FetchResult, LimitReached, Limits, mark, register
from restbroker.store.server import time_s
from restbroker.store.sets import Placement, place
from tests.store.pools import FACTS, QUEUES, Pool, Server

SHARES = "ns:restbroker:inflight:t"


def bounded(pool: Pool, in_flight: int, want: int = 9) -> int | str:
    """How many jobs a fetch takes; or why none."""
    answer = pool.ask(want, limits=Limits(in_flight=in_flight))
    assert isinstance(answer, FetchResult | LimitReached)
    return answer.why if isinstance(answer, LimitReached) else len(answer.jobs)


def test_identity_with_remains_is_not_created_again(client: Client, server: Server) -> None:
    for key in ("beats", "dying", "info:h:9:x:t"):
        server.raw.flushdb()
        server.raw.hset(f"ns:restbroker:{key}", "h:9:x:t", 1)
        assert not register(client, "h:9:x:t", FACTS, QUEUES), key
        assert server.raw.keys() == [f"ns:restbroker:{key}".encode()]
        assert server.raw.hlen(f"ns:restbroker:{key}") == 1


def test_beat_gives_its_time_and_keeps_the_last_snapshot(pool: Pool) -> None:
    began_s = int(time_s(pool.client))
    heartbeats.write_heartbeats(pool.client, [(pool.identity, 1)], {pool.identity: b"{}"})
    heartbeats.write_heartbeats(pool.client, [(pool.identity, 2)], {})
    found = identities.read(pool.client, pool.identity)
    assert found is not None
    assert found.snapshot == b"{}"
    assert began_s <= (found.heartbeat_at_s or 0) <= time_s(pool.client)


def test_unwritable_record_costs_no_lease(pool: Pool, server: Server) -> None:
    server.raw.set("ns:restbroker:info:h:1:abc:t", "no hash")
    assert heartbeats.write_heartbeats(pool.client, [(pool.identity, 5)], {pool.identity: b"{}"}) == [True]
    assert identities.live_identities(pool.client) == {pool.identity: 5}


def test_a_mark_that_cannot_be_written_marks_nothing(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1"])
    assert bounded(pool, 0) == 1
    server.raw.set("ns:restbroker:sent:h:1:abc:t", "no hash")
    with pytest.raises(Exception, match="WRONGTYPE"):
        mark(pool.client, pool.identity, ["1:1"])
    assert server.raw.get("ns:restbroker:sent:h:1:abc:t") == b"no hash"


def test_shares_of_all_pools_count_and_foreign_ones_do_not(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"%d" % number for number in range(9)])
    for name in ("two", "three", "dead", "text"):
        register(pool.client, name, FACTS, QUEUES)
    assert heartbeats.fence(pool.client, "dead", 0)
    server.raw.hset(SHARES, mapping={"two": 2, "three": 3, "dead": 1, "nobody": 100, "text": "x"})
    assert bounded(pool, 6) == "in_flight"
    assert bounded(pool, 8) == 2
    assert server.raw.hget(SHARES, pool.identity) == b"2"


def test_each_of_more_moves_than_a_call_takes_has_its_code(client: Client, server: Server) -> None:
    server.raw.zadd("ns:retry", {str(number): 1 for number in range(501)})
    moves = [Placement(b"gone", "a"), *(Placement(b"%d" % number, "a") for number in range(501))]
    assert place(client, "retry", moves) == [Gone(), *[Applied()] * 501]


def test_day_of_the_counters_is_utc_wherever_the_broker_runs(
    pool: Pool, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues.push(pool.client, "a", [b"1"])
    assert bounded(pool, 0) == 1
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert pool.settle(("1:1", Ack()), now_s=1_700_000_000.0) == [Applied()]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert server.raw.get("ns:stat:processed:2023-11-14") == b"1"


def test_fetch_meeting_a_wrong_type_names_all_possible_keys(pool: Pool, server: Server) -> None:
    server.raw.set("ns:restbroker:pause:t", "no hash")
    with pytest.raises(StoreRefused) as caught:
        bounded(pool, 5)
    hint = caught.value.hint or ""
    assert "`restbroker check` names the key" in hint
    named = ("ns:restbroker:pause:t", "ns:restbroker:inflight:t", "ns:restbroker:rate:t", "ns:dead", "ns:paused")
    assert not [key for key in named if key not in hint]


def test_record_with_a_bad_queue_index_costs_no_job(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1"])
    queues.push(pool.client, "b", [b"2"])
    server.raw.hset(f"ns:restbroker:info:{pool.identity}", "index:a", "x")
    answer = pool.take(9)
    assert [job.raw for job in answer.jobs] == [b"2"]
    assert answer.bad == {"a"}
    assert queues.sizes(pool.client, ["a"]) == {"a": 1}


def test_rate_that_is_no_number_delays_nothing(pool: Pool, server: Server) -> None:
    server.raw.set("ns:restbroker:rate:t", "x")
    assert limits.charge(pool.client, "t", Limits(emission_us=1_000_000, burst=1)) == 0
