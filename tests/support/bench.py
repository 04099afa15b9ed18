"""Everything a fault test breaks, set up together: a Redis, an ejabberd behind the counting proxy, broker processes.

Always holds: a job's jid is also its `traceparent`, which the broker passes on as a header; so the proxy, Redis and
the test speak of the same job, also for commands without arguments.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import attrs

from restbroker.store import queues
from restbroker.store.client import Client, integer, items, mapping, raw, text
from tests.support import process, unfinished_jobs
from tests.support.counting_proxy import CountingProxy
from tests.support.ejabberd import Ejabberd
from tests.support.process import Running
from tests.support.redis_server import RedisServer
from tests.support.shared import NO_JOB, TOKEN
from tests.support.wait import CRASHED_S, until

QUEUE: Final = "rest"
REPLIES: Final = "replies"
CONCURRENCY: Final = 20


def job_id(number: int) -> str:
    """The identity of a test's `number`-th job: a valid traceparent."""
    return f"00-{number + 1:032x}-{1:016x}-01"


def payload(number: int, command: str, reply_id: str | None = None, /, **arguments: object) -> bytes:
    args: list[object] = [command, arguments, TOKEN]
    jid = job_id(number)
    fields = {"class": "Add", "args": args if reply_id is None else [*args, reply_id], "jid": jid, "queue": QUEUE}
    return json.dumps({**fields, "retry": True, "created_at": time.time(), "traceparent": jid}).encode()


def headline(number: int) -> bytes:
    """A job that is not safe to repeat."""
    words = {"type": "headline", "from": "example.org", "to": "u@example.org", "subject": "", "body": str(number)}
    return payload(number, "send_message", **words)


@attrs.define(eq=False)
class Bench:
    """`brokers` are all processes started here, in order; those that live at the end are killed."""

    directory: Path
    redis: RedisServer
    client: Client
    ejabberd: Ejabberd
    proxy: CountingProxy
    brokers: list[Running] = attrs.field(factory=list)
    stack: ExitStack = attrs.field(factory=ExitStack)

    def configure(self, **keys: object) -> None:
        """Writes env.json; `keys` are added to it."""
        document = {
            "RedisURL": self.redis.url,
            "RestURL": f"http://127.0.0.1:{self.proxy.port}/api",
            "RestUser": self.ejabberd.admin,
            "RestPass": self.ejabberd.password,
            "JabberDomain": "example.org",
            "RestQueue": QUEUE,
            "ResponseQueue": REPLIES,
            "Token": TOKEN,
            "Concurrency": CONCURRENCY,
        }
        (self.directory / "env.json").write_text(json.dumps({**document, **keys}))

    def start(self, command: Sequence[str] = process.RESTBROKER) -> Running:
        """Starts one more broker and returns once it takes jobs in (the breaker may still be tripped)."""
        arguments = ["run", "--config", str(self.directory / "env.json")]
        running = self.stack.enter_context(process.started(arguments, directory=self.directory, command=command))
        self.brokers.append(running)
        running.wait_for(r"broker\.started")
        return running

    def revive_redis(self) -> None:
        """Starts the Redis that the test ended, on its data, and lets go of the old connection."""
        self.client.close()
        self.redis.start()

    def push(self, payloads: Sequence[bytes]) -> None:
        """Pushes jobs; returns when Redis has acknowledged all of them."""
        for start in range(0, len(payloads), 500):
            queues.push(self.client, QUEUE, payloads[start : start + 500])

    def queued(self) -> int:
        return integer(self.client.command("LLEN", f"queue:{QUEUE}"))

    def waiting(self) -> list[Any]:
        """The jobs in the queue, the next one first."""
        found = items(self.client.command("LRANGE", f"queue:{QUEUE}", 0, -1))
        return [json.loads(raw(job)) for job in reversed(found)]

    def replies(self) -> list[Any]:
        found = items(self.client.command("LRANGE", f"queue:{REPLIES}", 0, -1))
        return [json.loads(raw(reply))["args"] for reply in reversed(found)]

    def members(self, zset: str) -> list[Any]:
        return [json.loads(raw(member)) for member in items(self.client.command("ZRANGE", zset, 0, -1))]

    def in_progress(self) -> dict[str, list[str]]:
        """Per identity, the ids of its jobs in progress, as Redis lists them; identities without any are left out.

        Sorted: the order of a hash changes when Redis makes its table smaller or larger.
        """
        held: dict[str, list[str]] = {}
        for key in items(self.client.command("KEYS", "restbroker:ip:*")):
            fields = mapping(self.client.command("HGETALL", raw(key)))
            jobs = sorted(json.loads(value)["jid"] for name, value in fields.items() if name not in NO_JOB)
            if jobs:
                held[text(key).removeprefix("restbroker:ip:")] = jobs
        return held

    def held(self) -> int:
        return sum(len(jobs) for jobs in self.in_progress().values())

    def identities(self, broker: Running) -> list[str]:
        """The identities under which a broker beats: one, or none between two generations."""
        names = [text(name) for name in items(self.client.command("HKEYS", "restbroker:beats"))]
        return [name for name in names if f":{broker.process.pid}:" in name]

    def done(self) -> set[str]:
        """The jobs that the server did when they were last sent."""
        return {job for job, sent in self.proxy.of_jobs().items() if sent[-1].done}

    def places(self) -> Counter[str]:
        """In how many places of Redis each job is; a job that is nowhere is not listed. Only while nothing moves."""
        found = Counter(json.loads(raw(job))["jid"] for job in [*self._queue(), *self._lines()])
        for zset in ("retry", "schedule", "dead"):
            found.update(job["jid"] for job in self.members(zset))
        for jobs in self.in_progress().values():
            found.update(jobs)
        return found

    def unfinished(self) -> int:
        return unfinished_jobs.count(self.client, [QUEUE]).total()

    def wait_until_finished(self, timeout_s: float = CRASHED_S) -> None:
        until(lambda: self.unfinished() == 0, "every job is finished or dead", timeout_s)

    def wait_until_sent(self, count: int, timeout_s: float = 60.0) -> None:
        looked_at = found = 0

        def sent() -> bool:
            nonlocal looked_at, found
            fresh = self.proxy.exchanges[looked_at:]
            looked_at += len(fresh)
            found += sum(1 for exchange in fresh if exchange.job)
            return found >= count

        until(sent, f"{count} requests of jobs arrive", timeout_s)

    def _lines(self) -> list[Any]:
        lists = items(self.client.command("KEYS", f"restbroker:line:{QUEUE}\x1e*"))
        return [member for key in lists for member in items(self.client.command("LRANGE", raw(key), 0, -1))]

    def _queue(self) -> list[Any]:
        return items(self.client.command("LRANGE", f"queue:{QUEUE}", 0, -1))


def share_at_rest(pid: int, watched_s: float, most: float, look: Callable[[], object] = lambda: None) -> float:
    """What a process uses of a core once it is at rest, which it must come to: at most so much, over `watched_s`.

    It may have work to finish first, and on a busy machine that takes its time. A hot loop never rests.
    """

    def share() -> float:
        began_s, before_s = time.monotonic(), cpu_s(pid)
        while (watched := time.monotonic() - began_s) < watched_s:
            look()
            time.sleep(0.25)
        return (cpu_s(pid) - before_s) / watched

    return until(lambda: [found] if (found := share()) <= most else [], f"it uses {most:.0%} of a core at most")[0]


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
