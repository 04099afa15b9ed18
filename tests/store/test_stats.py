"""The figures and what is looked at beside them: each says what is in Redis."""

import json

import attrs
import pytest

from restbroker.errors import StoreRefused
from restbroker.store import heartbeats, identities, processes, queues, survey
from restbroker.store.client import Client, open_client
from restbroker.store.jobs import register
from restbroker.store.key_types import MisusedKey, find_misused, types
from restbroker.store.queues import peek
from restbroker.store.server import product, read_setting, require_supported, time_s
from restbroker.store.server import server as ask
from restbroker.store.stats import IdentityView, QueueView, overview
from restbroker.store.survey import SCAN_COUNT, Orphan
from restbroker.store.tickets import MAX_BYTES
from tests.store.pools import FACTS, QUEUES, Pool, Server, on_both


def test_each_total_and_each_size_is_read_from_its_own_key(client: Client, server: Server) -> None:
    server.raw.mset({"ns:stat:processed": 7, "ns:stat:failed": 6})
    for count, name in ((1, "retry"), (2, "schedule"), (3, "dead")):
        server.raw.zadd(f"ns:{name}", {str(member): 1 for member in range(count)})
    found = overview(client)
    assert (found.processed, found.failed, found.retry, found.schedule, found.dead) == (7, 6, 1, 2, 3)
    assert abs(found.now_s - time_s(client)) < 5
    assert (found.queues, found.identities) == ((), ())


def test_queue_is_shown_if_listed_served_or_wanted(pool: Pool, server: Server) -> None:
    server.raw.sadd("ns:queues", "listed")
    server.raw.lpush("ns:queue:filled", b"{}", b'{"created_at":1.5}')
    server.raw.sadd("ns:paused", "b")
    found = overview(pool.client, ["filled", "empty"])
    assert found.queues[:3] == (
        QueueView("a", 0, 0.0, paused=False, is_listed=True),
        QueueView("b", 0, 0.0, paused=True, is_listed=True),
        QueueView("empty", 0, 0.0, paused=False, is_listed=False),
    )
    filled, by_client = found.queues[3:]
    assert (filled.name, filled.size, filled.latency_s, filled.is_listed) == ("filled", 2, None, True)
    assert by_client == QueueView("listed", 0, 0.0, paused=False, is_listed=True)


def test_served_or_wanted_queues_stay_when_there_are_too_many(pool: Pool, server: Server) -> None:
    server.raw.sadd("ns:queues", *(f"q{number:02}" for number in range(50)))
    found = overview(pool.client, ["q40", "z"], 10)
    assert [queue.name for queue in found.queues] == ["a", "b", "q00", "q01", "q02", "q03", "q04", "q05", "q40", "z"]
    assert found.unread == 43
    assert overview(pool.client, ["q40", "z"]).unread == 0


def test_age_of_a_queue_is_that_of_the_job_taken_next(client: Client, server: Server) -> None:
    server.raw.lpush("ns:queue:a", b'{"created_at":1.5}', b'{"created_at":9.5}', b"{}")
    found = overview(client, ["a"])
    latency_s = found.queues[0].latency_s
    assert latency_s is not None
    assert found.now_s - latency_s == pytest.approx(1.5, abs=0.01)


def test_queue_shows_how_long_its_next_job_has_been_expired(client: Client, server: Server) -> None:
    now_s = server.now_us() / 1e6
    jobs = [b'{"expiry":%d}' % (now_s + 99), b'{"expiry":"odd"}', b'{"args":["expiry"]}']
    server.raw.rpush("ns:queue:a", *jobs)
    assert overview(client, ["a"]).queues[0].expired_s is None
    server.raw.rpush("ns:queue:a", b'{"expiry":%d}' % (1000 * (now_s - 60)))
    server.raw.lpush("ns:restbroker:line:a\x1ek", b'{"expiry":%d}' % (now_s - 600))
    server.raw.set("ns:restbroker:line:a", 1)
    server.raw.zadd("ns:restbroker:turn:a", {"k": 1})
    expired_s = overview(client, ["a"]).queues[0].expired_s
    assert expired_s is not None
    assert 600 <= expired_s < 660


@pytest.mark.promise("Security: who can push to the queues", "to crash or stall it")
@on_both
def test_a_large_job_is_not_read_for_the_age_of_its_queue(client: Client, server: Server) -> None:
    large = b'{"created_at":1.5,"pad":"%b"}' % (b"x" * MAX_BYTES)
    server.raw.rpush("ns:queue:large", b"{}", large)
    server.raw.set("ns:queue:odd", 1)
    places = [(f"ns:queue:{name}", -1) for name in ("large", "none", "odd")]
    assert queues.jobs_at(client, places) == [b"", None, None]
    assert overview(client, ["large"]).queues == (QueueView("large", 2, None, paused=False, is_listed=True),)


@on_both
def test_pool_shows_its_jobs_record_and_missing_beats(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1", b"2"])
    pool.take(9, hwm=1)
    heartbeats.write_heartbeats(pool.client, [(pool.identity, 1)], {pool.identity: b"{}"})
    server.raw.hset("ns:restbroker:info:h:1:abc:t", "beat_at", int(time_s(pool.client)) - 100)
    server.raw.hset("ns:restbroker:beats", "bare", 0)
    bare, view = overview(pool.client).identities
    assert bare == IdentityView("bare", is_fenced=False, age_s=None, in_progress=0, registration=None)
    assert (view.identity, view.in_progress, view.is_fenced) == (pool.identity, 2, False)
    assert view.age_s is not None
    assert 100 <= view.age_s < 105
    assert view.registration is not None
    assert (view.registration.process, view.registration.queues) == (FACTS, QUEUES)
    server.raw.hset("ns:restbroker:info:h:1:abc:t", "beat_at", int(time_s(pool.client)) + 100)
    assert overview(pool.client).identities[1].age_s == 0.0, "a clock that was set back"


@on_both
def test_a_key_of_another_type_is_named_with_what_is_needed(client: Client, server: Server) -> None:
    needed = {
        "restbroker:beats": "hash", "restbroker:dying": "hash", "restbroker:tokens": "hash",
        "restbroker:pauses:queues": "hash", "restbroker:pauses:targets": "hash",
        "queues": "set", "paused": "set", "processes": "set", "retry": "zset", "schedule": "zset", "dead": "zset",
        "restbroker:parked": "stream",
        "stat:processed": "string", "stat:failed": "string",
        "restbroker:pause:t": "hash", "restbroker:rate:t": "string", "restbroker:inflight:t": "hash", "queue:q": "list",
        "restbroker:held:t": "zset", "restbroker:groups:t": "string", "restbroker:stopped:t": "hash",
        "restbroker:turn:q": "zset", "restbroker:fair:q": "hash", "restbroker:line:q": "string",
    }  # fmt: skip
    assert find_misused(client, ["t"], ["q"]) == ()
    for key, kind in needed.items():
        server.raw.lpush(f"ns:{key}", "x") if kind != "list" else server.raw.set(f"ns:{key}", "x")
    found = find_misused(client, ["t"], ["q"])
    assert {key.key.removeprefix("ns:"): key.expected_type for key in found} == needed
    assert MisusedKey("ns:dead", "zset", "list") in found
    assert MisusedKey("ns:queue:q", "list", "string") in found
    assert types(client, ["ns:dead", "ns:none"]) == {"ns:dead": "list"}


def test_sidekiq_processes_differ_from_ours_and_expired_are_gone(client: Client, server: Server) -> None:
    infos = {
        "ruby": {"queues": ["a", "a", "b"], "version": "7.3.2"},
        "old": {"queues": ["a"], "tag": "restbroker"},
        "ours": {"queues": [], "version": "restbroker 1.0"},
        "odd": [],
        "numbered": {"version": 7},
    }
    for name, info in infos.items():
        server.raw.hset(f"ns:{name}", "info", json.dumps(info))
    server.raw.hset("ns:unread", "info", "{x")
    server.raw.sadd("ns:processes", *infos, "unread", "expired")
    found = processes.read_all(client, with_work=False)
    assert [record.name for record in found] == ["numbered", "odd", "old", "ours", "ruby", "unread"]
    assert {record.name: record.queues for record in found if record.queues} == {"old": ("a",), "ruby": ("a", "b")}
    assert [record.name for record in found if record.is_restbroker] == ["ours"]


@on_both
def test_orphaned_jobs_are_found_with_their_queues(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1", b"2"])
    pool.take(9, hwm=1)
    server.raw.hset("ns:restbroker:ip:lost", mapping={"1:1": b"x", "last": 1, "hwm": 1})
    server.raw.hset("ns:restbroker:ip:empty", mapping={"last": 1, "hwm": 1})
    server.raw.set("ns:restbroker:ip:text", "no hash")
    server.raw.hset("restbroker:ip:other-namespace", "1:1", b"x")
    server.raw.mset({f"key:{number}": "x" for number in range(5 * SCAN_COUNT)})
    opened = open_client(attrs.evolve(server.settings, namespace="n[s]*"))
    assert survey.orphans(opened, []) == (), "letters of patterns are meant as they are"
    opened.close()
    assert survey.orphans(pool.client, [pool.identity]) == (Orphan("lost", 1, is_described=False),)
    assert survey.orphans(pool.client, []) == (
        Orphan(pool.identity, 2, is_described=True),
        Orphan("lost", 1, is_described=False),
    )


def test_every_namespace_with_queues_is_found_and_none_as_well(client: Client, server: Server) -> None:
    assert survey.namespaces(client) == set()
    server.raw.sadd("ns:queues", "a")
    server.raw.sadd("other:queues", "a")
    server.raw.lpush("no-set:queues", "a")
    assert survey.namespaces(client) == {"ns", "other"}
    server.raw.sadd("queues", "a")
    assert survey.namespaces(client) == {"ns", "other", ""}


def test_lists_leave_out_what_the_original_has_in_progress(client: Client, server: Server) -> None:
    for name in ("rest", "inprogress", "rest:7:inprogress"):
        server.raw.lpush(f"ns:queue:{name}", b"{}")
    assert survey.lists(client) == {"rest", "inprogress"}


@on_both
def test_server_reports_limits_disk_and_database_sizes(client: Client, server: Server) -> None:
    server.raw.config_set("maxmemory", 10**9)
    server.raw.mset({"a": 1, "b": 2})
    facts = ask(client)
    assert (facts.maxmemory_bytes, facts.policy, facts.aof_enabled) == (10**9, "noeviction", False)
    assert (facts.cluster_enabled, facts.disk_ok) == (False, True)
    assert facts.databases == {0: 2}
    assert 500_000 < facts.used_memory_bytes < 10**9
    assert facts.total_memory_bytes > 10**8
    assert facts.save == read_setting(client, "save") == server.raw.config_get("save")["save"]
    assert facts.product == f"{'Valkey' if facts.is_valkey else 'Redis'} {facts.version}"
    assert read_setting(client, "no-such-setting") is None
    require_supported(client)


@on_both
def test_a_server_that_forbids_config_and_info_says_its_version(client: Client, server: Server) -> None:
    known = product(client)
    server.raw.execute_command("ACL", "SETUSER", "plain", "on", "nopass", "+@all", "-config", "~*")
    url = f"redis://plain:x@127.0.0.1:{server.process.port}/0"
    opened = open_client(attrs.evolve(server.settings, url=url))
    try:
        assert (ask(opened).appendfsync, ask(opened).save, read_setting(opened, "save")) == (None, None, None)
        server.raw.execute_command("ACL", "SETUSER", "plain", "-info")
        require_supported(opened)
        assert product(opened) == known
        with pytest.raises(StoreRefused):
            ask(opened)
    finally:
        opened.close()
        server.raw.execute_command("ACL", "DELUSER", "plain")


@pytest.mark.promise("Security: who can push to the queues", "to crash or stall it")
def test_job_larger_than_any_that_runs_is_reported_unread(client: Client, server: Server) -> None:
    server.raw.rpush("ns:queue:q", b"3", b"x" * (MAX_BYTES + 1), b"1")
    (first,), (too_large,), (last,) = (peek(client, "q", skip, 10) for skip in range(3))
    assert (first, last, len(too_large) < 200) == (b"1", b"3", True)
    assert json.loads(too_large)["error_message"] == f"This entry is not shown: it has {MAX_BYTES + 1} bytes."


def test_a_damaged_record_hides_no_pool(client: Client, server: Server) -> None:
    assert register(client, "h:1:abc:t", FACTS, QUEUES)
    server.raw.hset("ns:restbroker:info:h:1:abc:t", "pid", "no number")
    with pytest.raises(StoreRefused):
        identities.read(client, "h:1:abc:t")
    server.raw.hdel("ns:restbroker:info:h:1:abc:t", "pid")
    with pytest.raises(StoreRefused, match="is incomplete \\('pid'\\)") as caught:
        identities.read(client, "h:1:abc:t")
    assert "restbroker:ip:*" in (caught.value.hint or "")
    assert [identity.registration for identity in overview(client).identities] == [None]
