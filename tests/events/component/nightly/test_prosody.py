"""A real Prosody sends real restbrokers what it cannot deliver: over one connection, which another takes on.

Needs mod_cloud_notify (Debian's prosody-modules, installed by `make nightly`).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from restbroker.store.client import Client as RedisClient
from tests.events.conftest import QUEUE, events_in
from tests.support.ports import free_port
from tests.support.process import run, started
from tests.support.prosody import PASSWORD, Prosody
from tests.support.redis_server import RedisServer
from tests.support.wait import until
from tests.support.xmpp import Clients

HOST: Final = "example.org"
NAME: Final = "push.example.org"
SECRET: Final = "component secret"
PORT: Final = free_port()
ENABLE: Final = (
    f"<enable xmlns='urn:xmpp:push:0' jid='{NAME}' node='n1'><x xmlns='jabber:x:data' type='submit'>"
    "<field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>"
    "<field var='secret'><value>hidden-option</value></field></x></enable>"
)


def configure(place: Path, redis_url: str, **options: Any) -> None:
    given = {"Address": f"127.0.0.1:{PORT}", "Name": NAME, "Hosts": [HOST], "Pass": SECRET, "Lease": "2s", **options}
    source = {"Kind": "prosody-component", "Queue": QUEUE, "Class": "XmppPush", "Options": given}
    document = {"RedisURL": redis_url, "Token": "t", "RestQueue": "rest", "Events": {"Sources": {"feed": source}}}
    (place / "env.json").write_text(json.dumps(document))


@pytest.fixture(scope="module")
def prosody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prosody]:
    """A Prosody whose lines for the component are those that restbroker suggests."""
    place = tmp_path_factory.mktemp("configuration")
    configure(place, "redis://127.0.0.1")
    (suggestion,) = json.loads(run(["check", "--suggest", "--json"], directory=place).stdout)[-1:]
    assert SECRET not in suggestion["text"]
    hosts = f'\nVirtualHost "{HOST}"\n    modules_enabled = {{ "roster", "cloud_notify" }}\n'
    above, component, below = suggestion["text"].replace("THE PASSWORD", SECRET).partition("Component")
    server = Prosody(tmp_path_factory.mktemp("prosody"), included=f"{above}{hosts}{component}{below}\n")
    server.start()
    server.register("ann", "bob")
    yield server
    server.kill()


def bodies(store: RedisClient) -> list[str]:
    return [event["body"] for event in events_in(store)]


def test_message_to_an_absent_user_is_one_job(
    prosody: Prosody, redis_server: RedisServer, store: RedisClient, tmp_path: Path
) -> None:
    configure(tmp_path, redis_server.url)
    with Clients(prosody.c2s_port, HOST) as clients, started(["run"], directory=tmp_path) as broker:
        broker.wait_for(r"source\.opened source=feed")
        ann, bob = clients.login("ann", PASSWORD), clients.login("bob", PASSWORD)
        assert bob.ask(NAME, "<ping xmlns='urn:xmpp:ping'/>") == ("result", None)
        bob.send(f"<iq type='set' id='enable'>{ENABLE}</iq>")
        bob.ask(HOST, "<ping xmlns='urn:xmpp:ping'/>")
        bob.logout()
        ann.say(f"bob@{HOST}", "first")
        until(lambda: bodies(store), "it is reported", 60)
        (event,) = events_in(store)
        raw = event["raw"]
        assert (event["type"], event["server"], raw["node"]) == ("push", HOST, "n1")
        assert raw["options"] == {"secret": "hidden-option"}
        until(lambda: f"{broker.process.pid} reads" in run(["check"], directory=tmp_path).stdout, "it is known", 60)
        with started(["run"], directory=tmp_path) as other:
            other.wait_for(r"broker\.started")
            until(lambda: "waits: another process reads" in run(["check"], directory=tmp_path).stdout, "it waits", 60)
            broker.process.kill()
            other.wait_for(r"source\.opened source=feed")
            ann.say(f"bob@{HOST}", "second")
            until(lambda: len(bodies(store)) == 2, "it comes from the other", 60)
            assert "Component" not in other.output().replace("ComponentGap", "")
    log = (prosody.directory / "prosody.log").read_text("utf-8")
    assert "Second component attempted to connect" not in log


def test_a_receipt_for_the_component_is_told_once(
    prosody: Prosody, redis_server: RedisServer, store: RedisClient, tmp_path: Path
) -> None:
    configure(tmp_path, redis_server.url, Take=["receipt", "displayed"])
    with Clients(prosody.c2s_port, HOST) as clients, started(["run"], directory=tmp_path) as broker:
        broker.wait_for(r"source\.opened source=feed")
        bob = clients.login("bob", PASSWORD)
        for told in ("received xmlns='urn:xmpp:receipts'", "displayed xmlns='urn:xmpp:chat-markers:0'") * 2:
            bob.send(f"<message to='shop@{NAME}' type='chat'><{told} id='m1'/></message>")
        bob.send(f"<message to='shop@{NAME}' type='chat'><received xmlns='urn:xmpp:receipts' id='m2'/></message>")
        until(lambda: [event["id"] for event in events_in(store)] == ["m1", "m1", "m2"], "they are told", 60)
        assert [event["type"] for event in events_in(store)] == ["receipt", "displayed", "receipt"]
        assert {event["from"].partition("/")[0] for event in events_in(store)} == {f"bob@{HOST}"}


def test_a_check_says_what_prosody_does_not_take(prosody: Prosody, redis_server: RedisServer, tmp_path: Path) -> None:

    def checked(**options: Any) -> list[str]:
        configure(tmp_path, redis_server.url, **options)
        found = json.loads(run(["check", "--json"], directory=tmp_path, timeout_s=120.0).stdout)["findings"]
        return [f"{line['code']}: {line['message']}" for line in found if line["area"] == "Events"]

    found = checked()
    assert [line.partition(":")[0] for line in found] == ["Component", "OneReader", "EventNotTested", "NotServing"], (
        found
    )
    (wrong,) = checked(Pass="wrong")
    assert "ComponentDenied" in wrong
    assert "refuses the password" in wrong
    (unknown,) = checked(Name="other.example.org")
    assert "does not know other.example.org" in unknown
    (other,) = checked(Address=f"127.0.0.1:{prosody.c2s_port}")
    assert f"does not know {NAME}" in other, "at the clients' port it is a host"
