"""One `restbroker run` with several targets, and a server of threads behind each that lives. For fault tests.

Always holds: a job's number is its `user`, so that servers, Redis and the test speak of the same job.
"""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from restbroker.store import queues
from restbroker.store.client import Client, integer
from tests.support import unfinished_jobs
from tests.support.answering import AnsweringServer
from tests.support.shared import TOKEN
from tests.support.wait import CRASHED_S, until


def target(port: int, queue: str, **more: object) -> dict[str, object]:
    return {"Kind": "ejabberd", "URL": f"http://127.0.0.1:{port}/api", "Queues": [queue], **more}


@attrs.frozen
class Several:
    """The configuration file of a broker, and the Redis that it works on."""

    path: Path
    redis_url: str
    client: Client

    @property
    def command(self) -> list[str]:
        return ["run", "--config", str(self.path)]

    def configure(self, targets: Mapping[str, Mapping[str, object]], **more: object) -> None:
        document = {"RedisURL": self.redis_url, "Token": TOKEN, "Targets": targets, **more}
        self.path.write_text(json.dumps(document))

    def push(self, queue: str, numbers: Sequence[int], command: str = "check_account") -> None:
        """Pushes a job for each number; returns when Redis has them."""
        queues.push(self.client, queue, [_payload(queue, number, command) for number in numbers])

    def unfinished(self) -> Counter[str]:
        """Where jobs are that are not done, the given up ones too; nothing that is empty."""
        found = unfinished_jobs.count(self.client)
        # Nothing leaves this one, so a job that moved there meanwhile is seen twice at most.
        found["dead"] = integer(self.client.command("ZCARD", "dead"))
        return +found

    def wait_until_finished(self, timeout_s: float = CRASHED_S) -> None:
        until(lambda: not self.unfinished(), "every job is done", timeout_s)


def times_done(*servers: AnsweringServer) -> Counter[int]:
    return Counter(_number(arrival.arguments) for server in servers for arrival in list(server.arrivals))


def _number(arguments: Mapping[str, Any]) -> int:
    return int(arguments["user"].removeprefix("user"))


def _payload(queue: str, number: int, command: str) -> bytes:
    args = [command, {"user": f"user{number}", "host": "example.org"}, TOKEN]
    fields = {"class": "Add", "args": args, "jid": f"jid{number}", "queue": queue, "retry": True}
    return json.dumps({**fields, "created_at": time.time()}).encode()
