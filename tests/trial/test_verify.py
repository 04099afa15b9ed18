"""`restbroker verify` as people run it: what it promises of itself, and that it sees what it is there to see.

VERIFY_JOBS is the number of jobs of the long run (2000), VERIFY_KILLS its kills (6); `.ci/soak` raises both. Each
freeze takes the 20 s until a process without beats is fenced, and there is one for each 20 kills beside the first.
"""

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from restbroker.store.client import Client, Reply, items, raw
from tests.support import process
from tests.support.fake_redis import fake_redis
from tests.support.process import Running
from tests.support.redis_server import RedisServer
from tests.support.sentinel import MASTER, PASSWORD, start_group
from tests.support.wait import until

JOBS = int(os.environ.get("VERIFY_JOBS", "2000"))
KILLS = int(os.environ.get("VERIFY_KILLS", "6"))


def everything(client: Client) -> Mapping[bytes, Reply]:
    """Every key of the database with its value."""
    return {raw(key): client.command("DUMP", raw(key)) for key in items(client.command("KEYS", "*"))}


def furnish(client: Client) -> None:
    """What others keep in the same Redis; one of them has a name that is almost a run's."""
    client.command("LPUSH", "queue:rest", '{"jid": "of somebody else", "args": []}')
    client.command("SADD", "queues", "rest")
    client.command("ZADD", "retry", 1, '{"jid": "also", "args": []}')
    client.command("HSET", "restbroker:beats", "host:1:nonce:ejabberd", 5)
    client.command("SET", "restbroker-verify-", "a key that only looks like ours")
    client.command("SET", "my-restbroker-verify-0:queue:rest", "another one")


def processes_of(folder: Path) -> dict[str, bool]:
    """The command lines of the processes that name this folder, and whether each is suspended."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if str(folder) in line:
                    found[line] = is_suspended(int(entry.name))
    return found


def is_suspended(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def wait_for_queue(client: Client) -> bytes:
    """The key of a run's queue, once the run has pushed to it."""
    found = until(lambda: items(client.command("KEYS", "restbroker-verify-*:queue:rest")), "the run has pushed")
    return raw(found[0])


def delete_ticket(client: Client) -> Reply:
    """Delete the last ticket of a suspended process, whose job comes to a worker last; 0 if there is none, else 1."""
    for key in map(raw, items(client.command("KEYS", "restbroker-verify-*:restbroker:ip:*"))):
        tickets = {raw(field) for field in items(client.command("HKEYS", key))} - {b"last", b"hwm"}
        if tickets and is_suspended(int(key.split(b":")[-3])):
            return client.command("HDEL", key, max(tickets, key=lambda one: int(one.split(b":")[0])))
    return 0


@contextmanager
def start(folder: Path, url: str, *more: str) -> Iterator[Running]:
    """A run; one that has not ended by the end of the block is asked to, or its brokers would outlive it."""
    arguments = ["verify", "--redis", url, "--json", *more]
    with process.started(arguments, directory=folder / "out", environ={"TMPDIR": str(folder)}) as running:
        try:
            yield running
        finally:
            if running.process.poll() is None:
                running.stop()


def report(running: Running) -> Any:
    """What it printed, once it has ended with 1."""
    assert running.wait() == 1, running.output()
    return json.loads(running.stdout.read_text())


@pytest.mark.promise("No command is lost", "a job kills every process that sends it")
@pytest.mark.nightly
def test_run_breaks_all_keeps_every_promise_and_touches_no_more(
    tmp_path: Path, redis_server: RedisServer, client: Client
) -> None:
    furnish(client)
    before = everything(client)
    ran = process.run(
        ["verify", "--redis", redis_server.url, "--jobs", str(JOBS), "--kills", str(KILLS), "--json"],
        environ={"TMPDIR": str(tmp_path)},
        timeout_s=120 + 12 * KILLS,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(ran.stdout)
    assert set(found["faults"]) == {"freeze", "kill", "restart", "cut", "reset"}
    assert found["faults"]["kill"] == KILLS
    assert found["attempted"] == found["acknowledged"] == JOBS
    assert found["ok"] <= JOBS <= found["ok"] + found["dead"]
    assert found["lost"] == found["unexpected"] == found["recovered"] == found["unfinished"] == 0
    assert 0 < found["duplicated"] <= found["bound"]
    assert set(found["recovery_s"]) == {"kill", "freeze"}
    assert everything(client) == before
    assert processes_of(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.nightly
def test_first_fault_meets_full_workers_however_slow_the_start(tmp_path: Path, redis_server: RedisServer) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys, time\n'run' in sys.orig_argv and time.sleep(2)\n")
    path = os.pathsep.join([str(tmp_path), process.clean_environment()["PYTHONPATH"]])
    arguments = ["verify", "--redis", redis_server.url, "--jobs", "4000", "--kills", "1", "--json"]
    ran = process.run(arguments, environ={"PYTHONPATH": path}, timeout_s=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(ran.stdout)["recovery_s"]["freeze"]["count"] == 1


def test_vanished_doubled_and_unpushed_jobs_are_reported(
    tmp_path: Path, redis_server: RedisServer, client: Client
) -> None:
    with start(tmp_path, redis_server.url, "--jobs", "2000", "--kills", "0") as running:
        key = wait_for_queue(client)
        vanished = items(client.command("RPOP", key, 7))
        doubled = [raw(job) for job in items(client.command("LRANGE", key, 0, 8))]
        strange = f"00-{'f' * 32}-{'1' * 16}-01"
        job = {**json.loads(doubled[0]), "jid": strange, "traceparent": strange}
        client.command("LPUSH", key, *doubled, json.dumps(job))
        found = report(running)
    assert (found["lost"], len(vanished)) == (7, 7)
    assert (found["duplicated"], len(doubled), found["bound"]) == (9, 9, 0)
    assert (found["kept"], found["unexpected"], found["ok"]) == (False, 1, 1993)


@pytest.mark.nightly
def test_a_ticket_deleted_by_hand_is_a_lost_job(tmp_path: Path, redis_server: RedisServer, client: Client) -> None:
    """Its process is suspended until it is fenced, and then drops what it had not sent."""
    with start(tmp_path, redis_server.url, "--jobs", "2000", "--kills", "1") as running:
        assert until(lambda: delete_ticket(client), "a suspended process has jobs") == 1
        found = report(running)
    assert (found["lost"], found["kept"], found["ok"] + found["dead"]) == (1, False, 1999)


@pytest.mark.nightly
def test_an_interrupted_run_leaves_neither_keys_nor_processes(
    tmp_path: Path, redis_server: RedisServer, client: Client
) -> None:
    furnish(client)
    before = everything(client)
    with start(tmp_path, redis_server.url, "--jobs", "5000", "--kills", "50") as running:
        wait_for_queue(client)
        until(lambda: any(processes_of(tmp_path).values()), "a broker is suspended")
        running.signal(signal.SIGINT)
        assert running.wait() == 130
    assert "Interrupted" in running.output()
    assert everything(client) == before
    assert processes_of(tmp_path) == {}
    assert list(tmp_path.glob("restbroker-verify-*")) == []


def test_broker_that_does_not_start_ends_the_run_without_keys(
    tmp_path: Path, redis_server: RedisServer, client: Client
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'run' in sys.orig_argv:\n    print('I would rather not', flush=True)\n    os._exit(3)\n"
    )
    path = os.pathsep.join([str(tmp_path), process.clean_environment()["PYTHONPATH"]])
    ran = process.run(["verify", "--redis", redis_server.url, "--jobs", "100"], environ={"PYTHONPATH": path})
    assert ran.returncode == 1
    assert "ended unexpectedly, with 3" in ran.stderr
    assert "I would rather not" in ran.stderr
    assert everything(client) == {}


@pytest.mark.nightly
def test_secrets_are_in_no_command_line_and_no_output(tmp_path: Path, make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis()
    assert server.command("CONFIG SET requirepass a-p@ss/word").startswith("+OK")
    document = {
        "RedisURL": server.url,
        "RedisPass": "a-p@ss/word",
        "RestURL": "http://127.0.0.1:1/api",
        "RestQueue": "rest",
        "Token": "the user's token",
    }
    (tmp_path / "env.json").write_text(json.dumps(document))
    arguments = ["verify", "--config", str(tmp_path / "env.json"), "--jobs", "300", "--kills", "0"]
    with process.started(arguments, directory=tmp_path / "out", environ={"TMPDIR": str(tmp_path)}) as running:
        lines = until(lambda: [line for line in processes_of(tmp_path) if " run " in line], "a broker runs")
        (config,) = {Path(line.split()[-1]) for line in lines[:1]}
        token = json.loads(config.read_text())["Token"]
        assert config.stat().st_mode & 0o077 == 0
        assert running.wait() == 0, running.output()
    for secret in (token, "ss/word", "p%40ss", "the user's token"):
        assert secret not in "".join(lines) + running.output()


@pytest.mark.nightly
def test_sentinels_lead_brokers_and_witness_to_the_master(tmp_path: Path) -> None:
    group = start_group(tmp_path / "group")
    document = {
        "RedisURL": "redis:///0",
        "RedisSentinels": [f"{host}:{port}" for host, port in group.addresses],
        "RedisMaster": MASTER,
        "RedisSentinelPass": PASSWORD,
        "RestURL": "http://127.0.0.1:1/api",
        "RestQueue": "rest",
        "Token": "a token",
    }
    (tmp_path / "env.json").write_text(json.dumps(document))
    try:
        ran = process.run(["verify", "--config", str(tmp_path / "env.json"), "--jobs", "300", "--kills", "0", "--json"])
    finally:
        group.close()
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(ran.stdout)["ok"] == 300


def test_redis_unfit_for_a_run_is_refused_before_any_write(
    make_redis: Callable[..., RedisServer],
) -> None:
    small = make_redis(maxmemory="4mb")
    replica = make_redis(replicaof=f"127.0.0.1 {small.port}")
    with fake_redis("redis_version:6.2.14\r\nrole:master") as too_old:
        rows: list[tuple[list[str], int, str]] = [
            (["--redis", small.url, "--jobs", "20000"], 2, "bytes left of maxmemory"),
            (["--redis", replica.url], 2, "is a replica"),
            (["--redis", too_old], 2, "Redis 6.2.14"),
            (["--redis", "redis://127.0.0.1:1/0"], 3, ""),
            (["--redis", small.url, "--config", "env.json"], 2, "Keep one of them"),
        ]
        for words, code, why in rows:
            ran = process.run_here(["verify", *words])
            assert (ran.returncode, why in ran.stderr) == (code, True), (words, ran.stderr)
    assert small.command("DBSIZE").startswith(":0")
