"""MongooseIM's event pusher posts to a process: each message is a job once, filtered and routed, or counted as lost."""

import re
from pathlib import Path
from typing import Any, Final

from restbroker.store.client import Client
from tests.events.conftest import QUEUE, events_in, written
from tests.events.test_process import url_of
from tests.support.mongooseim.push_http import HttpPusher
from tests.support.process import Running, run, started
from tests.support.redis_server import RedisServer
from tests.support.tcp_proxy import Loss, TcpProxy
from tests.support.wait import until

PATH: Final = "/events/mim"
SECRET: Final = "a-secret-of-many-letters"
TEXT: Final = "Hi, Bob! & Zo\xeb <3 100%\n \U0001f600"
# As MongooseIM 6.8 writes it, with both ways of writing a space.
WRITTEN: Final = b"Hi%2C+Bob%21%20%26%20Zo%C3%AB%20%3C3+100%25%0A%20%F0%9F%98%80"
# On a busy machine Redis may take its time.
PATIENT: Final = {"Patience": "20s"}


def configure(place: Path, redis_url: str, **more: Any) -> None:
    source = {"Kind": "mongooseim-webhook", "Path": PATH, "Options": PATIENT}
    written(place, redis_url, {"Listen": "127.0.0.1:0", "Sources": {"mim": source | more}})


def pusher(broker: Running, path: str = PATH) -> HttpPusher:
    return HttpPusher(int(url_of(broker).rpartition(":")[2]), path)


def test_post_of_the_pusher_is_a_job_once(redis_server: RedisServer, store: Client, tmp_path: Path) -> None:
    """The secret follows the path: the pusher can send no header. The same bytes within a second are one event."""
    configure(tmp_path, redis_server.url, Secret=SECRET)
    with started(["run"], directory=tmp_path) as broker:
        for path in (PATH, f"{PATH}/", f"{PATH}/{SECRET}x", f"{PATH}/{SECRET}/x", f"{PATH}x/{SECRET}"):
            with pusher(broker, path) as stranger:
                # It takes any status for a success.
                assert stranger.push("mallory", "localhost", "bob", "x")
        assert events_in(store) == []
        with pusher(broker, f"{PATH}/{SECRET}") as mim:
            for _ in range(3):
                assert mim.post(b"author=alice&server=localhost&receiver=bob&message=" + WRITTEN)
            mim.push("alice", "localhost", "bob", "Hello")
            event, other = events_in(store)
            assert (event["type"], event["from"], event["to"]) == ("message", "alice@localhost", "bob")
            assert (event["body"], event["server"], event["source"], event["id"]) == (TEXT, "localhost", "mim", None)
            assert event["raw"] == {"author": "alice", "server": "localhost", "receiver": "bob", "message": TEXT}
            assert other["body"] == "Hello"

            def came_again() -> bool:
                mim.push("alice", "localhost", "bob", "Hello")
                return len(events_in(store)) == 3

            until(came_again, "it is another message after a second")
        shown = run(["events", "tail", "--once", "--last", "5"], directory=tmp_path).stdout
        assert re.search(r"\tmim\tmessage\talice@localhost\tbob\t", shown)
        peeked = run(["queues", "peek", QUEUE], directory=tmp_path).stdout
        broker.wait_for("EventUnauthorized")
        assert broker.stop() == 0
    assert "Zo\xeb" not in shown + peeked + broker.output()
    assert SECRET not in broker.output()


def test_a_post_whose_answer_was_lost_is_one_job(redis_server: RedisServer, store: Client, tmp_path: Path) -> None:
    configure(tmp_path, redis_server.url, Options={**PATIENT, "Resend": "20s"})
    with started(["run"], directory=tmp_path) as broker:
        port = int(url_of(broker).rpartition(":")[2])
        with TcpProxy(port) as proxy, HttpPusher(proxy.port, PATH) as mim:
            proxy.losses.extend([Loss(b"author=alice")] * 3)
            assert not mim.push("alice", "localhost", "bob", "hello")
            assert proxy.losses == []
            assert mim.push("alice", "localhost", "bob", "hello")
        assert broker.stop() == 0
    assert len(events_in(store)) == 1
