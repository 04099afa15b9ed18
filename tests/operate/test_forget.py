"""Forgetting a person: what names them, what goes, and what stays."""

import json
from pathlib import Path

import pytest

from restbroker.job.json_types import Json
from restbroker.operate import audit, forget
from restbroker.operate.act_job import Action
from restbroker.operate.audit import AuditEntry
from restbroker.operate.context import context_of
from restbroker.operate.forget import Person
from restbroker.store import history
from restbroker.store.client import Client
from restbroker.store.history import JobEnd
from tests.operate.conftest import written

ALICE = Person("alice", "example.org", {"rest": "example.org", "eu": "eu.example.org"})


def job(arguments: Json, queue: str = "rest", **more: Json) -> bytes:
    args: list[Json] = ["send_message", arguments, "t0ken"]
    return json.dumps({"class": "Add", "jid": "a1", "queue": queue, "created_at": 1.5, "args": args, **more}).encode()


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (job({"user": "alice", "host": "example.org"}), True),
        (job({"user": "Alice"}), True),
        (job([["user", "alice"], ["host", "EXAMPLE.org"]]), True),
        (job('{"user": "alice"}'), True),
        (job({"users": ["bob", "alice"]}), True),
        (job({"to": "bob@b.org", "body": "call alice@example.org/phone."}), True),
        (job({"to": "\u0061lice@example.org"}), True),
        (job({}, error_message="User <alice@example.org> is unknown"), True),
        (b"alice@example.org, no JSON", True),
        # Another host, by name or by the queue's target.
        (job({"user": "alice", "host": "other.org"}), False),
        (job({"user": "alice"}, queue="eu"), False),
        # Parts of names, words in texts, and what is no argument.
        (job({"user": "malice", "to": "malice@example.org"}), False),
        (job({"to": "alice@example.organic", "from": "m.alice@example.org"}), False),
        (job({"body": "call alice"}), False),
        (job({}, **{"class": "alice"}), False),
    ],
)
def test_a_person_is_found_by_whole_values_and_addresses(raw: bytes, *, found: bool) -> None:
    assert ALICE.is_in(raw) is found
    assert ALICE.is_in(raw.replace(b"alice", b"\\u0061lice")) is found or b"no JSON" in raw


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("alice\x1fexample.org", True),
        ("user = alice", True),
        ("chat alice", True),
        ("alice\x1fother.org", False),
        ("alice@other.org", False),
        ("malice", False),
        ("alice-two", False),
    ],
)
def test_a_key_of_jobs_is_theirs_with_their_host_or_none(text: str, *, found: bool) -> None:
    assert ALICE.has_word(text.encode()) is found


def test_all_that_names_them_goes_and_all_else_stays(client: Client, tmp_path: Path) -> None:
    config = written(tmp_path, {"other": {"Queues": ["other"]}}, RestQueue="rest")
    known = context_of(config)
    hers, other = job({"user": "alice"}), job({"user": "malice"}, jid="b2")
    keys = client.keys
    for raw in (hers, other):
        client.commands([("LPUSH", keys.queue("rest"), raw), ("LPUSH", keys.queue("app"), raw)])
        client.commands([("ZADD", keys.sorted_set(name), 1, raw) for name in ("dead", "retry", "schedule")])
        client.command("XADD", keys.dead_copies, "*", "payload", raw)
    for to in ("alice@example.org", "bob@example.org"):
        end = JobEnd("j1", "e", "send", "delivered", 200, 1.0, arguments={"to": to})
        client.command("XADD", keys.history, "*", "end", history.to_record(end))
    client.command("HSET", keys.logins("chat"), "alice", "on 1 s1", "malice", "on 1 s2")
    client.command("RPUSH", keys.reply("restbroker:reply:r1"), '["online", "alice@example.org"]')
    audit.write(client, AuditEntry(who="ann@vm", action="delete", place="dead", where="user = alice"))
    found = forget.look(client, config, known, ALICE, foreign_queues=False)
    assert [*found.staying.values()] == [1]
    action = Action("delete", "ann@vm", foreign_queues=True)
    [*forget.erase(client, config, known, ALICE, found, action)]
    after = forget.look(client, config, known, ALICE, foreign_queues=True)
    assert after.counts == {"queue app": 1}
    [*forget.erase(client, config, known, ALICE, after, action)]
    entries = [client.command("XRANGE", key, "-", "+") for key in (keys.audit, keys.history, keys.dead_copies)]
    assert "alice" not in repr([*entries, client.command("HGETALL", keys.logins("chat"))]).replace("malice", "")
    sizes = [client.command("ZCARD", keys.sorted_set(name)) for name in ("dead", "retry", "schedule")]
    assert [*sizes, client.command("LLEN", keys.queue("rest")), client.command("LLEN", keys.queue("app"))] == [1] * 5
    assert [client.command("XLEN", keys.dead_copies), client.command("XLEN", keys.history)] == [1, 1]
    assert client.command("EXISTS", keys.reply("restbroker:reply:r1")) == 0
    assert forget.look(client, config, known, ALICE, foreign_queues=True).counts == {}
