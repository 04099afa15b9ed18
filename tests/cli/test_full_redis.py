"""A Redis that is full refuses most writes; what makes room for others works there, and is in the audit log first."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from restbroker.operate import audit
from restbroker.store.client import Client
from tests.cli.conftest import Shell
from tests.cli.test_order import Broker, set_order_by


@contextmanager
def full(store: Client) -> Iterator[None]:
    store.command("CONFIG", "SET", "maxmemory", "1")
    try:
        yield
    finally:
        store.command("CONFIG", "SET", "maxmemory", "0")


def fill(store: Client) -> None:
    for number in range(3):
        job = {"class": "A", "jid": f"j{number}", "queue": "rest", "args": ["status", {}, "right-token"]}
        store.command("LPUSH", "ns:queue:rest", json.dumps(job))
        store.command("ZADD", "ns:dead", time.time() + number, json.dumps(job))
    store.command("SADD", "ns:queues", "rest")


@pytest.mark.parametrize(
    ("words", "key", "action"),
    [
        (["dead", "delete", "--all"], "ns:dead", "delete"),
        (["queues", "delete", "rest", "--all"], "ns:queue:rest", "delete"),
        (["queues", "clear", "rest"], "ns:queue:rest", "clear"),
    ],
)
def test_jobs_can_be_deleted_where_redis_is_full(
    shell: Shell, store: Client, words: list[str], key: str, action: str
) -> None:
    fill(store)
    with full(store):
        done = shell(*words, "--yes")
        assert (done.returncode, store.command("EXISTS", key)) == (0, 0), done.stderr
    notes = [one.note for one in audit.entries(store, 10)]
    assert {note.action for note in notes} == {action}
    assert [note.state for note in (notes[-1], notes[0])] == ["begun", "ended"]
    assert notes[0].done == 3


def test_the_jobs_of_a_key_can_be_dropped_where_redis_is_full(shell: Shell, store: Client, place: Path) -> None:
    set_order_by(place, "order_key")
    for _ in range(3):
        assert shell("enqueue", "status", "--order-key", "bob").returncode == 0
    Broker(store).take()
    with full(store):
        done = shell("keys", "drop", "--all", "--yes")
        assert (done.returncode, done.stderr) == (0, "2 jobs will die.\n")
    assert [one.note.state for one in audit.entries(store, 10)] == ["ended", "begun"]


def test_nothing_is_done_to_a_key_that_the_audit_log_does_not_name(shell: Shell, store: Client, place: Path) -> None:
    set_order_by(place, "order_key")
    for _ in range(2):
        assert shell("enqueue", "status", "--order-key", "bob").returncode == 0
    Broker(store).take()
    before = store.command("HGETALL", "ns:restbroker:order:hold:ejabberd")
    store.command("SET", "ns:restbroker:audit", "of another type")
    assert shell("keys", "drop", "bob", "--yes").returncode != 0
    assert store.command("HGETALL", "ns:restbroker:order:hold:ejabberd") == before
