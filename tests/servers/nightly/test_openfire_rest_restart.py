"""Users are made through an Openfire that restarts in the middle, and loses answers: each is there, none is parked."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import attrs

from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.replies import integer
from tests.servers.openfire_rest import REST, named
from tests.support import census, process
from tests.support.player import Exchange, Player, recorded
from tests.support.receiver import Kind
from tests.support.shared import FAST_RETRIES
from tests.support.wait import until

JOBS: Final = 300
PASSWORD: Final = "s3cr3t-p4ssw0rd"
USERS: Final = [{"username": f"user{number}", "password": PASSWORD} for number in range(JOBS)]
FAILING: Final = range(10, 13)
"""Who is made with an answer of 500."""
STARTING: Final = range(200, 206)
"""Who comes while the server starts."""


def answers() -> Iterator[Exchange]:
    """What is said of each: at last that he is there."""
    failed, made, there = named("1.2.5", "create props obj", "create json", "create again")
    redirect, *_ = recorded("openfire-rest/1.2.5/starting")
    for number, user in enumerate(USERS):
        first = [failed] if number in FAILING else [redirect, made] if number in STARTING else [made]
        answer = there.answer.replace("alice", user["username"])
        body = f"<user><username>{user['username']}</username><password>{PASSWORD}</password></user>"
        yield from (attrs.evolve(one, body=body) for one in (*first, attrs.evolve(there, answer=answer)))
    yield from named("1.2.5", "stats")
    yield from recorded("openfire-rest/1.2.5/without_login")


def test_every_user_is_made_once_though_openfire_restarts_in_the_middle(tmp_path: Path, redis_url: str) -> None:
    with Player(list(answers())) as server, closing(open_client(StoreSettings(redis_url))) as client:
        config = tmp_path / "env.json"
        entry = {
            "Kind": "openfire-rest",
            "URL": server.url + REST,
            "Auth": {"Basic": {"User": "admin", "Pass": "secret"}},
            "Queues": ["openfire"],
            "RateLimit": "150/s",
        }
        config.write_text(
            json.dumps({"RedisURL": redis_url, "Token": "t", "Backoff": FAST_RETRIES, "Targets": {"fire": entry}})
        )
        jobs = [
            json.dumps({"class": "Add", "args": ["create_user", user, "t"], "jid": f"{number:024}", "retry": True})
            for number, user in enumerate(USERS)
        ]
        queues.push(client, "openfire", [job.encode() for job in jobs])
        server.faults.add(Kind.LOST, "POST */users", times=3)

        def done() -> int:
            return JOBS - census.unfinished(client, ["openfire"]).total()

        with process.started(["run", "--config", str(config)], directory=tmp_path) as broker:
            until(lambda: done() > JOBS // 10, "some are done", 60.0)
            before = done()
            server.stop()
            broker.wait_for(r"target\.down")
            server.start()
            until(lambda: done() == JOBS, "all are done", 120.0)
            told = broker.output()
        assert before < JOBS
        assert integer(client.command("ZCARD", "dead")) == 0, told
        made = "".join(one.body or "" for one in list(server.played) if one.status in (201, 500))
        assert sorted(re.findall("<username>(.*?)<", made)) == sorted(user["username"] for user in USERS)
        assert PASSWORD not in told
