"""A Redis with something of everything by strangers, for the tests that walk all commands and all pages.

Each text has what moves a cursor, hides or reverses letters, or ends a line, with a line of its own behind it; the long
one begins with markup.
"""

import json
import time
from typing import Final

from restbroker.job.json_types import Json
from restbroker.job.order import Order, key_rules
from restbroker.job.settlement import Dead
from restbroker.operate import audit
from restbroker.store import history, pauses, queues, sources
from restbroker.store.client import Client
from restbroker.store.history import JobEnd
from restbroker.store.jobs import FetchRequest, FetchResult, register
from restbroker.store.keys import SortedSet
from restbroker.store.settling import FinishRequest
from restbroker.store.sources import SourceState
from tests.operate.pools import record, serve
from tests.store.pools import FACTS
from tests.support.store_calls import fetch, finish

NOW_S: Final = 1_700_000_000
FORGED: Final = "2026 ERROR forged"
CHARACTERS: Final = (
    *("\x1b[2J", "\x1b]0;title\x07", "\x07", "\x08", "\x0b", "\x7f", "\x85", "\x9b2J", "\r", "\n", "\t"),
    *("\u200b", "\u2028", "\u2029", "\u202e", "\u2066", "\ufeff", "\U000e0041"),
)
MARKUP: Final = "<x-forged x-forged>\"'x-forged=1 "
TEXT: Final = MARKUP + "w".join(CHARACTERS) + f"\r{FORGED}\n{FORGED}\u2028{FORGED}"
JID: Final = f"j\x1b[2J\u202e\n{FORGED}"
QUEUE: Final = f"q\x9b2J\n{FORGED}"
KEY: Final = f"k\u202e\u2028{FORGED}"
"""Control characters are refused in it."""
USER: Final = "john"
CONTACT: Final = "ann@example.org"


def job(jid: str = JID, **more: object) -> bytes:
    words = dict.fromkeys(
        ("error_message", "error_class", "display_class", "idempotency_key", "restbroker_unique"), TEXT
    )
    tried = {"at": NOW_S, **dict.fromkeys(("outcome", "code", "status", "excerpt"), TEXT)}
    fields = {"class": "Add", "queue": "rest", "jid": jid, "args": [TEXT, {TEXT: TEXT, "user": TEXT}, "right-token"]}
    return json.dumps(
        {**fields, **words, "retry_count": 1, "failed_at": NOW_S, "restbroker_attempts": [tried], **more}
    ).encode()


def fill(client: Client) -> None:
    """Something of everything, by strangers."""
    places: tuple[tuple[SortedSet, float], ...] = (("dead", NOW_S), ("retry", 4e9), ("schedule", 4e9))
    for zset, at_s in places:
        client.command(
            "ZADD",
            client.keys.sorted_set(zset),
            at_s,
            job(),
            at_s + 1,
            job("j2", queue=QUEUE),
            at_s + 2,
            job("j3", args=["status", {}, TEXT]),
        )
        client.command("ZADD", client.keys.sorted_set(zset), at_s + 3, TEXT)
    for name in ("rest", QUEUE, TEXT):
        queues.push(client, name, [job(), job("j4", args=["status", {"user": TEXT}, "right-token"]), TEXT.encode()])
    pauses.pause_queue(client, QUEUE, TEXT, TEXT, 7200.0)
    pauses.pause_queue(client, "rest", TEXT, TEXT, None)
    pauses.pause_target(client, "ejabberd", TEXT, TEXT, None)
    pauses.pause_periodic(client, "n", TEXT, TEXT, None)
    note, keys = f"0 0 {json.dumps({'who': TEXT, 'why': TEXT})}", client.keys
    for key, name in ((keys.queue_pauses, "rest"), (keys.target_pauses, "ejabberd"), (keys.periodic_pauses, "n")):
        client.command("HSET", key, name, note)
    minute = json.dumps({"numbers": {}, "troubles": {TEXT: "down", "ejabberd": TEXT}})
    client.command("HSET", keys.minutes, int(time.time()) // 60 * 60 - 600, minute)
    audit.write(
        client, audit.AuditEntry(who=TEXT, action=TEXT, place=TEXT, where=TEXT, why=TEXT, jids=(JID,), changes=TEXT)
    )
    client.command(
        "XADD",
        client.keys.audit,
        "*",
        *(word for name in ("who", "action", "place", "where", "why", "state", "jids") for word in (name, TEXT)),
    )
    words = dict.fromkeys(
        ("gate_code", "gate_reason", "gate_cure", "server_version", "kind", "limited", "last_error"), TEXT
    )
    serve(client, "ejabberd", 7, ["rest", QUEUE], gate="closed", **words)
    serve(client, TEXT, 8, [QUEUE], limited=TEXT)
    work: dict[str, Json] = {TEXT: {"queue": TEXT, "payload": job().decode(), "run_at": NOW_S}}
    for name in ("web", TEXT):
        record(client, f"{name}:9:ab", work, queues=[QUEUE], version=TEXT, tag=TEXT, labels=[TEXT], identity=TEXT)
    ending = history.to_record(JobEnd(JID, TEXT, TEXT, "delivered", 200, 12.5, code=TEXT))
    client.command("XADD", client.keys.history, "*", "end", ending)
    told = SourceState(TEXT, TEXT, TEXT, TEXT, NOW_S, TEXT, TEXT, TEXT, login=TEXT, notice=TEXT, outcomes={TEXT: 1})
    sources.write(client, [told])
    shown = dict.fromkeys(("source", "type", "from", "to", "room", "queue", "jid"), TEXT)
    contact = json.dumps({"name": TEXT, "groups": [TEXT]})
    client.command("HSET", client.keys.roster(USER), CONTACT, contact, TEXT, contact)
    client.command("HSET", client.keys.rosters, USER, "1 100", TEXT, "1 100")
    client.command("XADD", client.keys.recent_events, "*", "event", json.dumps(shown))


def hold_keys(client: Client) -> None:
    """A key of a stranger's is stopped by a dead job, and another one is in progress."""
    identity, text = "web1:7:abc:ejabberd", key_rules(Order(), None)
    assert register(client, identity, FACTS, ["rest"], key_rules=text)
    queues.push(client, "rest", [job(f"{JID}{n}", order_key=key) for key in (KEY, f"{KEY}2") for n in (1, 2)])
    answer = fetch(client, FetchRequest(identity, "ejabberd", ("rest",), 0, 50, 50, key_rules=text))
    assert isinstance(answer, FetchResult)
    first = next(taken for taken in answer.jobs if json.loads(taken.raw).get("order_key") == KEY)
    dead = Dead(NOW_S, first.raw, effect="stop")
    finish(client, FinishRequest(identity, "ejabberd", ("rest",), 0, [(first.ticket, dead)], key_rules=text), NOW_S)
