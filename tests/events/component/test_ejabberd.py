"""A real ejabberd, a real restbroker: what users do becomes events, and what restbroker sends itself does not."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from restbroker.store.client import Client
from tests.events.component.mix import (
    HIDDEN,
    HOST,
    NAME,
    TEAM,
    Component,
    Mix,
    differences,
    event_of,
    prepare,
    subscribe,
    without_late_copies,
)
from tests.events.conftest import QUEUE, events_in
from tests.support.ejabberd import PASSWORD, REMOTE, SECRET, Ejabberd
from tests.support.process import Running, run, started
from tests.support.redis_server import RedisServer
from tests.support.wait import until
from tests.support.xmpp import Client as XmppClient
from tests.support.xmpp import Clients

PUSH: Final = f"push.{HOST}"


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ejabberd]:
    """An ejabberd that sends a component every stanza."""
    server = Ejabberd(tmp_path_factory.mktemp("speaking"), component=NAME).start()
    yield server
    server.kill()


def configure(place: Path, server: Ejabberd, redis: RedisServer, **options: Any) -> None:
    source = {
        "Kind": "ejabberd-component",
        "Queue": QUEUE,
        "Class": "XmppEvent",
        "Options": {
            "Address": f"127.0.0.1:{server.component_port}",
            "Name": NAME,
            "Hosts": [HOST],
            "Pass": SECRET,
            "Rooms": [TEAM],
            "Target": "api",
            **options,
        },
    }
    target = {
        "Kind": "ejabberd",
        "URL": server.url,
        "Queues": ["rest"],
        "Domain": HOST,
        "Auth": {"Basic": {"User": server.admin, "Pass": PASSWORD}},
    }
    document = {
        "RedisURL": redis.url,
        "Token": "t",
        "Targets": {"api": target},
        "Events": {"Sources": {"feed": source}},
    }
    (place / "env.json").write_text(json.dumps(document))


def reads(broker: Running) -> None:
    broker.wait_for(r"source\.opened source=feed")


def test_everything_users_do_comes_once(
    speaking: Ejabberd, redis_server: RedisServer, store: Client, tmp_path: Path
) -> None:
    configure(tmp_path, speaking, redis_server)
    with (
        started(["run"], directory=tmp_path) as broker,
        Component(speaking.component_port, REMOTE) as remote,
        Clients(speaking.c2s_port, HOST) as clients,
    ):
        reads(broker)
        prepare(speaking)
        mix = Mix(speaking, clients, remote, random.Random(11))
        mix.begin()
        mix.do(120)
        mix.end()
        until(lambda: not differences(map(event_of, events_in(store)), mix.expected)[0], "all of it is reported", 60)
        clients.login("bob", PASSWORD)
        missing, besides = differences(map(event_of, without_late_copies(events_in(store))), mix.expected)
        assert not missing
        assert not besides
        words = ["type=chat", f"from=bot@{HOST}", f"to=bob@{HOST}", "subject=", "body=own", "--wait"]
        done = run(["enqueue", "send_message", *words], directory=tmp_path)
        assert done.returncode == 0, done.stderr
        mix.clients.login("eve", PASSWORD).say(f"bob@{HOST}", "last")
        until(lambda: any(event["body"] == "last" for event in events_in(store)), "what follows comes", 60)
        assert not [event for event in events_in(store) if event["body"] == "own"]
        assert HIDDEN not in broker.output()
    assert HIDDEN not in json.dumps(events_in(store))
    assert SECRET not in broker.output()


def register(server: Ejabberd) -> None:
    for user in ("ann", "bob", "eve"):
        server.call("register", user=user, host=HOST, password=PASSWORD)


@pytest.mark.slow  # a real server, and commands as processes
@pytest.mark.promise
def test_who_received_a_message_is_told_and_shown(
    speaking: Ejabberd, redis_server: RedisServer, store: Client, tmp_path: Path
) -> None:
    configure(tmp_path, speaking, redis_server, Take=["receipt", "displayed"], Rooms=[])
    with started(["run"], directory=tmp_path) as broker, Clients(speaking.c2s_port, HOST) as clients:
        reads(broker)
        register(speaking)
        bob, eve = clients.login("bob", PASSWORD), clients.login("eve", PASSWORD)
        words = ["type=chat", f"from=shop@{NAME}", f"to=bob@{HOST}", "subject=", "body=own", "receipts=true"]
        jid = run(["enqueue", "send_message", *words], directory=tmp_path).stdout.strip()
        bob.messages.wait_for_number(1)
        for client in (eve, bob):
            # ejabberd copies it to the sender's host, and sends it to the component itself.
            client.send(f"<message to='shop@{NAME}'><received xmlns='urn:xmpp:receipts' id='{jid}'/></message>")
            client.ask(HOST, "<ping xmlns='urn:xmpp:ping'/>")
        until(lambda: len(events_in(store)) == 2, "both are told", 60)
        assert [(event["type"], event["id"]) for event in events_in(store)] == [("receipt", jid)] * 2
        told = run(["explain", jid], directory=tmp_path).stdout.splitlines()
        until(lambda: f"{broker.process.pid} reads" in run(["check"], directory=tmp_path).stdout, "it is known", 60)
        assert checked(tmp_path, "--events") == ["Component", "EventNotTested"], "nobody answers a test"
    received = [line for line in told if line.startswith("received by")]
    assert [f"somebody else: it went to bob@{HOST}" in line for line in received] == [True, False]
    assert [f"  {name}@{HOST}/" in line for name, line in zip(("eve", "bob"), received, strict=True)] == [True, True]


@pytest.mark.promise
@pytest.mark.slow  # a server, and a session whose end it has to notice
def test_who_comes_into_rooms_and_leaves_is_told_once(
    speaking: Ejabberd, redis_server: RedisServer, store: Client, tmp_path: Path
) -> None:
    tea, shown = f"tea@conference.{HOST}", f"shown@conference.{HOST}"
    configure(tmp_path, speaking, redis_server, Take=["created", "joined", "left", "destroyed"], Rooms=[shown])
    with started(["run"], directory=tmp_path) as broker, Clients(speaking.c2s_port, HOST) as clients:
        reads(broker)
        register(speaking)
        chosen = {"persistent": "true", "allow_subscription": "true", "anonymous": "false"}
        options = [{"name": name, "value": value} for name, value in chosen.items()]
        made = {"name": "shown", "service": f"conference.{HOST}", "host": HOST, "options": options}
        assert speaking.call("create_room_with_opts", **made)[0] == 200
        subscribe(speaking, "rooms", NAME, shown, "participants", "config")
        ann, bob = clients.login("ann", PASSWORD), clients.login("bob", PASSWORD)

        def told(*expected: tuple[str, str, str, str | None]) -> None:
            """These are the events since the last call: type, who, in which room, why."""

            def found() -> list[tuple[str, str, str, str | None]]:
                return [
                    (event["type"], (event["from"] or "").partition("@")[0], event["room"], event["why"])
                    for event in events_in(store)
                ]

            until(lambda: len(found()) >= len(expected), f"{expected} is told", 60)
            assert found() == list(expected)
            store.command("DEL", f"queue:{QUEUE}")

        def do(client: XmppClient, presence: str, *expected: tuple[str, str, str, str | None]) -> None:
            client.send(presence)
            client.ask(HOST, "<ping xmlns='urn:xmpp:ping'/>")
            told(*expected)

        asks = "<x xmlns='http://jabber.org/protocol/muc'/>"
        unlock = "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>"
        do(
            ann,
            f"<presence to='{tea}/Ann'>{asks}</presence>",
            ("created", "ann", tea, None),
            ("joined", "ann", tea, None),
        )
        ann.send(f"<iq type='set' to='{tea}' id='unlock'>{unlock}</iq>")
        do(bob, f"<presence to='{tea}/Bob'/>", ("joined", "bob", tea, None))
        # A change of what the room says of him is no join.
        bob.send(f"<presence to='{tea}/Bob'><show>away</show></presence>")
        do(bob, f"<presence to='{shown}/Bob'>{asks}</presence>", ("joined", "bob", shown, None))
        do(bob, f"<presence to='{tea}/Bob' type='unavailable'/>", ("left", "bob", tea, "left"))
        assert speaking.call("destroy_room", name="tea", service=f"conference.{HOST}")[0] == 200
        told(("destroyed", "", tea, None), ("left", "ann", tea, "destroyed"))
        # Who closes at the same moment gets no answer: a room of Rooms tells that, and once.
        do(ann, f"<presence to='{shown}/Ann'>{asks}</presence>", ("joined", "ann", shown, None))
        ann.send(f"<presence to='{shown}/Ann' type='unavailable'/></stream:stream>")
        told(("left", "ann", shown, "left"))
        # His session ends without a word: it tells that, too.
        assert speaking.call("kick_user", user="bob", host=HOST)[0] == 200
        until(lambda: events_in(store), "he is gone", 60)
        assert [(event["type"], event["nick"], event["why"]) for event in events_in(store)] == [
            ("left", "Bob", "ended")
        ]
        until(lambda: "RoomCame" in checked(tmp_path), "it is known", 60)
        assert checked(tmp_path) == ["Component", "RoomCame", "RoomHeard"]


@pytest.mark.slow  # a real server, asked by checks as processes
def test_a_check_says_whether_copies_come(speaking: Ejabberd, redis_server: RedisServer, tmp_path: Path) -> None:
    configure(tmp_path, speaking, redis_server, Rooms=[])
    assert checked(tmp_path) == ["Component", "EventCame", "NotServing"]
    with started(["run"], directory=tmp_path) as broker:
        reads(broker)
        until(lambda: f"{broker.process.pid} reads" in run(["check"], directory=tmp_path).stdout, "it is known", 60)
        assert checked(tmp_path) == ["Component", "EventCame"]
    # Its other name is none of mod_service_log's.
    configure(tmp_path, speaking, redis_server, Name=REMOTE, ForeignName=True, Rooms=[])
    assert checked(tmp_path, "--events", "--within", "1s") == ["ForeignName", "Component", "EventLost", "NotServing"]
    configure(tmp_path, speaking, redis_server, Address=f"127.0.0.1:{speaking.c2s_port}")
    (found,) = findings(tmp_path)
    assert "components" in found["message"]


def findings(place: Path, *words: str) -> list[dict[str, str]]:
    found = json.loads(run(["check", "--json", *words], directory=place, timeout_s=120.0).stdout)["findings"]
    # What this machine calls the name is its own.
    return [finding for finding in found if finding["area"] == "Events" and finding["code"] != "NameElsewhere"]


def checked(place: Path, *words: str) -> list[str]:
    return [finding["code"] for finding in findings(place, *words)]


def test_suggested_configuration_is_the_one_running_here(
    speaking: Ejabberd, redis_server: RedisServer, tmp_path: Path
) -> None:
    configure(tmp_path, speaking, redis_server, Take=["message", "push"])
    suggestions = json.loads(run(["check", "--suggest", "--json"], directory=tmp_path).stdout)
    (text,) = [suggestion["text"] for suggestion in suggestions if suggestion["kind"] == "ejabberd-component"]
    assert SECRET not in text
    said, runs = yaml.safe_load(text), yaml.safe_load((speaking.directory / "ejabberd.yml").read_text("utf-8"))
    (listener,) = [listener for listener in runs["listen"] if listener["module"] == "ejabberd_service"]
    del listener["hosts"][REMOTE]
    listener["hosts"][NAME]["password"] = "THE PASSWORD"
    assert said["listen"] == [listener]
    push = runs["modules"]["mod_push"]
    assert said["modules"].pop("mod_push").items() <= push.items()
    assert said["modules"].items() <= runs["modules"].items()


@pytest.mark.parametrize("kind", ["ejabberd-component", "prosody-component"])
def test_sources_of_one_listener_get_one_suggestion(kind: str, tmp_path: Path) -> None:
    options = {"Hosts": [HOST], "Pass": "p"}
    sources = {
        "feed": {"Kind": kind, "Queue": "a", "Class": "A", "Options": {"Name": NAME, **options}},
        "push": {"Kind": kind, "Queue": "b", "Class": "B", "Options": {"Name": PUSH, "Take": ["push"], **options}},
    }
    document = {"Token": "t", "RestQueue": "rest", "Events": {"Sources": sources}}
    (tmp_path / "env.json").write_text(json.dumps(document))
    output = run(["check", "--suggest"], directory=tmp_path).stdout
    text = output[output.index("feed and push") :]
    assert text.count("5347") == 1
    assert all(f'"{name}"' in text for name in (NAME, PUSH))
    if kind == "ejabberd-component":
        said = yaml.safe_load(output[output.rindex("listen:") :])
        assert list(said["listen"][0]["hosts"]) == [NAME, PUSH]
        assert said["modules"] == {"mod_service_log": {"loggers": [NAME]}, "mod_push": {"include_sender": True}}
