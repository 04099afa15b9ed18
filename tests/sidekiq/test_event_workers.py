"""The workers of examples/mongooseim take events in a real Sidekiq, and understand what restbroker pushes."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from dev.tools.pages import ROOT
from restbroker.job.event import EventType, ServerEvent, as_json
from restbroker.store import queues
from restbroker.store.client import Client, integer
from tests.support import process
from tests.support.process import Running
from tests.support.ruby import environment
from tests.support.sidekiq_process import sidekiq_command
from tests.support.wait import until

EXAMPLE: Final = ROOT / "examples" / "mongooseim"
QUEUE: Final = "xmpp_events"
EVENTS: Final = 300
EVENT: Final = ServerEvent(
    type="message",
    sender="alice@localhost/PC",
    receiver="bob@localhost",
    id=None,
    body='Grüße "☂" | \n',
    room=None,
    server="localhost",
    source="rabbit",
    received_at_s=1_795_165_609.25,
    raw={"exchange": "chat_msg", "routing_key": "bob@localhost.chat_msg_recv", "payload": {"message": "…"}},
)


def payload(event: ServerEvent, number: int) -> bytes:
    """The job that docs/events-format.md shows."""
    moment_s = event.received_at_s
    job = {
        "class": "XmppEvent",
        "args": [as_json(event)],
        "jid": f"{number:024x}",
        "queue": QUEUE,
        "retry": True,
        "created_at": moment_s,
        "enqueued_at": moment_s,
    }
    return json.dumps(job, ensure_ascii=False).encode()


@contextmanager
def working(script: str, directory: Path, redis_url: str, extra: Mapping[str, str] | None = None) -> Iterator[Running]:
    """A sidekiq process that runs one of the examples."""
    environ = environment(redis_url, extra=extra)
    arguments = ["-r", str(EXAMPLE / script), "-q", QUEUE, "-c", "5"]
    with process.started(arguments, directory=directory, environ=environ, command=[sidekiq_command()]) as running:
        yield running


def test_the_shortest_worker_takes_an_event(client: Client, redis_url: str, tmp_path: Path) -> None:
    queues.push(client, QUEUE, [payload(EVENT, 1), payload(attrs.evolve(EVENT, type="presence", body=None), 2)])
    with working("event_worker.rb", tmp_path, redis_url) as running:
        running.wait_for(r"^message \| alice@localhost/PC \| bob@localhost \| Grüße \"☂\" \| $")
        running.wait_for(r"^presence \| alice@localhost/PC \| bob@localhost \| $")
        running.stop()


def rows(database: Path) -> list[Any]:
    with closing(sqlite3.connect(database)) as line:
        return line.execute("SELECT * FROM events ORDER BY jid").fetchall()


@pytest.mark.nightly
def test_each_event_is_a_row_of_the_table_once(client: Client, redis_url: str, tmp_path: Path) -> None:
    kinds: tuple[EventType, ...] = ("message", "groupchat", "presence")
    said = (None, None, "unavailable")
    made = [
        attrs.evolve(EVENT, type=kinds[number % 3], presence=said[number % 3], body=f"text {number}")
        for number in range(EVENTS)
    ]
    pushed = [payload(event, number) for number, event in enumerate(made)]
    # As if Sidekiq had repeated every tenth.
    queues.push(client, QUEUE, [*pushed, *pushed[::10]])
    database = tmp_path / "events.sqlite3"
    with working("sql_worker.rb", tmp_path, redis_url, {"EVENTS_DB": str(database)}) as running:
        until(lambda: integer(client.command("LLEN", f"queue:{QUEUE}")) == 0, "all jobs are taken")
        assert running.stop() == 0
    found = rows(database)
    assert [row[0] for row in found] == [f"{number:024x}" for number in range(EVENTS)]
    for number, row in enumerate(found):
        event = made[number]
        assert row[1:4] == (event.received_at_s, "rabbit", event.type)
        assert row[4:9] == (event.sender, event.receiver, None, event.presence, event.body)
        assert json.loads(row[9]) == EVENT.raw
    assert integer(client.command("ZCARD", "retry")) == 0
