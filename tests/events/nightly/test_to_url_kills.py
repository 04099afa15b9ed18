"""Events become requests while the broker is killed or the application away: what was answered 202 is delivered."""

import json
import os
import random
import threading
import time
from pathlib import Path
from typing import Final

import httpx

from restbroker.store.client import Client
from tests.events.test_to_url import configure, dead, listening, post, posts, source, target
from tests.support.ports import free_port
from tests.support.process import started
from tests.support.receiver import Answer, Received, Receiver
from tests.support.redis_server import RedisServer
from tests.support.wait import until

RATE_PER_S: Final = 300
LASTS_S: Final = float(os.environ.get("KILLS_S", "60"))
OUTAGE_S: Final = float(os.environ.get("OUTAGE_S", "60"))


def test_accepted_events_are_delivered_through_kills(redis_server: RedisServer, store: Client, tmp_path: Path) -> None:
    """Posted at a rate that is kept, each event once, not again: what got no 202 may be lost, or not."""
    port, came, accepted, chance = free_port(), set[int](), set[int](), random.Random(64)
    ended = threading.Event()

    def act(received: Received) -> Answer:
        if received.method == "POST":
            came.add(json.loads(received.body)["n"])
        return Answer()

    def post_all() -> None:
        began_s, number = time.monotonic(), 0
        with httpx.Client(trust_env=False, timeout=5) as client:
            while (now_s := time.monotonic() - began_s) < LASTS_S:
                if number > now_s * RATE_PER_S:
                    time.sleep(0.001)
                    continue
                number += 1
                try:
                    answer = client.post(f"http://127.0.0.1:{port}/in", json={"event": "e", "who": "a@b", "n": number})
                except httpx.HTTPError:
                    continue
                if answer.status_code == 202:
                    accepted.add(number)
        ended.set()

    with Receiver(act) as app:
        configure(tmp_path, redis_server, port, {"in": source()}, hook=target(app.url))
        poster = threading.Thread(target=post_all)
        while not ended.is_set():
            with started(["run"], directory=tmp_path) as broker:
                listening(broker)
                if poster.ident is None:
                    poster.start()
                ended.wait(chance.uniform(2.0, 6.0))
                broker.process.kill()
        poster.join()
        with started(["run"], directory=tmp_path) as broker:
            listening(broker)
            until(lambda: accepted <= came | {json.loads(job)["args"][1]["n"] for job in dead(store)}, "all came")
            assert broker.stop() == 0
    assert len(accepted) > 100


def test_each_event_of_an_outage_comes_once(redis_server: RedisServer, store: Client, tmp_path: Path) -> None:
    """From its first request on the application says 503, and the broker is killed and started again meanwhile."""
    port, done, away = free_port(), list[tuple[int, str]](), [True]

    def act(received: Received) -> Answer:
        if received.method != "POST":
            return Answer(503 if away[0] and posts(app) else 200)
        if not away[0]:
            done.append((json.loads(received.body)["n"], received.headers["idempotency-key"]))
        return Answer(503 if away[0] else 200)

    def post_seven(first: int) -> None:
        listening(broker)
        for number in range(first, first + 7):
            assert post(port, {"event": "e", "who": "ann@example.org", "n": number}) == 202

    with Receiver(act) as app:
        configure(tmp_path, redis_server, port, {"in": source()}, hook=target(app.url))
        with started(["run"], directory=tmp_path) as broker:
            post_seven(0)
            until(lambda: posts(app), "one was refused")
            back_s = time.monotonic() + OUTAGE_S
            broker.process.kill()
        with started(["run"], directory=tmp_path) as broker:
            post_seven(7)
            until(lambda: time.monotonic() > back_s, "the outage is over", 2 * OUTAGE_S)
            away[0] = False
            until(lambda: len(done) >= 14, "all came", 180)
            assert broker.stop() == 0
    assert sorted(number for number, _ in done) == [*range(14)]
    assert {(json.loads(post.body)["n"], post.headers["idempotency-key"]) for post in posts(app)} == set(done)
    assert dead(store) == []
