"""What the Go original leaves behind, and its way to queue and retry set."""

import threading

import pytest
import redis

from restbroker.errors import StoreRefused
from restbroker.store import migration, survey
from restbroker.store.client import Client, open_client
from tests.store.pools import Server, on_both
from tests.support.wait import until

TAKEN = "ns:queue:a:1:inprogress"
ODD = b'{"jid" : "x",  "n":1.0, "u":"\xc3\xa9\\u0041"}'


def take_jobs(server: Server, count: int) -> list[bytes]:
    """Jobs as the original takes them: each newer one at the list's head. In the order in which they were taken."""
    jobs = [b'{"jid":"%d"}' % number for number in range(count)]
    for job in jobs:
        server.raw.lpush("ns:queue:a", job)
        server.raw.brpoplpush("ns:queue:a", TAKEN)
    return jobs


def taken_first(server: Server) -> list[bytes]:
    found: list[bytes] = server.raw.lrange("ns:queue:a", 0, -1)
    return found[::-1]


@on_both
def test_jobs_in_progress_come_next_oldest_first(client: Client, server: Server) -> None:
    jobs = take_jobs(server, 450)
    server.raw.lpush("ns:queue:a", "waiting")
    assert migration.give_back(client, TAKEN, "a") == 450
    assert taken_first(server) == [*(b'{"restbroker_uncertain":1,' + job[1:] for job in jobs), b"waiting"]
    assert server.raw.exists(TAKEN) == 0
    assert server.raw.smembers("ns:queues") == {b"a"}


def test_jobs_in_progress_move_as_perhaps_run_and_no_job_unchanged(client: Client, server: Server) -> None:
    server.raw.rpush(TAKEN, ODD, b"\xff no job", b"", ODD)
    migration.give_back(client, TAKEN, "a")
    noted = b'{"restbroker_uncertain":1,' + ODD[1:]
    assert server.raw.lrange("ns:queue:a", 0, -1) == [noted, b"\xff no job", b"", noted]


def test_jobs_that_cannot_go_back_stay_in_progress(client: Client, server: Server) -> None:
    jobs = take_jobs(server, 3)
    for key in ("ns:queue:a", "ns:queues"):
        server.raw.set(key, "of another type")
        with pytest.raises(StoreRefused, match="WRONGTYPE"):
            migration.give_back(client, TAKEN, "a")
        assert server.raw.lrange(TAKEN, 0, -1) == jobs[::-1]
        server.raw.delete(key)


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
    assert migration.process_ids(client, "a") == (["1", "b:1", "web-2"], True)
    assert migration.process_ids(client, "a:b") == (["1"], True)
    assert migration.process_ids(client, "[a]") == (["9"], True)


@on_both
def test_client_waiting_in_brpoplpush_here_is_noticed(client: Client, server: Server) -> None:
    assert migration.fetchers(client) == []
    url = server.process.url.removesuffix("0")
    waiting = [redis.Redis.from_url(f"{url}{database}", socket_timeout=20) for database in (0, 1)]
    threads = [
        threading.Thread(target=fetcher.brpoplpush, args=("ns:queue:a", TAKEN), kwargs={"timeout": 15})
        for fetcher in waiting
    ]
    for thread in threads:
        thread.start()
    until(lambda: server.raw.info("clients")["blocked_clients"] == 2, "both wait")
    found = migration.fetchers(client)
    for database in (0, 1):
        with redis.Redis.from_url(f"{url}{database}") as producer:
            producer.lpush("ns:queue:a", "job")
    for thread, fetcher in zip(threads, waiting, strict=True):
        thread.join()
        fetcher.close()
    assert len(found) == 1
    assert "127.0.0.1" in found[0]


def test_a_redis_that_hides_its_clients_is_not_guessed_at(server: Server) -> None:
    server.raw.acl_setuser("looker", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-client|list"])
    address = server.process.url.replace("redis://", "redis://looker:any@")
    looker = open_client(type(server.settings)(address, namespace="ns"))
    try:
        with pytest.raises(StoreRefused, match="no permissions"):
            migration.fetchers(looker)
    finally:
        looker.close()
        server.raw.acl_deluser("looker")


def test_too_many_keys_to_look_at_are_reported(client: Client, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    take_jobs(server, 1)
    assert migration.process_ids(client, "a") == (["1"], True)
    # How many keys one look gives is the server's: Valkey gives all, however few are asked for, while it enlarges its
    # table from a single bucket. So there is no look at all.
    monkeypatch.setattr(survey, "MOST_KEYS", survey.SCAN_COUNT - 1)
    assert migration.process_ids(client, "a") == ([], False)
