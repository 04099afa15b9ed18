"""Jobs are taken out of a queue, or dead ones edited, while the command, Redis and the broker are killed."""

import json
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support import scripted
from tests.support.process import clean_environment
from tests.support.redis_server import RedisServer
from tests.support.wait import until

JOBS = 20_000
_NEVER_S = 240


def job(number: int) -> bytes:
    """Every fourth is meant."""
    command = "status" if number % 4 else "register"
    args = [command, {"user": f"u{number}"}, "t0ken"]
    return json.dumps({"class": "Add", "args": args, "jid": f"j{number}", "enqueued_at": 1.0}).encode()


def jids(jobs: Sequence[bytes]) -> Counter[str]:
    return Counter(json.loads(raw)["jid"] for raw in jobs)


def work_beside(server: RedisServer, stopped: threading.Event) -> None:
    """A producer and a worker: one more job at the one end, and two from the other to a list that keeps them."""
    number = JOBS
    while not stopped.is_set():
        try:
            # What was pushed, and not answered, is not pushed again.
            with redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as raw:
                while not stopped.wait(0.001):
                    number += 4
                    raw.lpush("queue:rest", job(number + 1))
                    raw.lmove("queue:rest", "done", "RIGHT", "LEFT")
                    raw.lmove("queue:rest", "done", "RIGHT", "LEFT")
        except redis.ConnectionError:
            stopped.wait(0.02)


def killed_often(command: list[str], others: Sequence[Callable[[], None]]) -> subprocess.CompletedProcess[str]:
    """How it went when at last nobody killed the command; `others` are killed and started again in between."""
    chance = random.Random(7)
    for attempt in range(9):
        running = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=clean_environment(None)
        )
        try:
            running.wait(timeout=chance.uniform(0.4, 1.4))
        except subprocess.TimeoutExpired:
            if 0 < attempt % 3 <= len(others):
                others[attempt % 3 - 1]()
            running.kill()
        running.communicate()
    return subprocess.run(
        command, capture_output=True, text=True, timeout=_NEVER_S, check=False, env=clean_environment(None)
    )


def restart(server: RedisServer) -> None:
    """Kill it and start it, and have it rewrite its file, as a broker does.

    A kill may cut the file inside a script, and the next start may apply half of that script (docs/guarantees.md).
    """
    server.kill()
    server.start()
    with redis.Redis(port=server.port) as raw:
        with suppress(redis.ResponseError):  # its file had grown: it has begun by itself
            raw.bgrewriteaof()
        busy = ("aof_rewrite_in_progress", "aof_rewrite_scheduled")
        until(lambda: not any(raw.info("persistence")[name] for name in busy), "its file is rewritten", _NEVER_S)


@pytest.mark.parametrize("verb", ["kill", "delete"])
def test_waiting_jobs_are_in_one_place_though_all_are_killed(
    verb: str, tmp_path: Path, make_redis: Callable[..., RedisServer]
) -> None:
    server = make_redis(appendonly="yes", appendfsync="always")
    target = {"Kind": "ejabberd", "URL": "http://127.0.0.1:1/api", "Queues": ["rest"]}
    document = {"RedisURL": server.url, "Token": "t0ken", "Targets": {"e": target}}
    (tmp_path / "env.json").write_text(json.dumps(document))
    with redis.Redis(port=server.port) as raw:
        raw.lpush("queue:rest", *map(job, range(JOBS)))
        raw.sadd("queues", "rest")
    command = [sys.executable, "-m", "restbroker", "queues", verb, "rest"]
    command += ["--where", "command = register", "--where", "user != bob", "--yes"]
    command += ["--config", str(tmp_path / "env.json")]
    stopped = threading.Event()
    beside = threading.Thread(target=work_beside, args=(server, stopped))
    beside.start()
    try:
        last = killed_often(command, [lambda: restart(server)])
    finally:
        stopped.set()
        beside.join()
    assert (last.returncode, last.stdout) == (0, ""), last.stderr
    with redis.Redis(port=server.port) as raw:
        waits, worked = raw.lrange("queue:rest", 0, -1), raw.lrange("done", 0, -1)
        dead = raw.zrange("dead", 0, -1)
    found = jids([*waits, *worked, *dead])
    gone = {f"j{n}" for n in range(JOBS)} - set(found)
    assert max(found.values()) == 1, "none is in two places"
    assert all(int(jid[1:]) % 4 == 0 for jid in gone), "none is lost"
    assert all(json.loads(job)["args"][0] == "register" for job in dead)
    assert all(json.loads(job)["args"][0] == "status" for job in waits), "all that were meant have left"
    meant, others = (len(dead), len(gone)) if verb == "kill" else (len(gone), len(dead))
    assert meant > JOBS / 20
    assert others == 0


def test_edited_dead_job_survives_kills_in_one_place_or_done(
    tmp_path: Path, make_redis: Callable[..., RedisServer]
) -> None:
    why = {"error_class": "BadArgument", "error_message": "Argument 'host' is wrong."}
    members = {
        scripted.job(f"u{number}", arguments={"host": "exmaple.org"}, **why): 1_700_000_000 + number
        for number in range(JOBS)
    }
    with scripted.ready(tmp_path, make_redis(appendonly="yes", appendfsync="always")) as citizen:
        with redis.Redis(port=citizen.redis.port) as raw:
            raw.zadd("dead", members)
        command = [sys.executable, "-m", "restbroker", "dead", "edit", "--where", "host = exmaple.org"]
        command += ["host=example.net", "--retry", "--yes", "--config", str(citizen.config)]

        def restart_broker() -> None:
            citizen.brokers[-1].process.kill()
            citizen.start()

        citizen.start()
        last = killed_often(command, [restart_broker, lambda: restart(citizen.redis)])
        assert (last.returncode, last.stdout) == (0, ""), last.stderr
        until(lambda: not citizen.queued() and not citizen.in_progress(), "nothing waits any more", _NEVER_S)
        assert citizen.brokers[-1].stop() == 0
        sent = {arrival.arguments["user"]: arrival.arguments["host"] for arrival in citizen.server.arrivals}
        with redis.Redis(port=citizen.redis.port) as raw:
            places = jids([member for zset in ("retry", "schedule", "dead") for member in raw.zrange(zset, 0, -1)])
    users = {json.loads(member)["jid"]: json.loads(member)["args"][1]["user"] for member in members}
    assert len(users) == JOBS
    assert max(places.values(), default=1) == 1, "none is in two places"
    assert {jid for jid, user in users.items() if user not in sent} <= set(places), "none is lost"
    assert set(sent.values()) == {"example.net"}, "none is sent as it was"
    assert len(sent) > JOBS * 0.9
