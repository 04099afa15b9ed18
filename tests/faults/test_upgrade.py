"""A broker that begins where the version before lists of groups left jobs takes none of them, and none beside them."""

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import redis

from restbroker.store.client import Client
from tests.store.test_older_form import TARGETS, load
from tests.support import process
from tests.support.answering import AnsweringServer
from tests.support.redis_server import RedisServer
from tests.support.shared import TOKEN
from tests.support.wait import until


def test_jobs_in_the_older_form_stay_until_they_are_drained(
    redis_server: RedisServer, client: Client, tmp_path: Path
) -> None:
    load(client, "waiting")
    with AnsweringServer() as server, closing(redis.Redis(port=redis_server.port)) as opened:
        raw: Any = opened
        older = [key for pattern in ("fair:*", "order:*", "ip:*") for key in raw.keys(f"restbroker:{pattern}")]
        before = {key: raw.dump(key) for key in older}
        url, targets = f"http://127.0.0.1:{server.port}/api", {}
        for name, (queue,) in TARGETS.items():
            order = {"FairBy": ["host"]} if name == "fair" else {"OrderBy": ["user"]}
            targets[name] = {"Kind": "ejabberd", "URL": url, "Queues": [queue], **order}
            args = ["check_account", {"user": "ann", "host": "example.org"}, TOKEN]
            raw.lpush(f"queue:{queue}", json.dumps({"class": "Add", "jid": queue, "args": args}))
        document = {"RedisURL": redis_server.url, "Token": TOKEN, "Targets": targets}
        (tmp_path / "env.json").write_text(json.dumps(document))
        with process.started(["run", "--config", str(tmp_path / "env.json")], directory=tmp_path) as broker:
            broker.wait_for("code=OlderForm", times=len(TARGETS))
            broker.wait_for(r"broker\.started")
            time.sleep(2.0)  # in which it would take them
            assert server.arrivals == []
            assert {key: raw.dump(key) for key in older} == before
            raw.delete(*older)
            raw.hdel("restbroker:beats", *(name for name in raw.hkeys("restbroker:beats") if b":308" in name))
            until(lambda: len(server.arrivals) == len(TARGETS), "drained, it takes what waits")
            assert broker.stop() == 0
