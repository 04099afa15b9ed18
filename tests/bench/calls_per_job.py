"""What one job costs the broker, in calls of functions: `make count-calls` writes it down.

test_calls_per_job.py compares with it. A busy machine changes times and hardly this number: counted several times it
differed by 0.5 % at most. Two processes run, one with more jobs than the other; both start and stop, so the difference
is what the jobs cost. Each runs several times, and the least counts: what a very busy machine adds (up to 14 % were
measured) is what happens from time to time, and there is never less of it than none. Everything is real but the
target, a small server in threads of the caller. There is one worker, and groups do not depend on time (`counting`). It
is for comparing with itself only.
"""

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Final

import attrs

from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from tests.support.answering import AnsweringServer
from tests.support.process import started
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.wait import until

COMMITTED: Final = Path(__file__).with_name("calls_per_job.json")
_FEW, _MANY = 300, 1300
_TIMES = 3
_SEED = 1


@attrs.frozen
class Calls:
    """`own`: made or received by restbroker's code; `all`: these and those of the libraries."""

    own: float
    all: float


def committed() -> Calls:
    """What was written down last."""
    return Calls(**json.loads(COMMITTED.read_text(encoding="ascii")))


def measured(redis: RedisServer, directory: Path) -> Calls:
    """What a job costs now; the queue `rest` must be empty."""
    few, many = _least(redis, directory, _FEW), _least(redis, directory, _MANY)
    jobs = _MANY - _FEW
    return Calls(own=round((many.own - few.own) / jobs, 1), all=round((many.all - few.all) / jobs, 1))


def _least(redis: RedisServer, directory: Path, jobs: int) -> Calls:
    found = [_calls(redis, directory, jobs) for _ in range(_TIMES)]
    return Calls(own=min(one.own for one in found), all=min(one.all for one in found))


def _calls(redis: RedisServer, directory: Path, jobs: int) -> Calls:
    """All calls of one process that serves so many jobs."""
    client = open_client(StoreSettings(redis.url))
    chance = random.Random(_SEED)
    queues.push(client, "rest", [_payload(number, chance) for number in range(jobs)])
    client.close()
    counted = directory / f"{jobs}.calls"
    counting = (sys.executable, "-m", "tests.bench.counting", str(counted), "run", "--config", "env.json")
    with AnsweringServer() as server:
        _configure(directory, redis, server.port)
        with started([], directory=directory, command=counting, environ={"PYTHONHASHSEED": "0"}) as running:
            until(lambda: len(server.arrivals) == jobs, "all jobs are delivered", 60)
            assert running.stop() == 0, running.output()
    own, every = counted.read_text(encoding="ascii").split()
    return Calls(int(own), int(every))


def _payload(number: int, chance: random.Random) -> bytes:
    arguments = {"user": f"user{number}", "host": "example.org", "status": "away", "priority": 1}
    job = {
        "class": "Add",
        "args": ["set_presence", arguments, "t"],
        "jid": f"{chance.getrandbits(96):024x}",
        "queue": "rest",
        "retry": True,
        "created_at": 1_795_190_233.512,
        "enqueued_at": 1_795_190_233.512,
    }
    return json.dumps(job).encode()


def _configure(directory: Path, redis: RedisServer, port: int) -> None:
    document = {
        "RedisURL": redis.url,
        "RestURL": f"http://127.0.0.1:{port}/api",
        "RestUser": "admin@example.org",
        "RestPass": "p",
        "JabberDomain": "example.org",
        "RestQueue": "rest",
        "Token": "t",
        "Concurrency": 1,
    }
    (directory / "env.json").write_text(json.dumps(document), encoding="ascii")


def main() -> None:
    """Measures and writes it down."""
    with tempfile.TemporaryDirectory() as directory:
        server = RedisServer(redis_binary(), Path(directory)).start()
        try:
            now = measured(server, Path(directory))
        finally:
            server.close()
    sys.stdout.write(f"calls of a job: {committed() if COMMITTED.exists() else 'unknown'} → {now}\n")
    COMMITTED.write_text(json.dumps(attrs.asdict(now)) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
