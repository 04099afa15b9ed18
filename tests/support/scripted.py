"""A broker as a Sidekiq process among others: a Redis, a server that does as each job says, `restbroker run` processes.

For the tests of tests/sidekiq/, whose fixture `citizen` gives one that `ready` made. Always holds: a job's number is in
its `user`, whose other letters say what the server does with it: `hangs` until released, `fails` with 500 or is
`refused` with 400 until mended; anything else succeeds at once.
"""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from restbroker.job.json_types import Json
from restbroker.store import queues
from restbroker.store.client import Client, StoreSettings, integer, items, mapping, names, open_client, raw
from tests.support import process, ruby, unfinished_jobs
from tests.support.answering import AnsweringServer, Arrival
from tests.support.process import Running
from tests.support.redis_server import RedisServer
from tests.support.shared import TOKEN
from tests.support.wait import NEVER_S, until

QUEUE: Final = "rest"
CONCURRENCY: Final = 10
RECORD_TTL_S: Final = 60
_LONGEST_HANG_S: Final = 600.0
"""All tests of a file may look at what hangs, and take their time on a busy machine."""


@attrs.frozen
class Script:
    """What the server does; call it with an arrival for the status to answer."""

    released: threading.Event = attrs.field(factory=threading.Event)
    mended: threading.Event = attrs.field(factory=threading.Event)

    def __call__(self, arrival: Arrival) -> int:
        user = str(arrival.arguments.get("user", ""))
        if user.startswith("hangs"):
            self.released.wait(_LONGEST_HANG_S)
        elif not self.mended.is_set():
            if user.startswith("fails"):
                return 500
            if user.startswith("refused"):
                return 400
        return 200


def jid_of(user: str) -> str:
    """The id of the job for a user: 24 hexadecimal digits, as Sidekiq makes them."""
    return user.encode().hex()[:24].rjust(24, "0")


def job(user: str, *, command: str = "check_account", queue: str = QUEUE, **more: Json) -> bytes:
    """A job as Ruby's client writes it; `more` are fields, `arguments` are added to those of the command."""
    extra = more.pop("arguments", {})
    assert isinstance(extra, dict)
    now_s = time.time()
    fields: dict[str, Json] = {
        "retry": True,
        "queue": queue,
        "class": "Add",
        "args": [command, {"user": user, "host": "example.org", **extra}, TOKEN],
        "jid": jid_of(user),
        "created_at": now_s,
        "enqueued_at": now_s,
    }
    return json.dumps({**fields, **more}, separators=(",", ":"), ensure_ascii=False).encode()


@attrs.define(eq=False)
class Citizen:
    """`brokers` are all processes started here, in order; those that live at the end are killed."""

    directory: Path
    redis: RedisServer
    client: Client
    server: AnsweringServer
    script: Script
    brokers: list[Running] = attrs.field(factory=list)
    stack: ExitStack = attrs.field(factory=ExitStack)

    @property
    def config(self) -> Path:
        return self.directory / "env.json"

    def configure(self, **keys: object) -> None:
        """Writes env.json; `keys` are added to it."""
        document = {
            "RedisURL": self.redis.url,
            "RestURL": f"http://127.0.0.1:{self.server.port}/api",
            "JabberDomain": "example.org",
            "RestQueue": QUEUE,
            "Token": TOKEN,
            "Concurrency": CONCURRENCY,
            "RequestTimeout": int(_LONGEST_HANG_S),
            **keys,
        }
        self.config.write_text(json.dumps(document))

    def start(self, *, patient: bool = False) -> Running:
        """Starts one more broker; returns when it takes jobs in.

        Its record is written every 0.2 s, and if `patient` every 5 s, as the product does.
        """
        command = (sys.executable, "-m", "restbroker" if patient else "tests.support.quick_record")
        arguments = ["run", "--config", str(self.config)]
        running = self.stack.enter_context(process.started(arguments, directory=self.directory, command=command))
        self.brokers.append(running)
        running.wait_for(r"broker\.started")
        running.wait_for(r"target\.found")
        return running

    def ask(self, script: str, /, **request: Any) -> Any:
        """What Ruby's Sidekiq answers on this Redis; `request` is JSON, see `tests.support.ruby`."""
        return ruby.ask(script, self.redis.url, **request)

    def restbroker(self, *arguments: str) -> str:
        """What another command of restbroker prints to stdout; fails if it fails."""
        done = process.run_here([*arguments, "--config", str(self.config)], directory=self.directory)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def push(self, *payloads: bytes, queue: str = QUEUE) -> None:
        queues.push(self.client, queue, payloads)

    def listed(self) -> list[str]:
        return sorted(names(self.client.command("SMEMBERS", "processes")))

    def identity(self, running: Running, timeout_s: float = NEVER_S) -> str:
        pid = str(running.process.pid)

        def found() -> list[str]:
            return [name for name in self.listed() if name.split(":")[-2:-1] == [pid]]

        return until(found, "the process is on Sidekiq's list", timeout_s)[0]

    def record(self, identity: str) -> dict[str, str]:
        """The fields of a process' record in Redis; empty if it has none."""
        return {name: value.decode() for name, value in mapping(self.client.command("HGETALL", identity)).items()}

    def wait_until_recorded(self, identity: str, field: str, value: str, timeout_s: float = NEVER_S) -> None:
        until(lambda: self.record(identity).get(field) == value, f"{field} is {value} in its record", timeout_s)

    def times_sent(self) -> Counter[str]:
        return Counter(str(arrival.arguments.get("user")) for arrival in list(self.server.arrivals))

    def wait_until_sent(self, count: int, timeout_s: float = NEVER_S) -> None:
        until(lambda: len(self.server.arrivals) >= count, f"{count} requests of jobs arrive", timeout_s)

    def members(self, zset: str) -> list[dict[str, Any]]:
        return [json.loads(raw(member)) for member in items(self.client.command("ZRANGE", zset, 0, -1))]

    def wait_until_in(self, zset: str, count: int, timeout_s: float = NEVER_S) -> None:
        until(lambda: self.size(zset) == count, f"{zset} has {count} jobs", timeout_s)

    def size(self, zset: str) -> int:
        return integer(self.client.command("ZCARD", zset))

    def queued(self, queue: str = QUEUE) -> int:
        return integer(self.client.command("LLEN", f"queue:{queue}"))

    def in_progress(self) -> int:
        """How many jobs are in progress of any broker, also of a dead one."""
        return self._unfinished()[unfinished_jobs.IN_PROGRESS]

    def wait_until_idle(self, timeout_s: float = NEVER_S) -> None:
        busy = {QUEUE, unfinished_jobs.IN_PROGRESS}
        until(lambda: not busy & self._unfinished().keys(), "no job is queued or in progress", timeout_s)

    def _unfinished(self) -> Counter[str]:
        return unfinished_jobs.count(self.client, [QUEUE])


@contextmanager
def ready(directory: Path, redis: RedisServer) -> Iterator[Citizen]:
    """Everything but a running broker: a server that does as each job says, and an env.json."""
    script = Script()
    with closing(open_client(StoreSettings(redis.url))) as client, AnsweringServer(act=script) as server:
        citizen = Citizen(directory, redis, client, server, script)
        citizen.configure()
        try:
            with citizen.stack:
                yield citizen
        finally:
            script.released.set()
