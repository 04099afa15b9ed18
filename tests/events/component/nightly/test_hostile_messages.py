"""A real ejabberd passes on what anybody writes to the component's name: no job of a target waits for it."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import redis

from restbroker.store.client import Client
from tests.events.component.mix import NAME, Component
from tests.events.component.test_ejabberd import configure, reads
from tests.events.conftest import events_in
from tests.support.ejabberd import PASSWORD, REMOTE, Ejabberd
from tests.support.process import started
from tests.support.redis_server import RedisServer
from tests.support.wait import until

SIZE: Final = 250_000
UNITS: Final = (
    *("<item/>", "<forwarded/>", "<a b='&gt;'/>", "&lt;", "&#65;", "<![CDATA[>]]>", "<![CDATA[]]]]><![CDATA[>]]>"),
    *("<x xmlns='u'/>", "<a><b><c/></b></a>", "<item xmlns='http://jabber.org/protocol/pubsub#event'>x</item>"),
)
"""What is repeated."""
EACH: Final = 30
MARK: Final = {"type": "chat", "from": "ann@localhost", "to": "ann@localhost", "subject": "", "body": "all is read"}
LEAST_S: Final = 0.1


@contextmanager
def jobs_beside(url: str) -> Iterator[list[float]]:
    """The seconds that each of one job after the other waits for its answer, which no server gives."""
    waits, ends = list[float](), threading.Event()

    def work() -> None:
        with redis.Redis.from_url(url) as raw:
            while not ends.is_set():
                job = {"class": "Add", "jid": f"job{len(waits)}", "args": ["status", {}, "wrong"], "retry": False}
                began_s = time.monotonic()
                raw.lpush("queue:rest", json.dumps(job | {"reply_to": job["jid"]}))
                assert raw.blpop([f"restbroker:reply:{job['jid']}"], 60)
                waits.append(time.monotonic() - began_s)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield waits
    finally:
        ends.set()
        thread.join()


def test_no_job_waits_for_hostile_messages(store: Client, redis_server: RedisServer, tmp_path: Path) -> None:
    """None longer than twice what harmless text of that size costs."""
    redis_server.flush()
    server = Ejabberd(tmp_path / "ejabberd", component=NAME).start()
    try:
        configure(tmp_path, server, redis_server, Rooms=[])
        server.call("register", user="ann", host="localhost", password=PASSWORD)
        longest: dict[str, float] = {}
        with started(["run"], directory=tmp_path) as broker, Component(server.component_port, REMOTE) as remote:
            reads(broker)
            for unit in ("word ", *UNITS):
                inner = unit * (SIZE // len(unit))
                with jobs_beside(redis_server.url) as waits:
                    for _ in range(EACH):
                        remote.send(f"<message from='eve@{REMOTE}/x' to='{NAME}'>{inner}</message>")
                    remote.read_all()
                    server.call("send_message", **MARK)
                    until(lambda: len(events_in(store)) > len(longest), f"{unit} is read", 120)
                longest[unit] = max(waits)
    finally:
        server.kill()
    harmless = longest.pop("word ")
    assert max(longest.values()) <= 2 * max(harmless, LEAST_S), (harmless, longest)
