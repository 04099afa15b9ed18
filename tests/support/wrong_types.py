"""A Redis in which everything is there that pages and commands show, and one key after the other of another type.

Used by the tests that ask all pages, and all commands, what they say then.
"""

import json
import time
from collections.abc import Mapping
from typing import Final

from restbroker.operate import audit
from restbroker.store import history, pauses, queues, sources
from restbroker.store.client import Client
from restbroker.store.history import JobEnd
from restbroker.store.sources import SourceState
from tests.operate.pools import record, serve
from tests.support.key_names import WORDS, all_keys

JID: Final = "j1"
IDENTITY: Final = "node:7:abc:t"
PROCESS: Final = "node:7:xyz"
NOW_S: Final = time.time()
HERE: Final[Mapping[str, object]] = {
    **WORDS, "identity": IDENTITY, "target": "t", "queue": "rest", "process": PROCESS, "at_s": int(NOW_S),
    "date": time.strftime("%Y-%m-%d", time.gmtime(NOW_S)),
}  # fmt: skip
KEYS: Final = sorted({*all_keys(HERE), f"{PROCESS}-signals"})
ADVICE: Final = "restbroker check names the key"
"""What a page or command says that cannot do without the key."""


def job(jid: str, **more: object) -> bytes:
    fields = {"class": "Add", "queue": "rest", "jid": jid, "args": ["safe", {"user": "u"}, "t"]}
    return json.dumps({**fields, "error_class": "ServerError", "error_message": "It failed.", **more}).encode()


def fill(client: Client) -> None:
    """Something of everything: j1 waits, is dead, and has ended; j2 is to be tried again, j3 to be run later."""
    serve(client, "t", 7, ["rest"])
    payload = {"class": "Add", "display_class": "safe", "jid": "j4", "args": ["safe", {}, "***"]}
    record(
        client,
        PROCESS,
        {"t1": {"queue": "rest", "payload": json.dumps(payload), "run_at": NOW_S}},
        version="restbroker 0.1",
        queues=["rest"],
    )
    queues.push(client, "rest", [job(JID)])
    for number, zset in enumerate(("dead", "retry", "schedule"), start=1):
        client.command("ZADD", zset, NOW_S + number, job(f"j{number}"))
    client.command("XADD", "restbroker:parked", "*", "payload", job(JID))
    ending = history.to_record(JobEnd(JID, "t", "safe", "delivered", 200, 13.0))
    client.command("XADD", "restbroker:history", "*", "end", ending)
    audit.write(client, audit.AuditEntry(who="ann@web1", action="retry", place="dead", jids=(JID,)))
    pauses.pause_queue(client, "other", "ann@web1", "it moves", 600.0)
    pauses.pause_target(client, "t2", "ann@web1", "it moves", 600.0)
    sources.write(client, [SourceState("mim", "mongooseim-amqp", "node:7", "", NOW_S, "RabbitMQAway", "It is away.")])


def spoil(client: Client, key: str) -> None:
    """Makes it a list, or a string if it should be one, as others would."""
    client.command("DEL", key)
    if client.keys.expected_type(key) in {"list", None}:
        client.command("SET", key, "no business of yours")
    else:
        client.command("RPUSH", key, "no business of yours")
