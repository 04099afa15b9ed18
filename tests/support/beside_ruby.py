"""restbroker and Ruby's Sidekiq on one Redis (and namespace), each with queues of its own. For tests of tests/sidekiq/.

Always holds: a job's jid is its `user` argument too, so that the server, Redis and the test speak of the same job; how
often it fails first is in its arguments, and the server obeys.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from restbroker.job import rubyjson
from restbroker.job.json_types import Json
from restbroker.store import paging, queues
from restbroker.store.client import Client, StoreSettings, items, open_client, raw
from restbroker.store.keys import SortedSet
from tests.support import process, unfinished_jobs
from tests.support.answering import AnsweringServer, Arrival
from tests.support.process import Running
from tests.support.shared import FAST_RETRIES, TOKEN
from tests.support.sidekiq_process import SidekiqProcess, sidekiq_process
from tests.support.wait import CRASHED_S, until

TOKENS: Final[dict[str, object]] = {"Token": None, "Tokens": {"app": {"Secret": TOKEN}}}
"""With these a signature takes the token's place in a job that failed; it must survive what Ruby makes of the job."""
REFUSED: Final = -1
"""As a number of failures: refused for good."""


def ours(jid: str, queue: str, failures: int = 0, *, retry: Json = True, **more: Json) -> bytes:
    """A job of restbroker that fails so often first, as Ruby writes it; `more` are arguments of its command."""
    arguments: dict[str, Json] = {"user": jid, "host": "example.org", "failures": failures, **more}
    return _payload("Add", ["check_account", arguments, TOKEN], jid, queue, retry)


def rubys(jid: str, queue: str, failures: int = 0, *, retry: Json = True, takes_s: float = 0.0) -> bytes:
    """A job of the Ruby process that fails so often first."""
    return _payload("Errand", [{"failures": failures, "takes_s": takes_s}], jid, queue, retry)


def _payload(kind: str, args: list[Json], jid: str, queue: str, retry: Json) -> bytes:
    now_s = time.time()
    fields: dict[str, Json] = {"retry": retry, "queue": queue, "class": kind, "args": args, "jid": jid}
    return rubyjson.dumps({**fields, "created_at": now_s, "enqueued_at": now_s})


@attrs.define(eq=False)
class ObedientServer:
    """What a target answers: fails each job as often as its arguments say. `arrivals` has everything that came."""

    http: AnsweringServer = attrs.field(init=False)
    _came: Counter[str] = attrs.field(factory=Counter, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self.http = AnsweringServer(self._act)

    def executions(self) -> Counter[str]:
        return Counter(arrival.arguments["user"] for arrival in list(self.http.arrivals))

    def _act(self, arrival: Arrival) -> int:
        time.sleep(arrival.arguments.get("takes_s", 0))
        who = arrival.arguments.get("user", arrival.command)
        with self._lock:
            self._came[who] += 1
            came = self._came[who]
        failures = arrival.arguments.get("failures", 0)
        return 400 if failures == REFUSED else 500 if came <= failures else 200


@attrs.define(eq=False)
class Beside:
    """`directory` has env.json and what the processes print. Those that live at the end are killed."""

    directory: Path
    redis_url: str
    namespace: str
    client: Client
    server: ObedientServer
    stack: ExitStack

    @property
    def witness(self) -> Path:
        return self.directory / "witness"

    def configure(self, *served: str, **keys: object) -> None:
        """Writes env.json for the queues that restbroker serves; `keys` are added to it."""
        url = f"http://127.0.0.1:{self.server.http.port}/api"
        targets = {"ejabberd": {"Kind": "ejabberd", "URL": url, "Queues": list(served)}}
        document = {"RedisURL": self.redis_url, "RedisNamespace": self.namespace, "Token": TOKEN, "Targets": targets}
        (self.directory / "env.json").write_text(json.dumps({**document, "Backoff": FAST_RETRIES, **keys}))

    def broker(self) -> Running:
        command = ["run", "--config", str(self.directory / "env.json")]
        running = self.stack.enter_context(process.started(command, directory=self.directory))
        running.wait_for(r"broker\.started")
        return running

    def ruby(self, *served: str, poll_s: float = 1.0) -> SidekiqProcess:
        neighbour = sidekiq_process(
            self.client, self.redis_url, self.directory, *served, poll_s=poll_s, namespace=self.namespace
        )
        return self.stack.enter_context(neighbour)

    def push(self, queue: str, *payloads: bytes) -> None:
        queues.push(self.client, queue, payloads)

    def schedule(self, payload: bytes, in_s: float) -> None:
        """Puts a job into the schedule set as Ruby's client does: a scheduled one was not enqueued yet."""
        fields = rubyjson.loads(payload)
        assert isinstance(fields, dict)
        later = {name: value for name, value in fields.items() if name != "enqueued_at"}
        assert queues.schedule(self.client, rubyjson.dumps(later), time.time() + in_s)

    def members(self, zset: SortedSet) -> list[dict[str, Any]]:
        found = paging.piece(self.client, zset, None, 100_000, newest_first=False).members
        return [json.loads(member) for member, _ in found]

    def queued(self, queue: str) -> list[bytes]:
        return queues.peek(self.client, queue, 0, 100_000)

    def number(self, key: str) -> int:
        """A counter, 0 if there is none; `key` without the namespace."""
        found = self.client.command("GET", self._key(key))
        return 0 if found is None else int(raw(found))

    def per_day(self, counter: str) -> int:
        """The sum of a counter's days: a test may run over midnight."""
        keys = items(self.client.command("KEYS", self._key(f"{counter}:*")))
        return sum(int(raw(self.client.command("GET", raw(key)))) for key in keys)

    def in_progress(self) -> int:
        """How many jobs of restbroker's processes are in progress."""
        return self.unfinished()[unfinished_jobs.IN_PROGRESS]

    def unfinished(self) -> Counter[str]:
        """Where jobs are that are neither done nor dead, those that Ruby runs excepted; nothing that is empty."""
        return unfinished_jobs.count(self.client)

    def wait_until_finished(self, timeout_s: float = CRASHED_S) -> None:
        """Returns when every job is done or dead, or was lost by Ruby."""
        until(lambda: not self.unfinished(), "every job is done or dead", timeout_s)

    def _key(self, name: str) -> str:
        return f"{self.namespace}:{name}" if self.namespace else name


@contextmanager
def beside_ruby(directory: Path, redis_url: str, namespace: str = "") -> Iterator[Beside]:
    """A database (or namespace) to share, and a server that restbroker delivers to; nothing else runs yet."""
    directory.mkdir(parents=True, exist_ok=True)
    client, server = open_client(StoreSettings(redis_url, namespace)), ObedientServer()
    with ExitStack() as stack:
        stack.callback(client.close)
        stack.enter_context(server.http)
        yield Beside(directory, redis_url, namespace, client, server, stack)


def check(one: Beside) -> dict[str, dict[str, Any]]:
    """What `restbroker check --json` finds, by code."""
    done = process.run_here(["check", "--json", "--config", str(one.directory / "env.json")], directory=one.directory)
    return {found["code"]: found for found in json.loads(done.stdout)["findings"]}
