"""A key with very many jobs, whose first one fails for an hour, costs the jobs of other keys few calls of Redis.

HOT_JOBS is the number of its jobs, and of those of the others (2,000).
"""

import json
import os
import re
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from restbroker.store import order, queues
from restbroker.store.client import StoreSettings, open_client, raw
from tests.support import process
from tests.support.answering import AnsweringServer
from tests.support.redis_line import Report
from tests.support.several import target
from tests.support.shared import TOKEN
from tests.support.wait import NEVER_S, until

JOBS = int(os.environ.get("HOT_JOBS", "2000"))
A_CALL_LOOKS_AT: Final = 50
"""The least number of jobs of a key that is held up, on average."""
A_KEY_HAS: Final = 5
"""The number of jobs of each other key."""
QUEUE, STAGED, TARGET = "rest", "staged", "t"


def job(user: str, number: int) -> bytes:
    args = ["check_account", {"user": user, "host": "example.org", "n": number}, TOKEN]
    fields = {"class": "Add", "args": args, "jid": f"{user}-{number}", "queue": QUEUE, "retry": True}
    # After so many tries the next one is days away.
    return json.dumps({**fields, "retry_count": 20, "created_at": time.time()}).encode()


def test_hot_key_with_failing_first_job_costs_others_few_calls(tmp_path: Path, redis_url: str, report: Report) -> None:
    with (
        closing(open_client(StoreSettings(redis_url), NEVER_S)) as client,
        AnsweringServer(lambda arrival: 500 if arrival.arguments["user"] == "hot" else 200) as server,
    ):
        one = target(server.port, QUEUE, OrderBy=["user"], Concurrency=50)
        document = {"RedisURL": redis_url, "Token": TOKEN, "Targets": {TARGET: one}, "LogLevel": "error"}
        (tmp_path / "env.json").write_text(json.dumps(document))

        def counted(name: str) -> int:
            return int(raw(client.command("GET", f"stat:{name}") or b"0"))

        def scripts_run() -> int:
            found = re.search(rb"cmdstat_evalsha:calls=(\d+)", raw(client.command("INFO", "commandstats")))
            return int(found[1]) if found else 0

        def push(jobs: list[bytes]) -> None:
            """Has all of them come at once."""
            for start in range(0, len(jobs), 500):
                queues.push(client, STAGED, jobs[start : start + 500])
            client.command("RENAME", f"queue:{STAGED}", f"queue:{QUEUE}")

        run = ["run", "--config", str(tmp_path / "env.json")]
        with process.started(run, directory=tmp_path) as broker:
            until(lambda: client.command("HLEN", "restbroker:beats"), "it runs")
            others = [job(f"u{number % (JOBS // A_KEY_HAS)}", number) for number in range(JOBS)]
            push([raw for place in range(JOBS) for raw in (job("hot", place), others[place])])
            until(lambda: counted("processed") - counted("failed") == JOBS, "the others' are done")
            until(lambda: order.waiting_of(client, [QUEUE], [b"\x1ehot"]) == [JOBS], "all of its jobs wait")
            assert counted("failed") == 1, "only its first job was tried, once"
            assert {key.state for page in order.read_keys(client, TARGET, [QUEUE]) for key in page} == {"due"}
            before = scripts_run()
            push([job("hot", JOBS + place) for place in range(JOBS)])
            until(lambda: not client.command("EXISTS", f"queue:{QUEUE}"), "all are looked at")
            calls = scripts_run() - before
            assert broker.stop() == 0
        report(f"{JOBS} jobs of a key that is held up cost {calls} calls")
        assert calls <= JOBS / A_CALL_LOOKS_AT
        assert client.command("EXISTS", "retry", "dead", f"queue:{QUEUE}") == 0
        assert "Traceback" not in broker.output()
