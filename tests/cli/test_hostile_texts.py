"""What strangers put into Redis, through every command on a terminal: none of it acts there, or forges a line."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from restbroker.cli import examples
from restbroker.cli.app import COMMANDS, load
from restbroker.store.client import Client
from tests.support.hostile import CONTACT, FORGED, JID, KEY, QUEUE, TEXT, USER, fill, hold_keys
from tests.support.process import run_here

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
    *("explain {jid}", "explain {queue}", "history", "audit", "events tail --once --last 50", "events sources"),
    *("events send hook posted.json --dry-run", "forget alice --host example.org"),
    *("roster list", f"roster show {USER}", f"roster delete {USER} --dry-run", f"roster refresh {USER} --dry-run"),
    *(f"roster remove {USER} {CONTACT}", f"roster add {USER} {CONTACT} --name {{jid}}", f"roster set {USER} -"),
    *("roster export -", "roster import rosters.ndjson --dry-run", "config show", "check"),
    *("token list", "migrate --dry-run"),
)  # fmt: skip
STRANGERS_SAY_NOTHING: Final = frozenset(
    (
        "run",
        "web",
        "roster serve",
        "demo",
        "verify",
        "config init",
        "config diff",
        "config schema",
        "token new",
        "completion",
    )
)
"""Commands that write log lines (`tests/unit/telemetry/test_log.py`), or show nothing that comes from elsewhere."""
TARGET: Final = {"Kind": "prosody-roster", "URL": "http://127.0.0.1:1/r", "Domain": "example.org", "Queues": ["r"]}

HOOK: Final = {
    "Kind": "webhook",
    "Path": "/h",
    "Queue": "hook",
    "Class": "Hook",
    "Options": {"Map": {"title": "/title"}},
}


@pytest.fixture
def keys() -> Mapping[str, Any]:
    return {
        "OrderBy": "order_key",
        "History": "1h",
        "Periodic": {"n": {"Cron": "30 4 * * *", "Command": "status"}},
        "Targets": {"rosters": TARGET},
        "Roster": {},
        "Events": {"Sources": {"hook": HOOK}},
    }


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
    (place / "posted.json").write_text(json.dumps({"title": TEXT}))
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
