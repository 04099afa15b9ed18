"""Everyone that is measured: how jobs are put into its queue, and how it works on them. `benchmarks.drain` uses both.

Always holds: each candidate is one process of its own kind with the concurrency that is asked for, sends the same
request with the same login, and keeps its connections where its users would.
"""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import attrs

from benchmarks.surroundings import Surroundings

WORKERS = Path(__file__).with_name("workers")
COMMAND: Final = "set_presence"
ARGUMENTS: Final = {"user": "john", "host": "example.org", "status": "hello " * 20, "n": 1}
TOKEN: Final = "bench"  # noqa: S105 — opens nothing


@attrs.frozen
class Bench:
    """What a candidate is started with.

    `peers_python` is an interpreter that has the Python peers, `original` the Go program if there is one.
    """

    around: Surroundings
    concurrency: int
    peers_python: str
    path: str = "api"
    original: str = ""

    @property
    def target_url(self) -> str:
        """Where commands are posted; the path decides how the stub answers."""
        return f"http://127.0.0.1:{self.around.stub_port}/{self.path}"

    @property
    def environment(self) -> dict[str, str]:
        """What the files in `workers` read."""
        return {
            "BENCH_REDIS": self.around.redis_url,
            "BENCH_TARGET": self.target_url,
            "BENCH_CONCURRENCY": str(self.concurrency),
            "NODE_ENV": "production",
            # After them, as this process has it: a restbroker that is not the tree's own.
            "PYTHONPATH": os.pathsep.join(filter(None, (str(WORKERS), os.environ.get("PYTHONPATH")))),
        }


@attrs.frozen
class Peer:
    """`jobs`: as many as take it some seconds. `enqueue` puts so many jobs in; `command` starts the worker."""

    name: str
    jobs: int
    enqueue: Callable[[Bench, int], None]
    command: Callable[[Bench], Sequence[str]]
    note: str


def _script(*command: str) -> Callable[[Bench, int], None]:
    def enqueue(bench: Bench, count: int) -> None:
        words = [bench.peers_python if word == "python" else word for word in command]
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", **bench.environment}
        done = subprocess.run(
            [*words, str(count)], cwd=WORKERS, env=environment, check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} could not enqueue:\n{done.stderr[-2000:]}")

    return enqueue


def _python(*words: str) -> Callable[[Bench], Sequence[str]]:
    def command(bench: Bench) -> Sequence[str]:
        filled = [word.replace("CONCURRENCY", str(bench.concurrency)) for word in words]
        return [bench.peers_python, "-m", *filled]

    return command


def _push(*args: object, reply: bool = False) -> Callable[[Bench, int], None]:
    """Pushes jobs with these `args` as Sidekiq's client does; with `reply`, each asks for one."""

    def push(bench: Bench, count: int) -> None:
        line = bench.around.redis.pipeline(transaction=False)
        line.sadd("queues", "rest")
        for number in range(count):
            line.lpush("queue:rest", payload([*args, *([f"reply-{number}"] if reply else [])]))
            if number % 1000 == 999:
                line.execute()
        line.execute()

    return push


def _original(bench: Bench) -> Sequence[str]:
    directory = bench.around.directory / "original"
    directory.mkdir(exist_ok=True)
    document = {
        "RedisHost": f"127.0.0.1:{bench.around.redis_port}",
        "RedisPoolCount": bench.concurrency + 10,
        "ProcessID": "1",
        "RestURL": bench.target_url,
        "RestUser": "admin@example.org",
        "RestPass": "bench",
        "RestQueue": "rest",
        "ResponseQueue": "replies",
        "Token": TOKEN,
        "MaxIdleConnections": bench.concurrency,
        "RequestTimeout": 10,
        # As it is spelt there.
        "Concurreny": bench.concurrency,
    }
    (directory / "env.json").write_text(json.dumps(document))
    return ["env", "--chdir", str(directory), bench.original]


def payload(
    args: Sequence[object] = (COMMAND, ARGUMENTS, TOKEN), *, jid: str = "", queue: str = "rest", work: str = "Add"
) -> bytes:
    """One job of restbroker's, or of Sidekiq's."""
    job = {
        "class": work,
        "args": args,
        "jid": jid or secrets.token_hex(12),
        "queue": queue,
        "retry": True,
        "created_at": 1_795_190_233.512,
        "enqueued_at": 1_795_190_233.512,
    }
    return json.dumps(job).encode()


def restbroker(bench: Bench, **keys: object) -> Sequence[str]:
    """Writes the configuration, with these keys in it, and says how the broker is started."""
    path = bench.around.directory / "env.json"
    document = {
        "RedisURL": bench.around.redis_url,
        "RestURL": bench.target_url,
        "RestUser": "admin@example.org",
        "RestPass": "bench",
        "JabberDomain": "example.org",
        "RestQueue": "rest",
        "ResponseQueue": "replies",
        "Token": TOKEN,
        "Concurrency": bench.concurrency,
        "LogLevel": "warning",
        **keys,
    }
    path.write_text(json.dumps(document))
    return [sys.executable, "-m", "restbroker", "run", "--config", str(path)]


def _sidekiq(bench: Bench) -> Sequence[str]:
    return ["sidekiq", "-r", "./sidekiq_worker.rb", "-c", str(bench.concurrency), "-e", "production", "-q", "default"]


_PLAIN: Final = _push(COMMAND, ARGUMENTS, TOKEN)
ORIGINAL: Final = "ejabberd-restbroker (Go)"
PEERS: tuple[Peer, ...] = (
    Peer("restbroker", 40_000, _PLAIN, restbroker, "lean client"),
    Peer(
        "restbroker, a reply per job",
        40_000,
        _push(COMMAND, ARGUMENTS, TOKEN, reply=True),
        restbroker,
        "each pushes its result into a queue",
    ),
    Peer(
        "restbroker on httpx",
        4_000,
        _PLAIN,
        lambda bench: restbroker(bench, Engine="httpx"),
        "the same broker, Engine: httpx",
    ),
    Peer(
        "the pipeline on Trio + httpx",
        2_000,
        _PLAIN,
        # Of this environment: the one of the peers has neither.
        lambda _bench: [sys.executable, "httpx_pipeline.py"],
        "fetch in batches, workers, settle in batches; nothing else",
    ),
    Peer(
        "the pipeline on Trio + the lean client",
        20_000,
        _PLAIN,
        lambda _bench: [sys.executable, "lean_pipeline.py"],
        "the same with restbroker's own client",
    ),
    Peer(
        "the pipeline on asyncio + aiohttp",
        10_000,
        _PLAIN,
        lambda bench: [bench.peers_python, "aiohttp_pipeline.py"],
        "the same",
    ),
    Peer(
        "BullMQ + undici",
        40_000,
        _script("node", "bullmq_worker.mjs"),
        lambda _bench: ["node", "bullmq_worker.mjs"],
        "Node",
    ),
    Peer(
        ORIGINAL,
        20_000,
        # It takes arguments as text alone, and needs a fourth element.
        _push(COMMAND, json.dumps(ARGUMENTS), TOKEN, ""),
        _original,
        "what restbroker replaces; it loses what fails",
    ),
    Peer(
        "Sidekiq + Net::HTTP persistent",
        5_000,
        _script("ruby", "sidekiq_worker.rb"),
        _sidekiq,
        "Ruby, threads",
    ),
    Peer(
        "arq + aiohttp",
        3_000,
        _script("python", "arq_worker.py"),
        _python("arq", "arq_worker.WorkerSettings"),
        "asyncio; polls every 10 ms",
    ),
    Peer(
        "dramatiq + requests",
        3_000,
        _script("python", "dramatiq_worker.py"),
        _python("dramatiq", "dramatiq_worker", "--processes", "1", "--threads", "CONCURRENCY"),
        "threads",
    ),
    Peer(
        "Celery + requests",
        2_000,
        _script("python", "celery_worker.py"),
        _python(
            "celery", "-A", "celery_worker", "worker", "--pool", "threads", "-c", "CONCURRENCY", "--loglevel", "WARNING"
        ),
        "threads",
    ),
    Peer(
        "taskiq + aiohttp",
        5_000,
        _script("python", "taskiq_worker.py"),
        _python("taskiq", "worker", "taskiq_worker:broker", "--workers", "1", "--max-async-tasks", "CONCURRENCY"),
        "asyncio; acknowledges nothing (ListQueueBroker)",
    ),
    Peer(
        "SAQ + aiohttp",
        3_000,
        _script("python", "saq_worker.py"),
        _python("saq", "saq_worker.settings"),
        "asyncio",
    ),
    Peer(
        "RQ + requests",
        50,
        _script("python", "rq_worker.py"),
        lambda bench: [bench.peers_python, "-m", "rq.cli", "worker", "--url", bench.around.redis_url, "--quiet"],
        "one forked process per job, one job at a time",
    ),
)
