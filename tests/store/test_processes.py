"""The record of a process, as Sidekiq reads and prunes it."""

import json
import socket
import time

import attrs
import pytest

from restbroker.errors import StoreRefused
from restbroker.store import queues
from restbroker.store.client import Client
from restbroker.store.processes import Record, ask, is_there, prune, read_all, remove, stays_s, work_of, write
from tests.store.pools import Server, on_both

NAME = "h:1:abc"
RECORD = Record(
    name=NAME,
    info=b'{"pid":1}',
    work={"a1": b'{"queue":"q"}', "b2": b'{"queue":"r"}'},
    quiet=False,
    rss_kib=30_000,
    rtt_us=200,
    concurrency=20,
)
KEYS = [f"ns:{NAME}", f"ns:{NAME}:work", f"ns:{NAME}:workers"]


@on_both
def test_a_record_has_the_fields_of_every_version_and_expires(client: Client, server: Server) -> None:
    assert write(client, RECORD)[0] is None
    assert server.raw.smembers("ns:processes") == {NAME.encode()}
    shown = server.raw.hgetall(KEYS[0])
    assert abs(float(shown.pop(b"beat")) - time.time()) < 5
    assert shown == {
        b"info": b'{"pid":1}',
        b"busy": b"2",
        b"quiet": b"false",
        b"rss": b"30000",
        b"rtt_us": b"200",
        b"concurrency": b"20",
    }
    for key in KEYS[1:]:
        assert json.loads(server.raw.hget(key, "b2") or b"") == {"queue": "r"}
    assert all(50 < server.raw.ttl(key) <= 60 for key in KEYS)


def test_finished_jobs_are_no_longer_shown(client: Client, server: Server) -> None:
    write(client, RECORD)
    write(client, attrs.evolve(RECORD, work={}, quiet=True))
    assert server.raw.exists(*KEYS[1:]) == 0
    assert server.raw.hmget(KEYS[0], "busy", "quiet") == [b"0", b"true"]


def test_running_jobs_are_found_by_process_ids_of_this_host(client: Client, server: Server) -> None:
    host = socket.gethostname()
    for number, name in enumerate((f"{host}:1:a", f"{host}:12:b", f"{host}:2:c", "elsewhere:1:d")):
        write(client, attrs.evolve(RECORD, name=name, work={"t": f"job {number}".encode()}))
    assert work_of(client, {1, 2}) == [b"job 0", b"job 2"]
    assert work_of(client, ()) == []


@pytest.mark.promise("Sidekiq: queues", "a queue with jobs is put on the list queues")
def test_queue_with_jobs_is_listed_though_others_pushed_them(client: Client, server: Server) -> None:
    server.raw.lpush("ns:queue:rest", "pushed without a word")
    write(client, attrs.evolve(RECORD, queues=("rest", "empty")))
    assert server.raw.smembers("ns:queues") == {b"rest"}
    assert server.raw.hlen(KEYS[1]) == 2


def test_only_expired_names_are_pruned_once_a_minute(client: Client, server: Server) -> None:
    write(client, RECORD)
    server.raw.sadd("ns:processes", "gone:2:x")
    prune(client)
    assert server.raw.smembers("ns:processes") == {NAME.encode()}
    assert 50 < server.raw.ttl("ns:process_cleanup") <= 60
    server.raw.sadd("ns:processes", "gone:2:x")
    prune(client)
    assert server.raw.scard("ns:processes") == 2


@pytest.mark.promise("Sidekiq: the process record", "written even when Redis is full")
@on_both
def test_full_redis_still_shows_running_processes(client: Client, server: Server) -> None:
    write(client, RECORD)
    server.raw.config_set("maxmemory", 1)
    assert write(client, attrs.evolve(RECORD, quiet=True))[0] is None
    assert server.raw.hget(KEYS[0], "quiet") == b"true"


def test_foreign_key_is_refused_before_anything_is_written(client: Client, server: Server) -> None:
    server.raw.set("ns:processes", "no set")
    with pytest.raises(StoreRefused):
        write(client, RECORD)
    assert server.raw.keys() == [b"ns:processes"]


def test_a_broken_list_of_queues_hides_no_process(client: Client, server: Server) -> None:
    server.raw.set("ns:queues", "no set")
    server.raw.lpush("ns:queue:filled", "job")
    write(client, attrs.evolve(RECORD, queues=("filled",)))
    assert server.raw.hget(f"ns:{RECORD.name}", "info") == RECORD.info


@on_both
def test_records_are_read_as_every_version_writes_them(client: Client, server: Server) -> None:
    write(client, attrs.evolve(RECORD, info=b'{"queues":["q","q","r"]}'))
    server.raw.sadd("ns:processes", "old:2:def", "expired:3:ghi")
    server.raw.hset("ns:old:2:def", mapping={"info": "{x", "busy": "x", "beat": "nan", "rss": "1.5"})
    server.raw.hset("ns:old:2:def:workers", "t", "{}")
    ours, old = read_all(client)
    assert (ours.name, ours.short_name, ours.queues, ours.busy, ours.quiet) == (NAME, "h:1", ("q", "r"), 2, False)
    assert (ours.rss_kib, ours.rtt_us, ours.work) == (30_000, 200, RECORD.work)
    assert ours.heartbeat_at_s is not None
    assert abs(ours.heartbeat_at_s - time.time()) < 5
    assert (old.info, old.queues, old.busy, old.quiet, old.heartbeat_at_s) == ({}, (), 0, False, None)
    assert (old.rss_kib, old.rtt_us, old.work) == (1, None, {"t": b"{}"})
    assert [record.work for record in read_all(client, with_work=False)] == [{}, {}]


def test_a_process_is_there_as_long_as_its_record_is(client: Client, server: Server) -> None:
    assert is_there(client, NAME) is False
    write(client, RECORD)
    assert is_there(client, NAME) is True
    server.raw.set("ns:queues", "no process, and no hash")
    assert is_there(client, "other:1:x") is False
    server.raw.delete(f"ns:{NAME}")
    assert is_there(client, NAME) is False


def test_request_reaches_its_process_and_is_gone_after_a_minute(client: Client, server: Server) -> None:
    write(client, RECORD)
    ask(client, NAME, "TSTP")
    assert 50 < server.raw.ttl(f"ns:{NAME}-signals") <= 60
    ask(client, NAME, "TERM")
    assert [write(client, RECORD)[0] for _ in range(3)] == ["TSTP", "TERM", None]
    ask(client, NAME, "TERM")
    remove(client, NAME)
    assert server.raw.keys() == []


def test_record_comes_back_with_the_length_of_each_queue(client: Client, server: Server) -> None:
    names = tuple(f"q{number}" for number in range(1_001))
    queues.push(client, "q0", [b"a", b"b"])
    queues.push(client, "q1000", [b"c"])
    server.raw.set(client.keys.key_queue("q1000"), 3)
    server.raw.set(client.keys.queue("q5"), "no list")
    lengths = write(client, attrs.evolve(RECORD, queues=names))[1]
    assert lengths == dict.fromkeys(names, 0) | {"q0": 2, "q5": None, "q1000": 4}


@on_both
def test_the_oldest_job_of_each_queue_is_noted_each_minute(client: Client, server: Server) -> None:
    def stay(*names: str, later_s: float = 0.0) -> dict[str, int]:
        found = stays_s(client, names, time.time() + later_s)
        return {name: round(waits_s / 10) * 10 for name, waits_s in found.items()}

    queues.push(client, "mail", [b"m1"])
    queues.push(client, "busy", [b"b1", b"b2"])
    server.raw.sadd("ns:queues", "odd")
    server.raw.set("ns:queue:odd", "no list")
    write(client, RECORD)
    assert stay("mail", "busy", "empty", later_s=11) == {"mail": 10, "busy": 10}
    assert 175 < server.raw.ttl("ns:restbroker:oldest") <= 180
    server.raw.rpop("ns:queue:busy")
    queues.push(client, "new", [b"n1"])
    write(client, attrs.evolve(RECORD, name="h:2:abc"))
    assert stay("mail", "busy", "new", later_s=31) == {"mail": 30}
    for name, noted in server.raw.hgetall("ns:restbroker:oldest").items():
        server.raw.hset("ns:restbroker:oldest", name, b"%b %d" % (noted[:40], int(noted[41:]) - 500))
    server.raw.expire("ns:restbroker:oldest", 120)
    write(client, RECORD)
    # All that is known of the new one is that there was none a minute ago.
    assert stay("mail", "busy", "new", later_s=71) == {"mail": 570, "busy": 70, "new": 130}


def test_where_redis_lists_very_many_queues_none_is_noted(client: Client, server: Server) -> None:
    server.raw.sadd("ns:queues", *(f"q{number}" for number in range(5_001)))
    server.raw.lpush("ns:queue:q1", "x")
    write(client, RECORD)
    assert stays_s(client, ["q1"], time.time()) == {}
    server.raw.srem("ns:queues", "q5000")
    write(client, RECORD)
    assert [*stays_s(client, ["q1"], time.time())] == ["q1"]
