"""contrib/prosody in a real Prosody: who comes into a room and who leaves becomes a job, by what the manual shows."""

import json
import re
from pathlib import Path
from typing import Any, Final

from dev.tools.pages import ROOT
from restbroker.store.client import Client
from tests.events.conftest import QUEUE, events_in
from tests.support.ports import free_port
from tests.support.process import started
from tests.support.prosody import PASSWORD, Prosody
from tests.support.redis_server import RedisServer
from tests.support.wait import until
from tests.support.xmpp import Clients

HOST: Final = "example.org"
MUC: Final = "conference.example.org"
ROOM: Final = f"tea@{MUC}"
PAGE: Final = (ROOT / "docs" / "servers" / "webhook-details.md").read_text("utf-8").partition("## Prosody's rooms")[2]
LUA, CONFIGURATION = (re.findall(f"```{kind}\n(.*?)```", PAGE, re.DOTALL)[0] for kind in ("lua", "json"))
SECRET: Final = "a-secret-of-at-least-16-letters"
UNLOCK: Final = (
    f"<iq type='set' to='{ROOM}' id='unlock'><query xmlns='http://jabber.org/protocol/muc#owner'>"
    "<x xmlns='jabber:x:data' type='submit'/></query></iq>"
)
ENTER: Final = f"<presence to='{ROOM}/Ann'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
LEAVE: Final = f"<presence to='{ROOM}/Ann' type='unavailable'/>"


def configured(place: Path, redis: RedisServer, port: int) -> None:
    document: dict[str, Any] = json.loads(CONFIGURATION)
    document |= {"RedisURL": redis.url, "Token": "t"}
    document["Events"]["Listen"] = f"127.0.0.1:{port}"
    document["Events"]["Sources"]["rooms"]["Queue"] = QUEUE
    (place / "env.json").write_text(json.dumps(document))


def test_who_comes_and_goes_in_prosodys_rooms_becomes_a_job(
    redis_server: RedisServer, store: Client, tmp_path: Path
) -> None:
    port = free_port()
    configured(tmp_path, redis_server, port)
    hosts = f'VirtualHost "{HOST}"\n    modules_enabled = {{ "roster" }}\n\n{LUA.replace("8081", str(port))}'
    server = Prosody(tmp_path / "prosody", included=hosts, originals=ROOT / "contrib" / "prosody")
    server.directory.mkdir()
    server.start()
    try:
        server.register("ann", "bob")
        with Clients(server.c2s_port, HOST) as clients:
            ann, bob = clients.login("ann", PASSWORD), clients.login("bob", PASSWORD)
            with started(["run"], directory=tmp_path) as broker:
                broker.wait_for(r"broker\.started")
                ann.join(f"{ROOM}/Ann")
                until(lambda: len(events_in(store)) == 2, "she is in", 60)
                ann.send(UNLOCK)
                ann.ask(HOST, "<ping xmlns='urn:xmpp:ping'/>")
                bob.join(f"{ROOM}/Bob")
                until(lambda: len(events_in(store)) == 3, "he is in", 60)
                bob.logout()
                until(lambda: len(events_in(store)) == 4, "he is gone", 60)
                ann.send(LEAVE)
                until(lambda: len(events_in(store)) == 6, "the room is empty", 60)
                ann.send(50 * (ENTER + LEAVE))
                until(lambda: len(events_in(store)) == 206, "all that happened at once came", 60)
                assert "EventUnmapped" not in broker.output()
            events = events_in(store)
            found = [(event["type"], (event["from"] or "").partition("/")[0], event.get("nick")) for event in events]
            assert [kind for kind, _, _ in found[6:]] == 50 * ["joined", "created", "left", "destroyed"]
            assert found[:6] == [
                ("joined", "ann@example.org", "Ann"),
                ("created", "ann@example.org", "Ann"),
                ("joined", "bob@example.org", "Bob"),
                ("left", "bob@example.org", "Bob"),
                ("left", "ann@example.org", "Ann"),
                ("destroyed", "", None),
            ]
            assert {(event["room"], event["server"]) for event in events} == {(ROOM, MUC)}
            # Nobody listens any more.
            ann.join(f"{ROOM}/Ann")
            log = server.directory / "prosody.log"
            until(lambda: f"joined in {ROOM} is lost" in log.read_text("utf-8"), "it is logged", 60)
            assert SECRET not in log.read_text("utf-8")
    finally:
        server.kill()
