"""Ten processes in turn are told to stop while they work through 24,000 jobs: the server gets each job once, exactly.

TERM_JOBS is the number of jobs.
"""

import json
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import pytest

from restbroker.store import queues
from restbroker.store.client import Client, StoreSettings, integer, open_client, raw
from tests.support import process, unfinished_jobs
from tests.support.receiver import Answer, Received, Receiver
from tests.support.redis_line import Report
from tests.support.shared import TOKEN
from tests.support.wait import NEVER_S, until

JOBS = int(os.environ.get("TERM_JOBS", "24000"))
TIMES: Final = 10
ANSWERS_AFTER_S: Final = 0.003  # long enough for all connections to be busy when the signal comes
RATE_PER_S: Final = 1500  # slow enough for most jobs to come while fetches stand
QUEUE, REPLIES = "rest", "replies"


@attrs.frozen
class Kind:
    """A server: its URL, a job of its, how its probes look, and what it answers."""

    path: str
    command: str
    arguments: Mapping[str, object]
    probe: bytes
    answer: bytes


KINDS: Final = {
    "ejabberd": Kind("/api", "set_presence", {"user": "john", "host": "example.org"}, b"^/api/status ", b"0"),
    "mongooseim": Kind(
        "/api/graphql",
        "stanza.sendMessage",
        {"from": "jane@example.org", "to": "john@example.org"},
        b"checkAuth",
        b'{"data":{"checkAuth":{"authStatus":"AUTHORIZED","authType":"ADMIN","domain":null},'
        b'"server":{"status":{"statusCode":"RUNNING","version":"6.8.0"}},"account":{"countUsers":5},'
        b'"stanza":{"sendMessage":{"id":"1795190233512000"}}}}',
    ),
}


def payload(kind: Kind, number: int) -> bytes:
    """Every third job asks for a reply."""
    text = "status" if kind.command == "set_presence" else "body"
    args: list[object] = [kind.command, {**kind.arguments, text: f"job-{number}."}, TOKEN]
    args += [f"reply-{number}"] * (number % 3 == 0)
    fields = {"class": "Add", "args": args, "jid": f"{number:024x}", "queue": QUEUE, "retry": True}
    return json.dumps({**fields, "created_at": time.time()}).encode()


def push(client: Client, jobs: list[bytes], together: int) -> None:
    """Pushes so many at once, then waits for as long as they take at the rate; all jobs: at once."""
    for start in range(0, len(jobs), together):
        queues.push(client, QUEUE, jobs[start : start + together])
        time.sleep(together / RATE_PER_S if together < len(jobs) else 0)


@pytest.mark.promise("At least once, and seldom more", "a process that is told to stop sends nothing twice")
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("together", [0, 1], ids=["at once", "one by one"])
def test_server_gets_each_job_once_whichever_process_stops(
    tmp_path: Path, redis_url: str, report: Report, name: str, together: int
) -> None:
    kind, came, others = KINDS[name], Counter[int](), list[bytes]()

    def answer(received: Received) -> Answer:
        if found := re.search(rb"job-(\d+)\.", received.body):
            came[int(found[1])] += 1
            time.sleep(ANSWERS_AFTER_S)
        else:
            others.append(received.target.encode() + b" " * bool(received.body) + received.body)
        return Answer(200, kind.answer, {"Content-Type": "application/json"})

    def has_sent(share: int) -> bool:
        return came.total() >= share

    with closing(open_client(StoreSettings(redis_url), NEVER_S)) as client, Receiver(answer) as server:
        url, login = f"http://127.0.0.1:{server.port}{kind.path}", {"User": "admin@example.org", "Pass": "s"}
        target: dict[str, object] = {"Queues": [QUEUE], "Concurrency": 20, "RequestTimeout": "60s"}
        target |= {"Kind": name, "URL": url, "Auth": {"Basic": login}, "Domain": "example.org"}
        document = {"RedisURL": redis_url, "Token": TOKEN, "ResponseQueue": REPLIES, "Targets": {"one": target}}
        (tmp_path / "env.json").write_text(json.dumps(document))
        jobs = [payload(kind, number) for number in range(JOBS)]
        pusher = threading.Thread(target=push, args=(client, jobs, together or JOBS))
        pusher.start()
        for turn in range(1, TIMES + 2):
            share = JOBS * turn // (TIMES + 1)
            with process.started(["run", "--config", str(tmp_path / "env.json")], directory=tmp_path) as broker:
                until(partial(has_sent, share), f"the share of process {turn} is sent")
                if turn > TIMES:
                    until(lambda: not unfinished_jobs.count(client, [QUEUE]), "every job is settled")
                assert broker.stop() == 0
        pusher.join()
        settled = integer(raw(client.command("GET", "stat:processed")))
        report(f"{name}: {came.total() + len(others)} requests, {settled} settled, {dict(Counter(others))}\n")
        assert came == Counter(range(JOBS))
        assert settled == JOBS
        assert [other for other in others if not re.search(kind.probe, other)] == []
        assert integer(client.command("LLEN", f"queue:{REPLIES}")) == len(range(0, JOBS, 3))
        assert client.command("EXISTS", "dead", "retry", f"queue:{QUEUE}") == 0
