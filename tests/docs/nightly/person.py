"""A person who is in every kind of key of Redis, by the doors that producers, servers and people have.

For test_recipes.py, which types the commands of docs/personal-data.md beside them. Always holds: nothing here knows the
commands of the page; what is left is read from Redis itself, each value of each type.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx

from restbroker.job.format import PAYLOAD_LIMIT_BYTES
from restbroker.store import events, logins, rooms
from restbroker.store.client import Client, StoreSettings, items, open_client, text
from restbroker.store.logins import LoginLock, UserBase
from tests.support.ports import free_port
from tests.support.process import run_here, started
from tests.support.receiver import Answer, Received, Receiver
from tests.support.wait import until

NAME: Final = "alice-the-person"
JID: Final = f"{NAME}@example.org"
TOKEN: Final = "THE-TOKEN"
_HOST: Final = {"host": "example.org"}
_ALICE: Final = {"user": NAME, **_HOST}
_READ: Final[Mapping[str, tuple[str, ...]]] = {
    "string": ("GET",),
    "list": ("LRANGE", "0", "-1"),
    "zset": ("ZRANGE", "0", "-1", "WITHSCORES"),
    "set": ("SMEMBERS",),
    "hash": ("HGETALL",),
    "stream": ("XRANGE", "-", "+"),
    "none": ("EXISTS",),
}
_EVERYWHERE: Final = (
    *("dead", "retry", "schedule", "queue:rest", "queue:xmpp_events"),
    *(
        f"restbroker:{name}"
        for name in (
            *("audit", "events", "parked", "history", "large:", "reply:", "ip:", "line:rest", "held:", "stopped:"),
            *("rosters", "roster:of:alice", "roster:of:bob", "logins:", "streams:", "room:", "event:asking-"),
        )
    ),
)
"""What the keys begin with that have the person."""


def left(client: Client) -> list[str]:
    """Return the keys that have the person in their names or values."""
    found = []
    for key in sorted(text(key) for key in items(client.command("KEYS", "*"))):
        first, *rest = _READ[text(client.command("TYPE", key))]
        # `repr`: whatever the reply is made of.
        value = repr(client.command(first, key, *rest))
        if NAME in f"{key} {value}".lower():
            found.append(key)
    return found


@contextmanager
def everywhere(redis_url: str) -> Iterator[None]:
    """Have the person everywhere; at the end nothing may be left of them but what the page says."""
    with closing(open_client(StoreSettings(redis_url))) as client:
        _put(client, redis_url)
        found = left(client)
        missing = [start for start in _EVERYWHERE if not any(key.startswith(start) for key in found)]
        assert not missing, f"The person is not in {missing}, but in {[*found]}."
        yield
        found = left(client)
        assert not found, f"The person is left in {found}."


def _put(client: Client, redis_url: str) -> None:
    with Receiver(_answer) as server, TemporaryDirectory() as folder:
        place, port = Path(folder), free_port()
        (place / "env.json").write_text(json.dumps(_configuration(redis_url, server.url, port)))
        (place / "banned.csv").write_text("from,to,stanza\nshop@example.org,emil@example.org,<message/>\n")
        with started(["run"], directory=place) as broker:
            broker.wait_for(r"listening what=events")
            for number, (command, arguments, more) in enumerate(_jobs()):
                _push(client, number, command, arguments, **more)
            until(lambda: client.command("ZCARD", "dead") == 4, "they are dead", 60)
            until(lambda: client.command("ZCARD", "retry") == 2, "they failed", 60)
            until(lambda: client.command("EXISTS", "restbroker:reply:forgotten") == 1, "an answer came", 60)
            message = {"kind": "message", "from": f"{JID}/phone", "to": "bot@bots.example.org", "body": "hi"}
            posted = httpx.post(f"http://127.0.0.1:{port}/prosody", json=message, trust_env=False, timeout=60)
            assert posted.status_code == 202
            _act(place)
            _push(client, 90, "muc_online_rooms", {"service": JID})
            until(lambda: any(request.path.endswith("rooms") for request in server.received), "one is in progress", 60)
            client.command("SADD", "paused", "rest")
            _push(client, 91, "check_account", _ALICE)
            broker.process.kill()
            broker.wait()
    _be_known(client)


def _configuration(redis_url: str, url: str, port: int) -> Mapping[str, Any]:
    return {
        "RedisURL": redis_url,
        "RestURL": url,
        "JabberDomain": "example.org",
        "RestQueue": "rest",
        "Token": TOKEN,
        "OrderBy": ["user", "host"],
        "OnDead": "stop",
        "History": "24h",
        "HistoryArguments": ["name"],
        "Backoff": {"Base": "1h", "Factor": 1, "Cap": "1h"},
        "Events": {
            "Listen": f"127.0.0.1:{port}",
            "Sources": {
                "prosody": {
                    "Kind": "prosody-rest",
                    "Path": "/prosody",
                    "Queue": "xmpp_events",
                    "Class": "XmppEvent",
                    "DropDuplicates": "1h",
                }
            },
        },
    }


def _jobs() -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Yield what an application pushes: dead, waiting behind it, to be tried again, and answered."""
    message, stanza = {"type": "chat", "from": "shop@example.org", "subject": ""}, {"stanza": "<message/>"}
    yield "ban_account", {**_ALICE, "reason": "spam"}, {}
    yield "check_account", _ALICE, {}
    yield "send_stanza", {**stanza, "from": "shop@example.org", "to": JID}, {}
    # The server's words name them.
    yield "send_stanza", {**stanza, "from": "shop@example.org", "to": "carol@example.org"}, {}
    yield "set_nickname", {**_ALICE, "nickname": "x" * PAYLOAD_LIMIT_BYTES}, {}
    yield "send_message", {**message, "to": JID, "body": "Hello"}, {}
    yield "send_message", {**message, "to": "bob@example.org", "body": f"Call {JID}!"}, {}
    yield "get_vcard", {**_ALICE, "user": "dora", "name": JID}, {"reply_to": "forgotten", "idempotency_key": JID}


def _push(client: Client, number: int, command: str, arguments: Mapping[str, Any], **more: object) -> None:
    job = {"class": "Restbroker", "jid": f"5f0c0ffee{number:015x}", "queue": "rest", "created_at": time.time()}
    client.command("LPUSH", "queue:rest", json.dumps({**job, "args": [command, arguments, TOKEN], **more}))


def _answer(request: Received) -> Answer:
    command = request.path.rpartition("/")[2]
    match command:
        case "ban_account" | "send_stanza":
            return Answer(400, json.dumps({"status": "error", "code": 1, "message": f"{JID} was here"}).encode())
        case "send_message":
            return Answer(500)
        case "muc_online_rooms":
            time.sleep(5)
            return Answer(200, b"[]")
        case _:
            return Answer(200, json.dumps(JID).encode())


def _act(place: Path) -> None:
    for line in (
        ["enqueue", "send_stanza", "--in", "1h", "from=shop@example.org", f"to={JID}", "stanza=<message/>"],
        ["dead", "delete", "--where", f"to = {JID}", "--yes", "--why", f"{JID} asked for it"],
        ["roster", "add", NAME, "bob@example.org"],
        ["roster", "add", "bob", JID],
        ["enqueue", "send_stanza", "--bulk", "banned.csv", "--wait", "--timeout", "1m"],
    ):
        done = run_here(line, directory=place)
        # The row of the batch dies.
        assert done.returncode == (1 if "--bulk" in line else 0), done.stderr


def _be_known(client: Client) -> None:
    """Have them at Openfire, and about to acknowledge a message, as connectors write it."""
    events.remember_asking(client, "j1", "m1", JID)
    base, lock = UserBase("chat", "127.0.0.1"), LoginLock("holder", 1000)
    logins.take(client, base, NAME, lock)
    assert logins.put(client, base, NAME, lock.holder, "stream") == "noted"
    rooms.forget(client, "chat", "balcony@conference", NAME, is_out=True)
