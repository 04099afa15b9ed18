"""`enqueue` with keys: `--unique` is safe to repeat, an order key keeps the order, jobs of fair keys take turns."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import cast

import attrs
import pytest

from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.job import claims
from restbroker.job.claims import Lock
from restbroker.job.order import Order, key_rules
from restbroker.operate.enqueue import JobRequest, push
from restbroker.store import holders
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.jobs import FetchRequest, register
from tests.cli.conftest import Shell, configure, jobs_in
from tests.store.pools import FACTS
from tests.support.redis_server import RedisServer
from tests.support.store_calls import fetch
from tests.support.tcp_proxy import Loss, TcpProxy

UNIQUE = ("enqueue", "status", "--unique", "nightly", "--unique-for", "10m")


def lock_key(key: str = "nightly") -> str:
    return "ns:restbroker:unique:" + claims.lock_name("ejabberd", "default", key)


def test_a_second_job_of_a_key_is_not_queued(shell: Shell, store: Client) -> None:
    first, second = shell(*UNIQUE), shell(*UNIQUE)
    (job,) = jobs_in(store, "queue:rest")
    assert (first.returncode, first.stdout) == (0, f"{job['jid']}\n")
    assert (second.returncode, second.stdout) == (0, f"{job['jid']}\n")
    assert f"already queued as {job['jid']} (believed)" in second.stderr
    lock = lock_key().rpartition(":")[2]
    assert job["restbroker_unique"] == {"key": "nightly", "lock": lock, "for": 600}
    jid, moment_us = cast("bytes", store.command("GET", lock_key())).decode().split()
    assert (jid, abs(int(moment_us) / 1e6 - time.time()) < 10) == (job["jid"], True)
    assert 590_000 < cast("int", store.command("PTTL", lock_key())) <= 600_000
    assert shell("enqueue", "status", "--unique", "weekly", "--unique-for", "10m").returncode == 0
    assert len(jobs_in(store, "queue:rest")) == 2


def test_duplicate_is_recognized_by_scripts(shell: Shell, store: Client) -> None:
    jid = shell(*UNIQUE).stdout.strip()
    done = shell(*UNIQUE, "--json")
    assert (done.returncode, json.loads(done.stdout)) == (
        0,
        {"jid": jid, "outcome": "queued before", "holder": "believed"},
    )
    done = shell(*UNIQUE, "--wait")
    assert (done.returncode, "whose answer goes to the one who queued it" in done.stderr) == (6, True)
    assert len(jobs_in(store, "queue:rest")) == 1


def test_old_lock_is_checked_and_taken_over_from_a_lost_job(
    shell: Shell, store: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a deletion in Sidekiq's pages, which know nothing of locks."""
    monkeypatch.setattr(holders, "AGAIN_S", 0.05)
    first = shell(*UNIQUE).stdout.strip()
    store.command("SET", lock_key(), f"{first} {(time.time() - 61) * 1e6:.0f}", "KEEPTTL")
    done = shell(*UNIQUE)
    assert (done.returncode, done.stdout) == (0, f"{first}\n")
    assert f"already queued as {first} (looked for)" in done.stderr
    store.command("DEL", "ns:queue:rest")
    done = shell(*UNIQUE)
    (job,) = jobs_in(store, "queue:rest")
    assert (done.returncode, done.stdout, job["jid"] != first) == (0, f"{job['jid']}\n", True)


def test_a_queue_of_another_type_leaves_no_lock(shell: Shell, store: Client) -> None:
    store.command("SET", "ns:queue:rest", "x")
    done = shell(*UNIQUE)
    assert (done.returncode, "ns:queue:rest" in done.stderr) == (1, True)
    assert store.command("KEYS", "ns:restbroker:*") == []


def request(lock: Lock | None) -> JobRequest:
    return JobRequest("status", {}, "rest", Token("default", (Secret("t"),)), lock=lock)


@pytest.mark.promise("No command is lost", "jobs of one key, or a push that is repeated: done once")
def test_a_thousand_pushers_of_one_key_queue_one_job(redis_server: RedisServer, store: Client) -> None:
    settings = StoreSettings(redis_server.url, namespace="ns")
    lock = Lock(claims.lock_name("ejabberd", "default", "nightly"), "nightly", 600.0)

    def one(number: int) -> str | None:
        with closing(open_client(settings, 30.0)) as client:
            held = push(client, request(lock), f"jid-{number}", time.time())
            return None if held is None else held.jid

    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(one, range(1000)))
    (job,) = jobs_in(store, "queue:rest")
    assert [other for other in found if other is None] == [None]
    assert {other for other in found if other is not None} == {job["jid"]}


@pytest.mark.promise("No command is lost", "jobs of one key, or a push that is repeated: done once")
@pytest.mark.parametrize("is_unique", [False, True])
@pytest.mark.parametrize("at_s", [None, 4e9])
def test_a_push_whose_answer_was_lost_is_queued_once(
    redis_server: RedisServer, store: Client, at_s: float | None, *, is_unique: bool
) -> None:
    lock = Lock("a" * 64, "k", 600.0) if is_unique else None
    with (
        TcpProxy(redis_server.port, losses=[Loss(b"jid-1")] * 3) as proxy,
        closing(open_client(StoreSettings(f"redis://127.0.0.1:{proxy.port}/0", namespace="ns"))) as client,
    ):
        assert push(client, attrs.evolve(request(lock), at_s=at_s), "jid-1", time.time()) is None
        assert proxy.losses == []
    count = len(jobs_in(store, "queue:rest")) if at_s is None else store.command("ZCARD", "ns:schedule")
    assert count == 1


def test_a_job_done_before_its_push_is_repeated_is_pushed_once(redis_server: RedisServer, store: Client) -> None:
    """A broker may be faster than a repeated push: it gave the lock up already."""
    lock = Lock("a" * 64, "k", 600.0)
    with closing(open_client(StoreSettings(redis_server.url, namespace="ns"))) as client:
        for _ in range(2):
            assert push(client, request(lock), "jid-1", time.time()) is None
            store.command("DEL", "ns:queue:rest", f"ns:restbroker:unique:{lock.name}")
    assert jobs_in(store, "queue:rest") == []


def held(store: Client) -> list[bytes]:
    kinds = [cast("list[bytes]", store.command("KEYS", f"ns:restbroker:{kind}:*")) for kind in ("unique", "once")]
    return [*kinds[0], *kinds[1]]


def test_job_deleted_or_killed_by_hand_can_be_queued_again(shell: Shell, store: Client) -> None:
    for words in (
        ["queues", "clear", "rest", "--yes"],
        ["queues", "delete", "rest", "--all", "--yes"],
        ["queues", "kill", "rest", "--all", "--yes"],
    ):
        assert shell(*UNIQUE).returncode == 0
        assert len(held(store)) == 1
        done = shell(*words)
        assert done.returncode == 0, done.stderr
        assert (jobs_in(store, "queue:rest"), held(store)) == ([], []), words
    assert shell(*UNIQUE, "--in", "1h").returncode == 0
    assert shell("scheduled", "delete", "--all", "--yes").returncode == 0
    assert held(store) == []


def test_claim_ends_with_its_own_job_and_no_other(shell: Shell, store: Client) -> None:
    for value, deleted in (
        (claims.waiting_value("j1"), True),
        (claims.at_work_value("j1", "1:1", "gone"), True),
        (claims.at_work_value("j1", "1:1", "alive"), False),
        (claims.waiting_value("j2"), False),
        (claims.done_value("j1"), False),
    ):
        name = "ns:restbroker:once:" + claims.once_name("ejabberd", "default", "k")
        store.command("SET", name, value)
        store.command("HSET", "ns:restbroker:ip:alive", "1:1", "x")
        job = {
            "class": "A",
            "jid": "j1",
            "args": ["status", {}, "right-token"],
            "queue": "rest",
            "idempotency_key": "k",
        }
        store.command("ZADD", "ns:retry", 4e9, json.dumps(job))
        assert shell("retries", "delete", "j1", "--yes").returncode == 0
        assert (store.command("ZCARD", "ns:retry"), held(store) == []) == (0, deleted), value
        store.command("LPUSH", "ns:queue:rest", json.dumps(job))
        store.command("SET", name, value)
        assert shell("queues", "clear", "rest", "--yes").returncode == 0
        assert (held(store) == []) == deleted, value
        store.command("DEL", name)


def test_rows_of_a_file_have_keys_of_their_own(shell: Shell, store: Client, place: Path) -> None:
    rows = "user,host,password,_unique\na,h,1,k1\nb,h,1,k2\na,h,1,k1\nc,h,1,\nd,h,1,\n"
    (place / "rows.csv").write_text(rows)
    words = ("enqueue", "register", "--bulk", "rows.csv", "--unique-for", "10m")
    done = shell(*words, "--json")
    assert (done.returncode, done.stderr) == (0, done.stderr)
    outcome = json.loads(done.stdout)
    assert {name: outcome[name] for name in ("rows", "pushed", "rejected", "queued_before")} == {
        "rows": 5,
        "pushed": 4,
        "rejected": 0,
        "queued_before": 1,
    }
    users = [job["args"][1]["user"] for job in jobs_in(store, "queue:rest")]
    assert users == ["a", "b", "c", "d"]
    first, *_, last = jobs_in(store, "queue:rest")
    assert cast("bytes", store.command("GET", lock_key("k1"))).split()[0] == first["jid"].encode()
    assert first["restbroker_unique"]["key"] == "k1"
    assert "restbroker_unique" not in last
    (place / "rows.csv").write_text(f"{rows}\n")  # another file
    again = json.loads(shell(*words, "--json").stdout)
    assert (again["pushed"], again["queued_before"]) == (2, 3)


def test_rows_with_keys_are_rejected_where_there_can_be_none(shell: Shell, store: Client, place: Path) -> None:
    (place / "rows.csv").write_text("user,host,password,_unique\na,h,1,k1\n")
    done = shell("enqueue", "register", "--bulk", "rows.csv")
    assert (done.returncode, "_unique needs --unique-for" in done.stderr) == (2, True)
    done = shell("enqueue", "register", "--bulk", "rows.csv", "--unique", "k", "--unique-for", "1m")
    assert (done.returncode, "column _unique" in done.stderr) == (2, True)
    row = {"user": "a", "host": "h", "password": "1"}
    lines = [{**row, "_unique": 5}, {**row, "_unique": "k" * 300}, {**row, "_unique": None}, {**row, "_unique": "k"}]
    (place / "rows.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = shell("enqueue", "register", "--bulk", "rows.ndjson", "--unique-for", "1m")
    assert (done.returncode, len(jobs_in(store, "queue:rest")), len(held(store))) == (7, 2, 1), done.stderr


def test_waiting_caller_reads_what_holds_the_job(shell: Shell, store: Client, place: Path) -> None:
    configure(place, OrderBy="order_key")
    first = shell("enqueue", "status", "--order-key", "bob").stdout.strip()
    identity, text = "web1:7:abc:ejabberd", key_rules(Order(), None)
    assert register(store, identity, FACTS, ["rest"], key_rules=text)
    fetch(store, FetchRequest(identity, "ejabberd", ("rest",), 0, 50, 50, key_rules=text))
    # Others of the key do not hold it up.
    for key, held in (("bob", True), ("alice", False)):
        done = shell("enqueue", "status", "--order-key", key, "--wait", "--timeout", "100ms")
        said = f"It is held behind {first} (status) of the key bob, which web1:7 has in progress.\n"
        assert (done.returncode, said in done.stderr) == (6, held)


@pytest.mark.parametrize(("kind", "by"), [("order", "OrderBy"), ("fair", "FairBy")])
def test_rows_of_a_file_may_have_order_and_fair_keys(
    shell: Shell, store: Client, place: Path, kind: str, by: str
) -> None:
    configure(place, **{by: f"{kind}_key"})
    (place / "rows.csv").write_text(f"user,host,_{kind}_key\na,h,k1\nb,h,\nc,h,k2\n")
    done = shell("enqueue", "check_account", "--bulk", "rows.csv", f"--{kind}-key", "rest")
    assert (done.returncode, "has no effect" in done.stderr) == (0, False), done.stderr
    assert [job[f"{kind}_key"] for job in jobs_in(store, "queue:rest")] == ["k1", "rest", "k2"]
    keys = (5, "k" * 257, "a\0b", "a\nb", ["k"], None, "k" * 256)
    rows = [json.dumps({"user": "d", "host": "h", f"_{kind}_key": key}) + "\n" for key in keys]
    (place / "rows.ndjson").write_text("".join(rows))
    done = shell("enqueue", "check_account", "--bulk", "rows.ndjson")
    assert (done.returncode, done.stderr.count(f"{kind}_key takes a string of 1 to 256 bytes")) == (7, 5)
    assert [job.get(f"{kind}_key") for job in jobs_in(store, "queue:rest")[3:]] == [None, "k" * 256]


def test_a_fair_key_where_no_jobs_take_turns_is_noted(shell: Shell) -> None:
    vain = shell("enqueue", "check_account", "--bulk", "none.csv", "--fair-key", "rest")
    assert "note: --fair-key has no effect" in vain.stderr


def test_rows_are_pushed_in_order_or_not_at_all(shell: Shell, store: Client, place: Path) -> None:
    """Without `OrderBy` they would be done side by side, which their order key says must not be."""
    (place / "rows.csv").write_text("user,host\na,h\n")
    (place / "keys.csv").write_text("user,host,_order_key\na,h,k\n")
    (place / "rows.ndjson").write_text('{"command":"kick_user","user":"a","host":"h","_order_key":"k"}\n')
    for words in (
        ["kick_user", "--bulk", "rows.csv", "--order-key", "k"],
        ["kick_user", "--bulk", "keys.csv"],
        ["-", "--bulk", "rows.ndjson", "--order-key", "k"],
    ):
        done = shell("enqueue", *words)
        assert (done.returncode, jobs_in(store, "queue:rest")) == (2, [])
        assert 'there is no "OrderBy": "order_key" in ejabberd.' in done.stderr
    done = shell("enqueue", "-", "--bulk", "rows.ndjson")
    assert (done.returncode, jobs_in(store, "queue:rest")) == (1, [])
    assert 'line 1: there is no "OrderBy": "order_key" in ejabberd.' in done.stderr
