"""Jobs for a Prosody that is killed in the middle: each ends as done, none is parked, none is lost."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.replies import integer
from tests.support import census, process
from tests.support.prosody import PASSWORD, Prosody
from tests.support.shared import FAST_RETRIES
from tests.support.wait import until

JOBS = 300


def test_every_question_is_answered_though_prosody_is_killed_in_the_middle(
    tmp_path: Path, redis_url: str, make_prosody: Callable[..., Prosody]
) -> None:
    server = make_prosody(modules=("rest",))
    server.register("john")
    config = tmp_path / "env.json"
    entry = {
        "Kind": "prosody-rest",
        "URL": server.rest_url,
        "Domain": server.host,
        "Auth": {"Basic": {"User": "john", "Pass": PASSWORD}},
        "Queues": ["prosody"],
        "Concurrency": 5,
        "RateLimit": "200/s",
    }
    config.write_text(
        json.dumps({"RedisURL": redis_url, "Token": "t", "Backoff": FAST_RETRIES, "Targets": {"chat": entry}})
    )
    jobs = [
        json.dumps({"class": "Add", "args": ["ping", {"to": server.host}, "t"], "jid": f"{number:024}", "retry": True})
        for number in range(JOBS)
    ]
    with closing(open_client(StoreSettings(redis_url))) as client:
        queues.push(client, "prosody", [job.encode() for job in jobs])

        def done() -> int:
            return JOBS - census.unfinished(client, ["prosody"]).total()

        with process.started(["run", "--config", str(config)], directory=tmp_path) as broker:
            until(lambda: done() > JOBS // 10, "some are done", 60.0)
            before = done()
            server.kill()
            server.start()
            until(lambda: done() == JOBS, "all are done", 120.0)
            assert before < JOBS
            assert integer(client.command("ZCARD", "dead")) == 0, broker.output()
