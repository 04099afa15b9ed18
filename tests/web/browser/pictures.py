"""Pictures of the pages for docs/images: `python -m tests.web.browser.pictures`. Runs no test.

A real broker works for two servers: `chat` answers as ejabberd does and refuses what some jobs ask for, `archive` is
down. The hours before, which nobody can wait for, are written into Redis as brokers write them.
"""

import base64
import json
import random
import secrets
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import attrs
import orjson

from restbroker.operate.history import ALL, MINUTE_S, TIMES, Seen
from restbroker.store import records
from restbroker.store.client import Client, items, raw
from tests.support.answering import Arrival
from tests.support.pictures import IMAGES, finish
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer, redis_binary
from tests.support.scripted import Citizen, ready
from tests.support.wait import until
from tests.web.browser.chromium import chromium
from tests.web.browser.stage import site_of
from tests.web.browser.visitor import Visitor, visiting

HOST: Final = "example.org"
HOURS: Final = 3
TOKEN: Final = "a token that is only for these pictures"
WAITING: Final = 12_000
ANSWER_S: Final = 0.03
SETTLED_S: Final = 70.0
"""After so long, processes know how fast their queues get shorter, and have forgotten how they were filled."""
LATELY: Final = 9
"""In so many minutes before now there came more jobs than could be done."""
OUTAGE: Final = range(88, 101)
"""When the server was down, in minutes before now."""
_MOST: Final = 2_600
"""The greatest number of jobs done in a minute."""
_NAMES: Final = ("aaron", "carol", "iris", "lena", "mina", "noor", "omar", "rosa")


@attrs.frozen
class Cause:
    """Why some jobs die: `jobs` of them, with these arguments, get this answer of the server; None: none at all."""

    jobs: int
    command: str
    arguments: Mapping[str, str]
    status: int | None
    words: str = ""
    token: str = TOKEN


CAUSES: Final = (
    Cause(214, "add_rosteritem", {"group": "Friends"}, 400, "Request have missing argument: nick"),
    Cause(61, "register", {"password": "never shown"}, 409, "User already registered"),
    Cause(12, "send_message", {"to": f"iris@{HOST}", "body": "Order 1206 is on its way"}, None),
    Cause(3, "send_message", {"to": f"omar@{HOST}"}, 200, token="the token of last year"),
)


WIDTH: Final = 1280
PAGES: Final = {"overview": "/", "dead": "/dead"}


def main() -> None:
    """Makes the pictures again."""
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(RedisServer(redis_binary(), Path(folder, "redis")).start()) as redis,
        ready(Path(folder), redis) as citizen,
        chromium(Path(folder, "chromium")) as driver,
    ):
        citizen.server.act, citizen.server.body = _status, _words
        _configure(citizen)
        _write_past(citizen.client)
        _push(citizen)
        broker = citizen.start(patient=True)
        _operate(citizen)
        with visiting(driver, site_of(broker)) as visitor:
            visitor.open("/")
            time.sleep(SETTLED_S)
            for page, path in PAGES.items():
                _take(visitor, path, IMAGES / f"web-{page}-light.png")


def _take(visitor: Visitor, path: str, picture: Path) -> None:
    visitor.prefer("light")
    visitor.resize(WIDTH)
    visitor.open(path)
    visitor.until(lambda: visitor.text("main") != "", "the page is there")
    # What loads behind is there as well: causes, the word `live`.
    time.sleep(2.5)
    height = min(visitor.driver.execute_script("return document.documentElement.scrollHeight"), 1600)
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": 1}
    data = visitor.cdp("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)["data"]
    picture.write_bytes(base64.b64decode(data))
    finish(picture)


def _configure(citizen: Citizen) -> None:
    chat: dict[str, Any] = {"Kind": "ejabberd", "Domain": HOST, "Concurrency": 20, "RateLimit": "45/s"}
    archive = {**chat, "URL": f"http://127.0.0.1:{free_port()}/api", "Queues": ["archive"]}
    citizen.config.write_text(
        json.dumps({
            "RedisURL": citizen.redis.url,
            "Token": TOKEN,
            "Targets": {
                "chat": {**chat, "URL": f"http://127.0.0.1:{citizen.server.port}/api", "Queues": ["rest"]},
                "archive": archive,
            },
            "UncertainRetries": 0, "History": "1h", "Stats": True, "StatsPort": 0,
        })
    )  # fmt: skip


def _write_past(client: Client) -> None:
    """Writes what pages saw in the hours before now: a wave, an outage, what had waited then, and much work of late."""
    now_s, chance = int(time.time()) // MINUTE_S * MINUTE_S, random.Random(1)
    totals, waiting = {"processed": 0, "failed": 0}, 0
    for back in range(HOURS * 60, 0, -1):
        pushed = _MOST + WAITING // LATELY if back <= LATELY else int(1_150 + 350 * chance.random())
        done = 0 if back in OUTAGE else min(waiting + pushed, _MOST)
        waiting += pushed - done
        totals = {"processed": totals["processed"] + done, "failed": totals["failed"] + done // 120}
        p50_ms = chance.uniform(34, 42) * (1 + waiting / 20_000) if done else None
        times = (
            dict.fromkeys(TIMES)
            if p50_ms is None
            else dict(zip(TIMES, (p50_ms, 2.1 * p50_ms, 3 * p50_ms), strict=True))
        )
        everywhere = {**totals, "retry": done // 300, "waiting": waiting, "in_progress": 20 if done else 0, **times}
        note = Seen({ALL: everywhere, "chat": {**totals, "of": 1, **times}}, {"chat": "down"} if back in OUTAGE else {})
        records.keep_minute(client, now_s - back * MINUTE_S, orjson.dumps(attrs.asdict(note)), 0)
    client.command("SET", client.keys.stat("processed"), totals["processed"])
    client.command("SET", client.keys.stat("failed"), totals["failed"])


def _push(citizen: Citizen) -> None:
    wrong = [(cause, number) for cause in CAUSES for number in range(cause.jobs)]
    random.Random(2).shuffle(wrong)
    hello = {"from": f"shop@{HOST}", "body": "Your order is on its way"}
    first = [_job(cause.command, number, cause.arguments, cause.token) for cause, number in wrong]
    citizen.push(*first, *(_job("send_message", number, hello) for number in range(WAITING)))
    citizen.push(*(_job("send_message", number, hello, queue="archive") for number in range(340)), queue="archive")


def _operate(citizen: Citizen) -> None:
    """Does what an operator does when jobs have died."""
    died = sum(cause.jobs for cause in CAUSES)
    until(lambda: citizen.client.command("ZCARD", "dead") == died, "all are dead", 120)
    citizen.restbroker("queues", "pause", "rest", "--why", "the server gets more memory", "--for", "1h")
    citizen.restbroker("queues", "resume", "rest", "--why", "done")
    _spread(citizen.client)


def _spread(client: Client) -> None:
    """Has the dead jobs die in the hours before now, more of late."""
    now_s, chance = time.time(), random.Random(3)
    for found in items(client.command("ZRANGE", "dead", 0, -1)):
        client.command("ZADD", "dead", now_s - HOURS * 3600 * chance.random() ** 3, raw(found))


def _job(command: str, number: int, more: Mapping[str, str], token: str = TOKEN, *, queue: str = "rest") -> bytes:
    user, now_s = f"{_NAMES[number % len(_NAMES)]}{number}", time.time()
    fields = {"class": "Add", "jid": secrets.token_hex(12), "queue": queue, "retry": True}
    args = [command, {"user": user, "host": HOST, **more}, token]
    return json.dumps({**fields, "args": args, "created_at": now_s, "enqueued_at": now_s}).encode()


def _cause(arrival: Arrival) -> Cause | None:
    same: Sequence[Cause] = [cause for cause in CAUSES if cause.command == arrival.command]
    return next((cause for cause in same if cause.arguments.items() <= arrival.arguments.items()), None)


def _status(arrival: Arrival) -> int:
    time.sleep(ANSWER_S)
    cause = _cause(arrival)
    if cause is not None and cause.status is None:
        raise ConnectionAbortedError("The server dies, and nobody knows what it did.")
    return 200 if cause is None or cause.status is None else cause.status


def _words(arrival: Arrival) -> bytes:
    cause = _cause(arrival)
    return b"0" if cause is None else json.dumps({"status": "error", "code": 32, "message": cause.words}).encode()


if __name__ == "__main__":
    main()
