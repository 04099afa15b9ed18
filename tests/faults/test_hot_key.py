"""A key with very many jobs, whose first one fails for an hour, costs the jobs of other keys little time.

HOT_JOBS is the number of its jobs, and of those of the others (2,000).
"""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import attrs

from restbroker.store import order, queues
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.replies import raw
from tests.support import process
from tests.support.ports import free_port
from tests.support.redis_line import Tell
from tests.support.shared import TOKEN
from tests.support.wait import NEVER_S, until

JOBS = int(os.environ.get("HOT_JOBS", "2000"))
ROUNDS: Final = 4
MOST: Final = 1.2
A_CALL_LOOKS_AT: Final = 50
"""So many jobs of a key that is held up at least, on average."""
A_KEY_HAS: Final = 5
"""So many jobs of each other key."""
QUEUE, STAGED, TARGET = "rest", "staged", "t"

# A process of its own, and quicker than any broker: else it would be the server's time that both cases share.
SERVER: Final = """
import asyncio, sys

def answer(status, body):
    head = f"HTTP/1.1 {status} X\\r\\nContent-Type: application/json\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
    return head.encode() + body

DONE, FAILS = answer(200, b"0"), answer(500, b'"later"')
STATUS = answer(200, b'"The node n@h is started. Status: startedejabberd 23.01-1 is running in that node"')
COUNT = answer(200, b'{"num_sessions":0}')

class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.received = transport, b""

    def data_received(self, data):
        self.received += data
        while b"\\r\\n\\r\\n" in self.received:
            head, _, rest = self.received.partition(b"\\r\\n\\r\\n")
            lengths = [line[15:] for line in head.lower().split(b"\\r\\n") if line.startswith(b"content-length:")]
            length = int(lengths[0]) if lengths else 0
            if len(rest) < length:
                return
            body, self.received = rest[:length], rest[length:]
            path = head.split(b" ", 2)[1]
            known = {b"status": STATUS, b"connected_users_number": COUNT}.get(path.rpartition(b"/")[2])
            self.transport.write(known or (FAILS if b'"hot' in body else DONE))

async def main():
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", int(sys.argv[1]))
    print("up", flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


def job(user: str, number: int) -> bytes:
    args = ["check_account", {"user": user, "host": "example.org", "n": number}, TOKEN]
    fields = {"class": "Add", "args": args, "jid": f"{user}-{number}", "queue": QUEUE, "retry": True}
    # After so many tries the next one is days away.
    return json.dumps({**fields, "retry_count": 20, "created_at": time.time()}).encode()


def others(count: int) -> list[bytes]:
    return [job(f"u{number % (count // A_KEY_HAS)}", number) for number in range(count)]


@attrs.frozen
class Bed:
    """A broker that waits for jobs, and the Redis in which it counts them."""

    client: Client

    def counted(self, name: str) -> int:
        found = self.client.command("GET", f"stat:{name}")
        return 0 if found is None else int(raw(found))

    def has_waiting(self, key: str, count: int) -> bool:
        return self.waiting(key) == count

    def waiting(self, key: str) -> int:
        return order.waiting_of(self.client, [QUEUE], [key.encode()])[0]

    def took_s(self, jobs: list[bytes], *, count: int) -> float:
        """How long it takes until so many are done; all of them come at once."""
        before = self.counted("processed") - self.counted("failed")
        began_s = self.push(jobs)
        until(lambda: self.counted("processed") - self.counted("failed") - before >= count, "they are done")
        return time.monotonic() - began_s

    def calls_for(self, jobs: list[bytes]) -> int:
        """How many scripts Redis runs until it has looked at all of them, none of which may start."""
        before = self.scripts_run()
        self.push(jobs)
        until(lambda: not self.client.command("EXISTS", f"queue:{QUEUE}"), "all are looked at")
        return self.scripts_run() - before

    def scripts_run(self) -> int:
        told = re.search(rb"cmdstat_evalsha:calls=(\d+)", raw(self.client.command("INFO", "commandstats")))
        assert told is not None
        return int(told[1])

    def push(self, jobs: list[bytes]) -> float:
        """Has all of them come at once; returns since when."""
        for start in range(0, len(jobs), 500):
            queues.push(self.client, STAGED, jobs[start : start + 500])
        began_s = time.monotonic()
        self.client.command("RENAME", f"queue:{STAGED}", f"queue:{QUEUE}")
        return began_s


@contextmanager
def bed(directory: Path, redis_url: str) -> Iterator[Bed]:
    port = free_port()
    target = {"Kind": "ejabberd", "URL": f"http://127.0.0.1:{port}/api", "Queues": [QUEUE], "OrderBy": ["user"]}
    document = {"RedisURL": redis_url, "Token": TOKEN, "Targets": {TARGET: {**target, "Concurrency": 50}}}
    (directory / "env.json").write_text(json.dumps({**document, "LogLevel": "error"}))
    server = process.started([str(port)], directory=directory, command=[sys.executable, "-c", SERVER])
    with closing(open_client(StoreSettings(redis_url), NEVER_S)) as client, server as up:
        up.wait_for("up")
        run = ["run", "--config", str(directory / "env.json")]
        with process.started(run, directory=directory) as broker:
            here = Bed(client)
            here.took_s(others(200), count=200)
            yield here
            assert broker.stop() == 0
            assert "Traceback" not in broker.output()


def test_a_hot_key_whose_first_job_fails_for_an_hour_costs_the_others_little_time(
    tmp_path: Path, redis_url: str, tell: Tell
) -> None:
    with bed(tmp_path, redis_url) as here:
        # A busy machine may be quicker or slower a moment later: only times of one round are compared.
        for number in range(ROUNDS):
            without_s = here.took_s(others(JOBS), count=JOBS)
            hot = [job(f"hot{number}", place) for place in range(JOBS)]
            mixed = [one for both in zip(hot, others(JOBS), strict=True) for one in both]
            with_s = here.took_s(mixed, count=JOBS)
            until(partial(here.has_waiting, f"hot{number}", JOBS), "all of its jobs wait")
            assert here.counted("failed") == number + 1, "only its first job was tried, once"
            assert {one.state for page in order.read_keys(here.client, TARGET) for one in page} == {"due"}
            if with_s <= MOST * without_s:
                break
        tell(f"{JOBS} jobs of others: {without_s:.2f} s, {with_s:.2f} s beside as many of a key that is held up")
        assert with_s <= MOST * without_s
        # Counted and not timed: of few jobs, those that are looked at a few at a time cost little time, too.
        assert here.calls_for([job(f"hot{number}", JOBS + place) for place in range(JOBS)]) <= JOBS / A_CALL_LOOKS_AT
        assert here.client.command("EXISTS", "retry", "dead", f"queue:{QUEUE}") == 0
