"""Both ways at once: what restbroker has MongooseIM send does not come back as an event, what people write does."""

import json
from contextlib import closing
from pathlib import Path
from typing import Final

from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from tests.events.test_process import url_of
from tests.support.mongooseim.push_http import HttpPusher
from tests.support.mongooseim.server import MongooseIM
from tests.support.process import run, started
from tests.support.redis_server import RedisServer
from tests.support.wait import until

QUEUE: Final = "chat"


def configure(place: Path, redis: RedisServer, server: MongooseIM) -> None:
    target = {
        "Kind": "mongooseim",
        "URL": server.url,
        "Domain": "localhost",
        "Auth": {"Basic": {"User": server.user, "Pass": server.password}},
        "Queues": ["mim"],
    }
    source = {
        "Kind": "mongooseim-webhook",
        "Path": "/hook",
        "Queue": QUEUE,
        "Class": "ChatEvent",
        "DropOwn": "60s",
        "Options": {"Patience": "20s"},
    }
    events = {"Listen": "127.0.0.1:0", "Sources": {"push": source}}
    document = {"RedisURL": redis.url, "Token": "t", "Targets": {"main": target}, "Events": events, "LogLevel": "debug"}
    (place / "env.json").write_text(json.dumps(document))


def test_what_restbroker_sends_does_not_come_back_and_what_people_write_does(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with MongooseIM() as server, closing(open_client(StoreSettings(redis_server.url))) as store:
        for user in ("bot", "alice"):
            server.world.register(f"{user}@localhost")
        configure(tmp_path, redis_server, server)
        with started(["run"], directory=tmp_path) as broker:
            port = int(url_of(broker).rpartition(":")[2])
            with HttpPusher(port, "/hook", request_timeout_s=30.0) as pusher:
                server.world.told.append(pusher.told)
                words = ["stanza.sendMessage", "from=bot@localhost", "to=alice@localhost", "body=Hi, Alice!"]
                sent = run(["enqueue", *words, "--wait"], directory=tmp_path)
                assert sent.returncode == 0, sent.stderr
                # It was told of before the job was answered.
                assert (pusher.sent, pusher.failed) == (1, 0)
                broker.wait_for("event source=push outcome=own")
                pusher.push("alice", "localhost", "bot", "Hi, Bot!")
                jobs = until(lambda: queues.listed(store, QUEUE, 0, 10), "it is a job")
            assert broker.stop() == 0
    bodies = [json.loads(job)["args"][0]["body"] for job in jobs or []]
    assert bodies == ["Hi, Bot!"]
