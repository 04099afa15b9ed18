"""What the Go original leaves behind, and its way to queue and retry set."""

import threading

import pytest
import redis

from restbroker.job.job import digest
from restbroker.store import heartbeats, migration, scan
from restbroker.store.client import Client, open_client
from restbroker.store.codes import Applied, Clash, Gone, Refused
from restbroker.store.migration import GiveBackResult, ProcessIds, State, Transfer
from tests.store.pools import Server, on_both
from tests.support.wait import until

IN_HAND = "ns:queue:a:1:inprogress"
ODD = b'{"jid" : "x",  "n":1.0, "u":"\xc3\xa9\\u0041"}'


def in_hand(server: Server, count: int) -> list[bytes]:
    """Jobs as the original takes them: each newer one at the list's head. In the order in which they were taken."""
    jobs = [b'{"jid":"%d"}' % number for number in range(count)]
    for job in jobs:
        server.raw.lpush("ns:queue:a", job)
        server.raw.brpoplpush("ns:queue:a", IN_HAND)
    return jobs


def taken_first(server: Server) -> list[bytes]:
    found: list[bytes] = server.raw.lrange("ns:queue:a", 0, -1)
    return found[::-1]


@on_both
def test_jobs_in_hand_are_next_in_line_again_oldest_first_before_what_waits(client: Client, server: Server) -> None:
    jobs = in_hand(server, 450)
    server.raw.lpush("ns:queue:a", "waiting")
    assert migration.give_back(client, "a", "1", 1000) == GiveBackResult(450, None)
    assert taken_first(server) == [*jobs, b"waiting"]
    assert server.raw.exists(IN_HAND) == 0
    assert migration.queue_names(client) == {"a"}


def test_jobs_in_hand_move_byte_for_byte_and_count_as_perhaps_run(client: Client, server: Server) -> None:
    assert migration.give_back(client, "a", "1", 5) == GiveBackResult(0, None)
    assert server.raw.keys() == [], "where nothing was in progress there is no news"
    server.raw.rpush(IN_HAND, ODD, b"\xff no job", b"", ODD)
    assert migration.give_back(client, "a", "1", 4).moved == 4
    assert server.raw.lrange("ns:queue:a", 0, -1) == [ODD, b"\xff no job", b"", ODD]
    assert heartbeats.maybe_run(client) == {
        mark + digest(raw): 1 for raw in (ODD, b"\xff no job", b"") for mark in ("", "!")
    }
    assert server.raw.get("ns:restbroker:recovered:version") == b"1"
    (day,) = server.raw.scan_iter("ns:restbroker:recovered:2*")
    assert 0 < server.raw.ttl(day) <= 259_200


def test_a_migration_that_stopped_half_way_goes_on_in_the_right_order(client: Client, server: Server) -> None:
    jobs = in_hand(server, 30)
    assert migration.give_back(client, "a", "1", 7) == GiveBackResult(7, None)
    assert migration.give_back(client, "a", "1", 30) == GiveBackResult(23, None)
    assert migration.give_back(client, "a", "1", 30) == GiveBackResult(0, None)
    assert taken_first(server) == jobs


def test_jobs_that_cannot_go_back_stay_in_hand(client: Client, server: Server) -> None:
    jobs = in_hand(server, 3)
    now_s = server.raw.time()[0]
    days = [client.keys.recoveries(at_s) for at_s in (now_s, now_s + 86_400)]
    for keys in (["ns:queue:a"], days):
        for key in keys:
            server.raw.set(key, "of another type")
        given = migration.give_back(client, "a", "1", 3)
        assert (given.moved, "WRONGTYPE" in (given.refused or "")) == (0, True)
        assert server.raw.lrange(IN_HAND, 0, -1) == jobs[::-1]
        server.raw.delete(*keys)
    server.raw.acl_setuser("default", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-rpush"])
    try:
        given = migration.give_back(client, "a", "1", 3)
    finally:
        server.raw.acl_setuser("default", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
    assert (given.moved, given.refused is None) == (0, False), "they may be taken but not pushed"
    assert server.raw.lrange(IN_HAND, 0, -1) == jobs[::-1]


def test_process_ids_are_found_whatever_the_queues_are_called(client: Client, server: Server) -> None:
    for key in (
        "a:1:inprogress",
        "a:web-2:inprogress",
        "a:b:1:inprogress",
        "a:1",
        "axb:1:inprogress",
        "[a]:9:inprogress",
    ):
        server.raw.lpush(f"ns:queue:{key}", "x")
    server.raw.lpush("queue:a:other:inprogress", "x")
    server.raw.set("ns:queue:a:text:inprogress", "x")
    assert migration.process_ids(client, "a") == migration.ProcessIds(("1", "b:1", "web-2"), complete=True)
    assert migration.process_ids(client, "a:b") == migration.ProcessIds(("1",), complete=True)
    assert migration.process_ids(client, "[a]") == migration.ProcessIds(("9",), complete=True)


@on_both
def test_retries_move_with_their_scores_and_unreadable_ones_are_parked(client: Client, server: Server) -> None:
    score = 1700000000.1234567
    server.raw.zadd("ns:goretry", {"one": score, "bad": 2, "same": 3})
    transfers = [Transfer(b"one", b"one!"), Transfer(b"bad", b"wrapped", 9.0), Transfer(b"same", b"same")]
    assert migration.transfer(client, transfers) == [Applied()] * 3
    assert server.raw.zrange("ns:retry", 0, -1, withscores=True) == [(b"same", 3.0), (b"one!", score)]
    assert server.raw.zrange("ns:dead", 0, -1, withscores=True) == [(b"wrapped", 9.0)]
    assert [entry[b"payload"] for _, entry in server.raw.xrange("ns:restbroker:parked")] == [b"wrapped"]
    assert migration.transfer(client, transfers) == [Gone()] * 3
    assert server.raw.zcard("ns:retry") == 2


def test_a_retry_that_cannot_be_moved_stays_with_its_score(client: Client, server: Server) -> None:
    score = 1700000000.1234567
    server.raw.zadd("ns:goretry", {"one": score, "two": score})
    server.raw.zadd("ns:retry", {"one!": 1})
    server.raw.set("ns:dead", "no set")
    clash, refused = migration.transfer(client, [Transfer(b"one", b"one!"), Transfer(b"two", b"wrapped", 9.0)])
    assert clash == Clash()
    assert isinstance(refused, Refused)
    assert server.raw.zrange("ns:goretry", 0, -1, withscores=True) == [(b"one", score), (b"two", score)]
    assert server.raw.exists("ns:restbroker:parked") == 0


@on_both
def test_who_waits_in_brpoplpush_on_this_database_is_seen(client: Client, server: Server) -> None:
    assert migration.fetchers(client) == ()
    url = server.process.url.removesuffix("0")
    waiting = [redis.Redis.from_url(f"{url}{database}", socket_timeout=20) for database in (0, 1)]
    threads = [
        threading.Thread(target=one.brpoplpush, args=("ns:queue:a", IN_HAND), kwargs={"timeout": 15}) for one in waiting
    ]
    for thread in threads:
        thread.start()
    until(lambda: server.raw.info("clients")["blocked_clients"] == 2, "both wait")
    found = migration.fetchers(client)
    for database in (0, 1):
        with redis.Redis.from_url(f"{url}{database}") as producer:
            producer.lpush("ns:queue:a", "job")
    for thread, one in zip(threads, waiting, strict=True):
        thread.join()
        one.close()
    assert found is not None
    assert len(found) == 1
    assert "127.0.0.1" in found[0]


def test_a_redis_that_hides_its_clients_is_not_guessed_at(server: Server) -> None:
    server.raw.acl_setuser("looker", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-client|list"])
    address = server.process.url.replace("redis://", "redis://looker:any@")
    looker = open_client(type(server.settings)(address, namespace="ns"))
    try:
        assert migration.fetchers(looker) is None
    finally:
        looker.close()
        server.raw.acl_deluser("looker")


def test_what_the_original_has_in_hand_is_told_list_by_list_and_page_by_page(client: Client, server: Server) -> None:
    jobs = in_hand(server, 3)
    server.raw.rpush("ns:queue:b:c:2:inprogress", "x")
    assert migration.states(client, [("a", "1"), ("b:c", "2"), ("none", "1")]) == [
        State(3, jobs[-1]), State(1, b"x"), State(0, None),
    ]  # fmt: skip
    assert migration.in_progress(client, "a", "1", 0, 2) == [jobs[2], jobs[1]]
    assert migration.in_progress(client, "a", "1", 2, 2) == [jobs[0]]
    assert migration.in_progress(client, "a", "2", 0, 2) == []


def test_retries_of_the_original_come_next_due_first_and_page_by_page(client: Client, server: Server) -> None:
    server.raw.zadd("ns:goretry", {"later": 3, "next": 1, "then": 2})
    assert migration.retry_count(client) == 3
    assert migration.retries(client, 0, 2) == [b"next", b"then"]
    assert migration.retries(client, 2, 2) == [b"later"]


def test_where_there_are_too_many_keys_to_look_at_that_is_said(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_hand(server, 1)
    assert migration.process_ids(client, "a") == ProcessIds(("1",), complete=True)
    # How many keys one look gives is the server's: Valkey gives all, however few are asked for, while it enlarges its
    # table from a single bucket. So there is no look at all.
    monkeypatch.setattr(scan, "MOST_KEYS", scan.SCAN_COUNT - 1)
    assert migration.process_ids(client, "a") == ProcessIds((), complete=False)


def test_each_process_that_had_a_job_in_hand_counts_and_none_was_alone_with_it(client: Client, server: Server) -> None:
    for process_id in ("1", "2"):
        server.raw.rpush(f"ns:queue:a:{process_id}:inprogress", ODD)
        assert migration.give_back(client, "a", process_id, 1) == GiveBackResult(1, None)
        assert server.raw.smembers("ns:queues") == {b"a"}
        server.raw.delete("ns:queues")
    (day,) = server.raw.scan_iter("ns:restbroker:recovered:2*")
    assert server.raw.hgetall(day) == {
        digest(ODD).encode(): b"2/0/0:go-workers:a:2",
        f"!{digest(ODD)}".encode(): b"1/0/0:",
    }


def test_a_broken_list_of_queues_costs_no_job(client: Client, server: Server) -> None:
    server.raw.set("ns:queues", "no set")
    jobs = in_hand(server, 2)
    assert migration.give_back(client, "a", "1", 5) == GiveBackResult(2, None)
    assert taken_first(server) == jobs


def test_a_member_that_is_there_already_keeps_its_score_and_its_twin_stays_where_it_was(
    client: Client, server: Server
) -> None:
    server.raw.zadd("ns:goretry", {"one": 1, "two": 2})
    server.raw.zadd("ns:retry", {"same": 5.5})
    server.raw.zadd("ns:dead", {"same": 6.5})
    assert migration.transfer(client, [Transfer(b"one", b"same"), Transfer(b"two", b"same", 9.0)]) == [Clash(), Clash()]
    assert (server.raw.zscore("ns:retry", "same"), server.raw.zscore("ns:dead", "same")) == (5.5, 6.5)
    assert server.raw.zrange("ns:goretry", 0, -1, withscores=True) == [(b"one", 1), (b"two", 2)]


def test_a_copy_that_cannot_be_made_does_not_keep_the_originals_retry_from_being_parked(
    client: Client, server: Server
) -> None:
    server.raw.zadd("ns:goretry", {"bad": 1})
    server.raw.set("ns:restbroker:parked", "no stream")
    assert migration.transfer(client, [Transfer(b"bad", b"{}", 9.0)]) == [Applied()]
    assert server.raw.zrange("ns:dead", 0, -1, withscores=True) == [(b"{}", 9.0)]
