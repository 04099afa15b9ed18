"""What is measured: how jobs get into each candidate's queue, and how its worker is started.

Always holds: each is one process with the connections that are asked for, sends the same request with the same login,
and keeps its connections.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from dev.benchmarks.surroundings import LOGIN, SERVERS, Surroundings

WORKERS: Final = Path(__file__).with_name("workers")
PYTHON: Final = str(Path(sys.prefix, "bench", "bin", "python"))
"""It has Celery, in an environment of its own."""
TOKEN: Final = "bench"  # noqa: S105 - opens nothing
OURS, REPLY = "restbroker", "restbroker, a reply a job"


@attrs.frozen
class Load:
    """What is to be done. `rate`: in jobs/s, 0 for a full queue of so many. `waiting`: as many more stay behind.

    `keys` and `target` are more keys of env.json and of each target; `users`: how many the jobs are for, in turn.
    `command` and `body`: other ones than the server's.
    """

    jobs: int
    rate: int = 0
    server: str = "ejabberd"
    connections: int = 20
    waiting: int = 0
    users: int = 1
    targets: int = 1
    processes: int = 1
    text_bytes: int = 0
    command: str = ""
    body: Mapping[str, object] = attrs.field(factory=dict)
    keys: Mapping[str, object] = attrs.field(factory=dict)
    target: Mapping[str, object] = attrs.field(factory=dict)

    @property
    def queues(self) -> Sequence[str]:
        """One for each target."""
        return [f"rest{number}" for number in range(self.targets)]

    def arguments(self) -> dict[str, object]:
        """Return a job's arguments; the producer fills in the number of the user and the moment."""
        known = dict(self.body or SERVERS[self.server].arguments)
        if "user" in known and self.users > 1:
            known["user"] = "john@KEY@"
        if "status" in known:
            # Only ejabberd's command has room for more.
            known |= {"n": "@NOW@", **({"status": "x" * self.text_bytes} if self.text_bytes else {})}
        return known


@attrs.frozen
class Bench:
    """Where a candidate runs. `original`: the Go program, "" for none.

    `executable`: an installed restbroker, which alone is known of it; "" for this tree's.
    """

    around: Surroundings
    load: Load
    original: str = ""
    executable: str = ""

    @property
    def program(self) -> Sequence[str]:
        """The words with which a command of restbroker begins."""
        return [self.executable] if self.executable else [sys.executable, "-m", "restbroker"]

    @property
    def environment(self) -> dict[str, str]:
        """What the files in `workers` read."""
        return {
            "BENCH_REDIS": self.around.redis_url,
            "BENCH_TARGET": self.around.url(self.load.server),
            "BENCH_CONCURRENCY": str(self.load.connections),
            "NODE_ENV": "production",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(WORKERS), self.python_path))),
        }

    @property
    def python_path(self) -> str:
        """This process' own, which may name a restbroker that is not the tree's; none beside an installed one."""
        return "" if self.executable else os.environ.get("PYTHONPATH", "")


Words = Sequence[str]


@attrs.frozen
class Peer:
    """`jobs`: as many as take it some seconds. `produce` says what fills its queue, `command` what works on it."""

    name: str
    jobs: int
    produce: Callable[[Bench, Load], Words]
    command: Callable[[Bench], Words]


def _push(*more: object, **members: str) -> Callable[[Bench, Load], Words]:
    """Push jobs as Sidekiq's client does, with these elements behind command and arguments."""

    def words(bench: Bench, load: Load) -> Words:
        args = [load.command or SERVERS[load.server].command, load.arguments(), *more]
        job = {"class": "Add", "args": args, "jid": "@JID@", "queue": "@QUEUE@", "retry": True}
        text = json.dumps({**job, "created_at": 1_795_190_233.512, "enqueued_at": 1_795_190_233.512, **members})
        queues = [members["queue"]] if "queue" in members else load.queues
        numbers = [str(load.jobs + load.waiting), str(load.rate), ",".join(queues), str(load.users)]
        return [sys.executable, "-m", "dev.benchmarks.producer", bench.around.redis_url, *numbers, text]

    return words


def _script(*words: str) -> Callable[[Bench, Load], Words]:
    return lambda _bench, load: [*words, str(load.jobs), str(load.rate)]


def restbroker(bench: Bench) -> Words:
    """Write the configuration, and return the command of the broker."""
    load = bench.load
    target = {**bench.around.target(load.server), "Concurrency": max(1, load.connections // load.targets)}
    document: dict[str, Any] = {
        "RedisURL": bench.around.redis_url,
        "Token": TOKEN,
        "LogLevel": "warning",
        "ResponseQueue": "replies",
        "Targets": {f"target-{queue}": {**target, **load.target, "Queues": [queue]} for queue in load.queues},
        **load.keys,
    }
    path = bench.around.directory / "env.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    grouped = ["--processes", str(load.processes)] if load.processes > 1 else []
    return [*bench.program, "run", "--config", str(path), *grouped]


def _original(bench: Bench) -> Words:
    document = {
        "RedisHost": bench.around.redis_url.split("/")[2],
        "RedisPoolCount": bench.load.connections + 10,
        "ProcessID": "1",
        "RestURL": bench.around.url(bench.load.server),
        "RestUser": LOGIN["User"],
        "RestPass": LOGIN["Pass"],
        "RestQueue": "rest0",
        "ResponseQueue": "replies",
        "Token": TOKEN,
        "MaxIdleConnections": bench.load.connections,
        "RequestTimeout": 10,
        # As it is spelt there.
        "Concurreny": bench.load.connections,
    }
    folder = bench.around.directory / "original"
    folder.mkdir(exist_ok=True)
    (folder / "env.json").write_text(json.dumps(document), encoding="utf-8")
    return ["env", "--chdir", str(folder), bench.original]


def _original_push(bench: Bench, load: Load) -> Words:
    """Push jobs as it takes them: arguments as text alone, and a fourth element."""
    *words, text = _push(TOKEN, "")(bench, load)
    job = json.loads(text)
    job["args"][1] = json.dumps(job["args"][1])
    return [*words, json.dumps(job)]


def _pipeline(bench: Bench) -> Words:
    """Build it with Debian's Go and its library of Redis."""
    program = bench.around.directory / "pipeline"
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": f"{program}.cache"}
    if not program.exists():
        subprocess.run(["go", "build", "-o", program, WORKERS / "pipeline.go"], check=True, env=environment)
    return ["env", "GOMAXPROCS=1", str(program)]


def _sidekiq(bench: Bench) -> Words:
    return ["sidekiq", "-r", "./sidekiq_worker.rb", "-c", str(bench.load.connections), "-e", "production"]


def _celery(bench: Bench) -> Words:
    threads = ["--pool", "threads", "-c", str(bench.load.connections), "--loglevel", "WARNING"]
    return [PYTHON, "-m", "celery", "-A", "celery_worker", "worker", *threads]


BULLMQ, SIDEKIQ, ORIGINAL, PIPELINE = "BullMQ", "Sidekiq", "the Go original", "a Go pipeline"
PEERS: Final[Sequence[Peer]] = (
    Peer(OURS, 40_000, _push(TOKEN), restbroker),
    Peer(REPLY, 40_000, _push(TOKEN, "reply-@JID@"), restbroker),
    Peer(PIPELINE, 40_000, _push(TOKEN), _pipeline),
    Peer(BULLMQ, 40_000, _script("node", "bullmq_worker.mjs"), lambda _bench: ["node", "bullmq_worker.mjs"]),
    Peer(ORIGINAL, 20_000, _original_push, _original),
    Peer(SIDEKIQ, 5_000, _push(**{"class": "Call", "queue": "default"}), _sidekiq),
    Peer("Celery", 2_000, _script(PYTHON, "celery_worker.py"), _celery),
)
_TRACE: Final = "00-@JID@00000000-00f067aa0ba902b7-01"
TRACED: Final = attrs.evolve(PEERS[0], name=f"{OURS}, a trace a job", produce=_push(TOKEN, traceparent=_TRACE))
ONE_BUSY: Final = attrs.evolve(PEERS[0], name=f"{OURS}, one busy queue", produce=_push(TOKEN, queue="rest0"))
