"""A real ejabberd notifies a real restbroker of receivers that it cannot reach: of what, and that it goes on."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from restbroker.store.client import Client as RedisClient
from restbroker.store.sources import read_states
from tests.events.component.mix import HOST, NAME, Component, subscribe
from tests.events.component.test_ejabberd import checked, configure, reads
from tests.events.conftest import events_in
from tests.support.ejabberd import PASSWORD, REMOTE, Ejabberd
from tests.support.process import started
from tests.support.redis_server import RedisServer
from tests.support.wait import until
from tests.support.xmpp import Client, Clients

ROOM: Final = f"sub@conference.{HOST}"
PLAIN: Final = f"plain@conference.{HOST}"
ENABLE: Final = (
    f"<enable xmlns='urn:xmpp:push:0' jid='{NAME}' node='{{}}'><x xmlns='jabber:x:data' type='submit'>"
    "<field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>"
    "<field var='secret'><value>hidden-option</value></field></x></enable>"
)
_TO: Final = f"to='{{user}}@{HOST}'"
_NO_STORE: Final = "<no-store xmlns='urn:xmpp:hints'/>"
_OMEMO: Final = (
    "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/><payload>x</payload></encrypted>"
    "<store xmlns='urn:xmpp:hints'/>"
)
STANZAS: Final = {
    "chat": f"<message {_TO} type='chat'><body>chat</body></message>",
    "normal": f"<message {_TO}><body>normal</body></message>",
    "omemo": f"<message {_TO} type='chat'>{_OMEMO}</message>",
    "receipt": f"<message {_TO}><received xmlns='urn:xmpp:receipts' id='1'/><store xmlns='urn:xmpp:hints'/></message>",
    "state": f"<message {_TO} type='chat'><active xmlns='http://jabber.org/protocol/chatstates'/></message>",
    "call": f"<message {_TO} type='chat'><propose xmlns='urn:xmpp:jingle-message:0' id='1'/></message>",
    "headline": f"<message {_TO} type='headline'><body>headline</body></message>",
    "no-store": f"<message {_TO} type='chat'><body>no-store</body>{_NO_STORE}</message>",
    "room": f"<message to='{ROOM}' type='groupchat'><body>room</body></message>",
    "plain room": f"<message to='{PLAIN}' type='groupchat'><body>plain room</body></message>",
}
"""What Ann sends to a user, by its name."""
USERS: Final = ("gone", "asleep", "two", "bob")
"""One for each test: a registration stays."""


@pytest.fixture(scope="module")
def pushing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ejabberd]:
    """An ejabberd with two rooms, to one of which a user is subscribed (MUC/Sub)."""
    server = Ejabberd(tmp_path_factory.mktemp("pushing"), component=NAME).start()
    for user in ("ann", *USERS):
        server.call("register", user=user, host=HOST, password=PASSWORD)
    options = [{"name": name, "value": "true"} for name in ("persistent", "allow_subscription", "mam")]
    for room in (ROOM, PLAIN):
        given = {"name": room.partition("@")[0], "service": f"conference.{HOST}", "host": HOST, "options": options}
        assert server.call("create_room_with_opts", **given)[0] == 200
    subscribe(server, "gone", HOST, ROOM)
    yield server
    server.kill()


@attrs.define(eq=False)
class Pushes:
    """The notifications that became jobs."""

    _store: RedisClient

    def all(self) -> list[dict[str, Any]]:
        return [event for event in events_in(self._store) if event["type"] == "push"]

    def texts(self) -> list[str]:
        """Their texts; "-" of those without."""
        return [event["body"] or "-" for event in self.all()]

    def of(self, ann: Client, user: str, names: Iterable[str]) -> dict[str, list[str]]:
        """The events of each of these stanzas of Ann to this user."""
        return {name: self.follow(partial(ann.send, STANZAS[name].format(user=user)), ann, user) for name in names}

    def follow(self, act: Callable[[], object], ann: Client, user: str) -> list[str]:
        """The events of this act, behind which Ann sends the user a message."""
        before = len(self.all())
        end = f"end after {before}"
        act()
        ann.say(f"{user}@{HOST}", end)
        until(lambda: end in self.texts(), f"the {end} comes", 60)
        return [text for text in self.texts()[before:] if text != end]


@pytest.fixture
def pushes(pushing: Ejabberd, redis_server: RedisServer, store: RedisClient, tmp_path: Path) -> Iterator[Pushes]:
    configure(tmp_path, pushing, redis_server, Take=["push"], Rooms=[])
    with started(["run"], directory=tmp_path) as broker:
        reads(broker)
        yield Pushes(store)
        assert "ComponentAway" not in broker.output()


def login(clients: Clients, user: str) -> Client:
    """The user on a device that is registered as the node of that name."""
    client = clients.login(user, PASSWORD)
    client.send(f"<iq type='set' id='enable'>{ENABLE.format(user)}</iq>")
    client.ask(HOST, "<ping xmlns='urn:xmpp:ping'/>")
    return client


def register(server: Ejabberd, clients: Clients, user: str) -> None:
    """The user's device is registered, and gone."""
    login(clients, user).logout()
    until(lambda: server.call("user_sessions_info", user=user, host=HOST) == (200, "[]"), f"{user} is gone", 60)


def enter(client: Client, room: str) -> None:
    """The user joins this room, and has all that it sends at an entry: the subject comes last."""
    client.join(f"{room}/{client.jid.partition('@')[0]}")
    client.messages.wait_for(lambda came: [said for said in came if said.sender == room], "the room's subject comes")


def vanish(client: Client) -> None:
    client._do(client._stream.abort)  # noqa: SLF001  there is no other way to break a connection


def test_messages_to_a_user_without_sessions_are_reported(pushing: Ejabberd, pushes: Pushes) -> None:
    with Clients(pushing.c2s_port, HOST) as clients:
        register(pushing, clients, "gone")
        ann = clients.login("ann", PASSWORD)
        ann.join(f"{ROOM}/ann")
        texts = pushes.of(ann, "gone", [name for name in STANZAS if name != "room"])
        ann.send(STANZAS["room"])
        until(lambda: "room" in pushes.texts(), "what a subscriber missed comes", 60)
        api = {"type": "chat", "from": f"ann@{HOST}", "to": f"gone@{HOST}", "subject": "", "body": "api"}
        texts["api"] = pushes.follow(lambda: pushing.call("send_message", **api), ann, "gone")
    assert texts == {
        "chat": ["chat"],
        "normal": ["normal"],
        "omemo": ["(encrypted)"],
        "receipt": ["-"],
        "state": [],
        "call": ["-"],
        "headline": [],
        "no-store": [],
        "plain room": [],
        "api": ["api"],
    }
    first = pushes.all()[0]
    raw = first["raw"]
    assert (first["server"], raw["node"], raw["options"]) == (HOST, "gone", {"secret": "hidden-option"})
    assert first["from"].startswith(f"ann@{HOST}")


def test_messages_to_a_resumable_session_are_reported(pushing: Ejabberd, pushes: Pushes) -> None:
    with Clients(pushing.c2s_port, HOST) as clients:
        ann, asleep = clients.login("ann", PASSWORD), login(clients, "asleep")
        for client in (ann, asleep):
            enter(client, PLAIN)
        asleep.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        asleep.ask(HOST, "<ping xmlns='urn:xmpp:ping'/>")
        vanish(asleep)
        pushes.follow(lambda: None, ann, "asleep")
        texts = pushes.of(ann, "asleep", ("chat", "receipt", "state", "call", "headline"))
        ann.send(STANZAS["plain room"])
        until(lambda: "plain room" in pushes.texts(), "what an occupant missed comes", 60)
    assert texts == {
        "chat": ["chat"],
        "receipt": ["-"],
        "state": ["-"],
        "call": ["-"],
        "headline": ["headline"],
    }


def test_lost_device_is_reported_beside_another(pushing: Ejabberd, pushes: Pushes) -> None:
    with Clients(pushing.c2s_port, HOST) as clients:
        register(pushing, clients, "two")
        ann, _online = clients.login("ann", PASSWORD), clients.login("two", PASSWORD)
        assert pushes.of(ann, "two", ("chat", "call")) == {"chat": ["chat"], "call": []}


def test_a_check_sends_a_notification_that_becomes_no_job(
    pushing: Ejabberd, pushes: Pushes, store: RedisClient, tmp_path: Path
) -> None:
    with Clients(pushing.c2s_port, HOST) as clients:
        register(pushing, clients, "bob")
        until(lambda: read_states(store), "the check knows who reads", 60)
        assert checked(tmp_path) == ["Component", "OneReader", "ModPush", "EventCame"]
        assert pushes.all() == []
        ann = clients.login("ann", PASSWORD)
        assert pushes.of(ann, "bob", ("chat",)) == {"chat": ["chat"]}, "the registration is kept"


def test_strangers_get_wait_and_change_nothing(pushing: Ejabberd, pushes: Pushes) -> None:
    content = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='bob'/></pubsub>"
    with Clients(pushing.c2s_port, HOST) as clients, Component(pushing.component_port, REMOTE) as remote:
        register(pushing, clients, "bob")
        ann = clients.login("ann", PASSWORD)
        assert ann.ask(NAME, content) == ("error", "service-unavailable")
        remote.send(f"<iq type='set' from='{REMOTE}' to='{NAME}' id='forged'>{content}</iq>")
        assert remote.read_until(rb"<iq[^>]*id='forged'[^>]*><error type='(\w+)'")[1] == b"wait"
        assert ann.ask(NAME, "<ping xmlns='urn:xmpp:ping'/>") == ("result", None)
        assert ann.ask(NAME, "<query xmlns='http://jabber.org/protocol/disco#info'/>") == ("result", None)
        assert pushes.of(ann, "bob", ("chat",)) == {"chat": ["chat"]}
