"""A broker that starts where a form that has gone still has jobs: it takes none, and says in which keys they are."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support import process
from tests.support.answering import AnsweringServer
from tests.support.redis_server import RedisServer
from tests.support.shared import TOKEN


@pytest.mark.promise("One key after the other", "jobs wait in a form that has gone: none is taken")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_start_beside_a_form_that_has_gone_takes_nothing(
    redis_server: RedisServer, tmp_path: Path, processes: int
) -> None:
    with AnsweringServer() as server, closing(redis.Redis(port=redis_server.port)) as opened:
        raw: Any = opened
        raw.hset("restbroker:fair:wait:one", "1000:a", "{}")
        targets = {
            name: {"Kind": "ejabberd", "URL": f"http://127.0.0.1:{server.port}/api", "Queues": [name]}
            for name in ("one", "two")
        }
        for name in targets:
            args = ["check_account", {"user": "ann", "host": "example.org"}, TOKEN]
            raw.lpush(f"queue:{name}", json.dumps({"class": "Add", "jid": name, "args": args}))
        before = {key: raw.dump(key) for key in raw.scan_iter()}
        (tmp_path / "env.json").write_text(
            json.dumps({"RedisURL": redis_server.url, "Token": TOKEN, "Targets": targets, "Processes": processes})
        )
        done = process.run(["run"], directory=tmp_path)
        assert "restbroker:fair:wait:one" in done.stderr
        assert (done.returncode, "UNLINK" in done.stderr, server.arrivals) == (1, True, [])
        assert {key: raw.dump(key) for key in before} == before
        checked = process.run(["check"], directory=tmp_path).stdout
        assert ("OlderForm" in checked, "restbroker:fair:wait:one" in checked) == (True, True)
