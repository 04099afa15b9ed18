"""What one job costs the broker, in calls of functions: `make count-calls` writes it down.

test_calls_per_job.py compares with it. A busy machine changes times and hardly this number: counted several times it
differed by 0.5 % at most. Two processes run, one with more jobs than the other; both start and stop, so the difference
is what the jobs cost. Each runs several times, and the least counts: what a very busy machine adds (up to 14 % were
measured) is what happens from time to time, and there is never less of it than none. Everything is real but the
target, a small server in threads of the caller, and groups do not depend on time (`counting`). It is for comparing with
itself only.

`ALONE` has one worker. In a `CROWD`, 200 workers share the few connections that a slow server lets be opened at once,
and that it closes again and again, so that many stand in line for one. That depends on time: counted several times it
differed by a tenth, and each beat adds what it takes to show 200 jobs in hand. A line in which each who is served wakes
the others took more than twice as many calls.
"""

import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import attrs

from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from tests.support.answering import AnsweringServer, Arrival
from tests.support.process import started
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.wait import until

_SEED = 1


@attrs.frozen
class Calls:
    """`own`: made or received by restbroker's code; `all`: these and those of the libraries."""

    own: float
    all: float


@attrs.frozen
class Load:
    """How many workers there are, and what the server does. `few` and `many` jobs are compared, each `times` over.

    `answers_each`: after so many answers a connection is closed; 0: never. `written` has what was written down last.
    """

    written: Path
    workers: int
    answers_after_s: float
    answers_each: int
    few: int
    many: int
    times: int

    def committed(self) -> Calls:
        """What was written down last."""
        return Calls(**json.loads(self.written.read_text(encoding="ascii")))


ALONE: Final = Load(Path(__file__).with_name("calls_per_job.json"), 1, 0.0, 0, 300, 1300, 3)
CROWD: Final = Load(Path(__file__).with_name("calls_in_a_crowd.json"), 200, 0.02, 2, 200, 1200, 2)


def measured(load: Load, redis: RedisServer, directory: Path) -> Calls:
    """What a job costs now; the queue `rest` must be empty."""
    few, many = (_least(load, redis, directory, jobs) for jobs in (load.few, load.many))
    jobs = load.many - load.few
    return Calls(own=round((many.own - few.own) / jobs, 1), all=round((many.all - few.all) / jobs, 1))


def _least(load: Load, redis: RedisServer, directory: Path, jobs: int) -> Calls:
    found = [_calls(load, redis, directory, jobs) for _ in range(load.times)]
    return Calls(own=min(one.own for one in found), all=min(one.all for one in found))


def _calls(load: Load, redis: RedisServer, directory: Path, jobs: int) -> Calls:
    """All calls of one process that serves so many jobs."""

    def answer(_arrival: Arrival) -> int:
        time.sleep(load.answers_after_s)
        return 200

    client = open_client(StoreSettings(redis.url))
    chance = random.Random(_SEED)
    queues.push(client, "rest", [_payload(number, chance) for number in range(jobs)])
    client.close()
    counted = directory / f"{jobs}.calls"
    counting = (sys.executable, "-m", "tests.bench.counting", str(counted), "run", "--config", "env.json")
    with AnsweringServer(answer, answers_each=load.answers_each) as server:
        _configure(directory, redis, server.port, load.workers)
        with started([], directory=directory, command=counting, environ={"PYTHONHASHSEED": "0"}) as running:
            until(lambda: len(server.arrivals) >= jobs, "all jobs are delivered", 60)
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


def _configure(directory: Path, redis: RedisServer, port: int, workers: int) -> None:
    document = {
        "RedisURL": redis.url,
        "RestURL": f"http://127.0.0.1:{port}/api",
        "RestUser": "admin@example.org",
        "RestPass": "p",
        "JabberDomain": "example.org",
        "RestQueue": "rest",
        "Token": "t",
        "Concurrency": workers,
    }
    (directory / "env.json").write_text(json.dumps(document), encoding="ascii")


def main() -> None:
    """Measures and writes it down."""
    with tempfile.TemporaryDirectory() as directory:
        server = RedisServer(redis_binary(), Path(directory)).start()
        try:
            for load in (ALONE, CROWD):
                now = measured(load, server, Path(directory))
                before = load.committed() if load.written.exists() else "unknown"
                sys.stdout.write(f"calls of a job, {load.workers} workers: {before} → {now}\n")
                load.written.write_text(json.dumps(attrs.asdict(now)) + "\n", encoding="ascii")
        finally:
            server.close()


if __name__ == "__main__":
    main()
