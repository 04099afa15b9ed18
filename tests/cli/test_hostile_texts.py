"""What strangers put into Redis, through every command on a terminal: none of it acts there, or forges a line.

Each text has what moves a cursor, hides or reverses letters, or ends a line, with a line of its own behind it.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from restbroker.cli import examples
from restbroker.cli.app import COMMANDS, load
from restbroker.job.json_types import Json
from restbroker.job.order import Order, key_rules
from restbroker.job.settlement import Dead
from restbroker.operate import audit
from restbroker.store import history, pauses, queues, sources
from restbroker.store.client import Client
from restbroker.store.history import JobEnd
from restbroker.store.jobs import FetchRequest, FetchResult, register
from restbroker.store.settling import FinishRequest
from restbroker.store.sources import SourceState
from tests.cli.conftest import NOW_S
from tests.operate.pools import record, serve
from tests.store.pools import FACTS
from tests.support.process import run_here
from tests.support.store_calls import fetch, finish

FORGED: Final = "2026 ERROR forged"
CHARACTERS: Final = (
    *("\x1b[2J", "\x1b]0;title\x07", "\x07", "\x08", "\x0b", "\x7f", "\x85", "\x9b2J", "\r", "\n", "\t"),
    *("\u200b", "\u2028", "\u2029", "\u202e", "\u2066", "\ufeff", "\U000e0041"),
)
TEXT: Final = "w".join(CHARACTERS) + f"\r{FORGED}\n{FORGED}\u2028{FORGED}"
JID: Final = f"j\x1b[2J\u202e\n{FORGED}"
QUEUE: Final = f"q\x9b2J\n{FORGED}"
KEY: Final = f"k\u202e\u2028{FORGED}"
"""Control characters are refused in it."""
USER: Final = "john"
CONTACT: Final = "ann@example.org"
WIDE: Final = {"COLUMNS": "2000", "TERM": "xterm"}
CHOSEN: Final = (
    *("{set} list", "{set} show {jid}", "{set} retry {jid} --dry-run", "{set} delete {jid}"),
    *("{set} retry --all --foreign-queues --dry-run", "{set} retry --all --foreign-queues"),
    *("{set} delete --all", "{set} reschedule --all --in 1h --dry-run", "{set} move --all --to rest --dry-run"),
    *("{set} edit --all user=x --dry-run", "{set} edit {jid} user=x", "{set} list --where 'queue = {queue}'"),
)
LINES: Final = (
    *(line.replace("{set}", name) for name in ("dead", "retries", "scheduled") for line in CHOSEN),
    *("dead summary", "retries summary", "retries kill --all", "scheduled kill {jid}", "dead restore {jid}"),
    *("stats", "queues list", "queues peek rest", "queues peek {queue}", "queues pause {queue}"),
    *("queues resume {queue}", "queues clear {queue}", "queues delete rest --all --dry-run"),
    *("queues delete rest --all", "queues kill rest --where 'user = x'", "keys list", "keys list --queue rest"),
    *("keys show {key}", "keys retry {key} --dry-run", "keys skip {key}", "keys drop {key}", "keys return rest"),
    *("periodic list", "periodic run n --dry-run", "periodic pause n", "periodic resume n"),
    *("targets list", "targets pause ejabberd", "targets resume ejabberd"),
    *("processes list", "processes quiet web:9", "processes stop web:9", "processes cancel {jid}"),
    *("health", "enqueue status --order-key {key}", "enqueue status --unique {key} --unique-for 1h"),
    *("commands", "ctl registered_users", "find w", "find 'message = {jid}'", "find 'jid = {jid}'"),
    *("explain {jid}", "explain {queue}", "audit", "events tail --once --last 50", "events sources"),
    *("roster list", f"roster show {USER}", f"roster delete {USER} --dry-run", f"roster refresh {USER} --dry-run"),
    *(f"roster remove {USER} {CONTACT}", f"roster add {USER} {CONTACT} --name {{jid}}", f"roster set {USER} -"),
    *("roster export -", "roster import rosters.ndjson --dry-run", "config show", "check"),
    *("token list", "migrate --dry-run"),
)  # fmt: skip
STRANGERS_SAY_NOTHING: Final = frozenset(
    ("run", "web", "roster serve", "demo", "verify", "config init", "config schema", "token new", "completion")
)
"""Commands that write log lines (`tests/unit/telemetry/test_log.py`), or show nothing that comes from elsewhere."""
TARGET: Final = {"Kind": "prosody-roster", "URL": "http://127.0.0.1:1/r", "Domain": "example.org", "Queues": ["r"]}


@pytest.fixture
def keys() -> Mapping[str, Any]:
    return {
        "OrderBy": "order_key",
        "History": "1h",
        "Periodic": {"n": {"Cron": "30 4 * * *", "Command": "status"}},
        "Targets": {"rosters": TARGET},
        "Roster": {},
    }


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
    for zset, at_s in (("dead", NOW_S), ("retry", 4e9), ("schedule", 4e9)):
        client.command(
            "ZADD",
            f"ns:{zset}",
            at_s,
            job(),
            at_s + 1,
            job("j2", queue=QUEUE),
            at_s + 2,
            job("j3", args=["status", {}, TEXT]),
        )
        client.command("ZADD", f"ns:{zset}", at_s + 3, TEXT)
    for name in ("rest", QUEUE):
        queues.push(client, name, [job(), job("j4", args=["status", {"user": TEXT}, "right-token"]), TEXT.encode()])
    pauses.pause_queue(client, QUEUE, TEXT, TEXT, 7200.0)
    pauses.pause_queue(client, "rest", TEXT, TEXT, None)
    pauses.pause_target(client, "ejabberd", TEXT, TEXT, None)
    pauses.pause_periodic(client, "n", TEXT, TEXT, None)
    audit.write(
        client, audit.AuditEntry(who=TEXT, action=TEXT, place=TEXT, where=TEXT, why=TEXT, jids=(JID,), changes=TEXT)
    )
    client.command(
        "XADD",
        "ns:restbroker:audit",
        "*",
        *(word for name in ("who", "action", "place", "where", "why", "state", "jids") for word in (name, TEXT)),
    )
    words = dict.fromkeys(
        ("gate_code", "gate_reason", "gate_cure", "server_version", "kind", "limited", "last_error"), TEXT
    )
    serve(client, "ejabberd", 7, ["rest", QUEUE], gate="closed", **words)
    serve(client, "two", 8, [QUEUE], limited=TEXT)
    work: dict[str, Json] = {TEXT: {"queue": TEXT, "payload": job().decode(), "run_at": NOW_S}}
    record(client, "web:9:ab", work, queues=[QUEUE], version=TEXT, tag=TEXT, labels=[TEXT], identity=TEXT)
    ending = history.to_record(JobEnd(JID, TEXT, TEXT, "delivered", 200, 12.5, code=TEXT))
    client.command("XADD", "ns:restbroker:history", "*", "end", ending)
    sources.write(client, [SourceState(TEXT, TEXT, TEXT, TEXT, NOW_S, TEXT, TEXT, TEXT, login=TEXT, notice=TEXT)])
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


def words_of(line: str) -> list[str]:
    named = {"jid": JID, "queue": QUEUE, "key": KEY}
    return [word.format(**named) for word in shlex.split(line)]


def every_command() -> Iterator[str]:
    for name in COMMANDS:
        yield from (path for path, node in examples.walk(load(name), name) if not examples.parts(node))


def test_each_command_is_here_or_shows_nothing_of_strangers() -> None:
    walked = {path for path in every_command() for line in LINES if f"{line} ".startswith(f"{path} ")}
    assert {*every_command()} == walked | STRANGERS_SAY_NOTHING
    assert not walked & STRANGERS_SAY_NOTHING


@pytest.mark.promise("Security: who can push to the queues", "to forge a line of the log, or to trick a terminal")
def test_no_text_of_a_stranger_acts_on_a_terminal(place: Path, store: Client) -> None:
    (place / "rosters.ndjson").write_text(json.dumps({"user": USER, "contacts": {CONTACT: {"name": TEXT}}}) + "\n")
    raw, shown = [], set()
    for line in LINES:
        store.command("FLUSHDB")
        hold_keys(store)
        fill(store)
        done = run_here(words_of(line), directory=place, environ=WIDE, stdin="y\n", on_terminal=True)
        printed = [re.sub(r"\x1b\[[\d;]*m", "", part) for part in f"{done.stdout}\n{done.stderr}".split("\n")]
        raw += [(line, part) for part in printed if not part.isprintable() or part.startswith(FORGED)]
        shown |= {line for part in printed if FORGED in part}
    assert not raw
    assert len(shown) > 60, {*LINES} - shown
