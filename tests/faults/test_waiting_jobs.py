"""Jobs are taken out of the middle of a queue while the command, and Redis, are killed."""

import json
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.redis_server import RedisServer

JOBS = 20_000
_NEVER_S = 120


def job(number: int) -> bytes:
    """Every fourth is meant."""
    command = "status" if number % 4 else "register"
    args = [command, {"user": f"u{number}"}, "t0ken"]
    return json.dumps({"class": "Add", "args": args, "jid": f"j{number}", "enqueued_at": 1.0}).encode()


def jids(jobs: list[bytes]) -> Counter[str]:
    return Counter(json.loads(raw)["jid"] for raw in jobs)


def number_of(raw: bytes) -> int:
    """The job's, by its id."""
    return int(json.loads(raw)["jid"][1:])


def is_edited(raw: bytes) -> bool:
    """Whether it is bob's."""
    return bool(json.loads(raw)["args"][1]["user"] == "bob")


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


def killed_again_and_again(command: list[str], server: RedisServer) -> subprocess.CompletedProcess[str]:
    """How it went when at last nobody killed the command, or Redis."""
    chance = random.Random(7)
    for attempt in range(8):
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ})
        try:
            running.wait(timeout=chance.uniform(0.4, 1.2))
        except subprocess.TimeoutExpired:
            if attempt % 3 == 2:
                server.kill()
                server.start()
            running.kill()
        running.communicate()
    return subprocess.run(command, capture_output=True, text=True, timeout=_NEVER_S, check=False)


@pytest.mark.parametrize(
    "verb",
    [
        pytest.param(("move", "--to", "slow"), id="move"),
        pytest.param(("dead",), id="dead"),
        pytest.param(("edit", "user=bob", "--any"), id="edit"),
    ],
)
def test_each_job_is_in_one_place_though_the_command_and_redis_are_killed(
    verb: tuple[str, ...], tmp_path: Path, make_redis: Callable[..., RedisServer]
) -> None:
    server = make_redis(appendonly="yes", appendfsync="always")
    target = {"Kind": "ejabberd", "URL": "http://127.0.0.1:1/api", "Queues": ["rest", "slow"]}
    document = {"RedisURL": server.url, "Token": "t0ken", "Targets": {"e": target}}
    (tmp_path / "env.json").write_text(json.dumps(document))
    with redis.Redis(port=server.port) as raw:
        raw.lpush("queue:rest", *map(job, range(JOBS)))
        raw.sadd("queues", "rest", "slow")
    command = [sys.executable, "-m", "restbroker", "queues", verb[0], "rest", *verb[1:]]
    command += ["--where", "command = register", "--where", "user != bob", "--yes"]
    command += ["--config", str(tmp_path / "env.json")]
    stopped = threading.Event()
    beside = threading.Thread(target=work_beside, args=(server, stopped))
    beside.start()
    try:
        last = killed_again_and_again(command, server)
    finally:
        stopped.set()
        beside.join()
    # Of an edit it is told by the code as well that some were taken meanwhile.
    codes = (0, 7) if verb[0] == "edit" else (0,)
    assert (last.returncode in codes, last.stdout) == (True, ""), last.stderr
    with redis.Redis(port=server.port) as raw:
        waits, worked = raw.lrange("queue:rest", 0, -1), raw.lrange("done", 0, -1)
        moved = raw.lrange("queue:slow", 0, -1) if verb[0] == "move" else raw.zrange("dead", 0, -1)
    found = jids([*waits, *worked, *moved])
    if verb[0] == "edit":
        numbers = [number_of(one) for one in waits]
        assert numbers == sorted(numbers, reverse=True), "each keeps its place"
        moved = [one for one in [*waits, *worked] if is_edited(one)]
        waits = [one for one in waits if not is_edited(one)]
    assert max(found.values()) == 1, "none is in two places"
    assert {f"j{n}" for n in range(JOBS)} <= set(found), "none is lost"
    assert all(json.loads(one)["args"][0] == "register" for one in moved)
    assert all(json.loads(one)["args"][0] == "status" for one in waits), "all that were meant have left"
    assert len(moved) > JOBS / 20
