"""Users are made through an Openfire that restarts in the middle, and loses answers: each is there, none is parked."""

import json
from contextlib import closing
from pathlib import Path

from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.replies import integer
from tests.support import census, process
from tests.support.openfire.faults import Kind
from tests.support.openfire.server import Openfire
from tests.support.shared import FAST_RETRIES
from tests.support.wait import until

JOBS = 300
PASSWORD = "s3cr3t-p4ssw0rd"


def test_every_user_is_made_once_though_openfire_restarts_in_the_middle(tmp_path: Path, redis_url: str) -> None:
    with Openfire(dialect="1.2") as server, closing(open_client(StoreSettings(redis_url))) as client:
        config = tmp_path / "env.json"
        entry = {
            "Kind": "openfire-rest",
            "URL": server.rest_url,
            "Auth": {"Basic": {"User": "admin", "Pass": "secret"}},
            "Queues": ["openfire"],
            "RateLimit": "150/s",
            "Options": {"Write": "json"},
        }
        config.write_text(
            json.dumps({"RedisURL": redis_url, "Token": "t", "Backoff": FAST_RETRIES, "Targets": {"fire": entry}})
        )
        given = [{"username": f"user{number}", "password": PASSWORD} for number in range(JOBS)]
        jobs = [
            json.dumps({"class": "Add", "args": ["create_user", user, "t"], "jid": f"{number:024}", "retry": True})
            for number, user in enumerate(given)
        ]
        queues.push(client, "openfire", [job.encode() for job in jobs])
        server.faults.add(Kind.LOST, "POST */users", times=3)
        server.faults.add(Kind.BROKEN, "POST */users", times=3)

        def done() -> int:
            return JOBS - census.unfinished(client, ["openfire"]).total()

        with process.started(["run", "--config", str(config)], directory=tmp_path) as broker:
            until(lambda: done() > JOBS // 10, "some are done", 60.0)
            before = done()
            server.starting_s = 0.5
            server.restart()
            until(lambda: done() == JOBS, "all are done", 120.0)
            told = broker.output()
        assert before < JOBS
        assert integer(client.command("ZCARD", "dead")) == 0, told
        assert {f"user{number}" for number in range(JOBS)} <= server.world.accounts.keys()
        assert PASSWORD not in told
