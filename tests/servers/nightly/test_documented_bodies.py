"""What monitoring and CI programs are documented to post is read once by an XMPP client: of a real ejabberd, in a chat
and in a room, and of a real Prosody.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import pytest

from tests.support.documented_bodies import CHAT, TO, Way, documented, said
from tests.support.ejabberd import Ejabberd
from tests.support.prosody import PASSWORD, Prosody
from tests.support.redis_server import RedisServer
from tests.support.xmpp import Client, Clients, Message

HOST: Final = "example.org"
ROOM: Final = f"ops@conference.{HOST}"
NICK: Final = "Alerts"
WAYS: Final = {
    "chat": CHAT,
    "room": attrs.evolve(CHAT, arguments={**TO, "type": "groupchat", "to": ROOM}),
    "prosody": Way("prosody", "message", {"type": "chat", "to": TO["to"]}),
}


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ejabberd]:
    """An ejabberd with a room in which alerts may speak, as the manual has it."""
    made = Ejabberd(tmp_path_factory.mktemp("ejabberd"), hosts=(HOST,), component=f"events.{HOST}").start()
    name, _, service = ROOM.partition("@")
    options = [{"name": option, "value": "true"} for option in ("persistent", "allow_subscription")]
    room = {"name": name, "service": service}
    subscriber = {
        "user": f"{TO['from']}/restbroker",
        "nick": NICK,
        "room": ROOM,
        "nodes": "urn:xmpp:mucsub:nodes:system",
    }
    for command, given in (
        ("register", {"user": "ops", "host": HOST, "password": PASSWORD}),
        ("create_room_with_opts", {**room, "host": HOST, "options": options}),
        ("subscribe_room", subscriber),
        ("set_room_affiliation", {**room, "jid": TO["from"], "affiliation": "member"}),
    ):
        status, text = made.call(command, **given)
        assert status == 200, f"{command}: {text}"
    yield made
    made.kill()


def has_ended(number: int, messages: list[Message]) -> bool:
    """Whether so many ends came."""
    return [one.body for one in messages].count("end") == number


def heard(client: Client, kind: str, sender: str) -> list[str | None]:
    """The texts that came from there."""
    return [one.body for one in client.messages.all if (one.kind, one.sender) == (kind, sender)]


def test_a_documented_body_is_read_once_in_chat_and_room(
    server: Ejabberd, prosody: Prosody, clients: Clients, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Though each is posted twice."""
    prosody.register("ops", "alerts")
    there = clients.login("ops", roster=False)
    targets = {
        "chat": {"Kind": "ejabberd", "URL": server.url, "Auth": {"Basic": {"User": server.admin, "Pass": PASSWORD}}},
        "prosody": {
            "Kind": "prosody-rest",
            "URL": prosody.rest_url,
            "Domain": HOST,
            "Auth": {"Basic": {"User": "alerts", "Pass": PASSWORD}},
            "OrderBy": ["to"],
        },
    }
    expected = [sent.expect for sent in documented()]
    with Clients(server.c2s_port, HOST) as here:
        ops = here.login("ops", PASSWORD)
        ops.join(f"{ROOM}/ops")
        ops.presences.wait_for(lambda all_: [one for one in all_ if one.sender == f"{ROOM}/ops"], "ops is in the room")
        said(tmp_path, redis_server.url, targets, WAYS)
        ops.say(ROOM, "end", "groupchat")
        ops.say(TO["to"], "end")
        there.say(TO["to"], "end")
        for client, number in ((ops, 2), (there, 1)):
            client.messages.wait_for(partial(has_ended, number), "all has come")
        assert heard(ops, "chat", TO["from"]) == expected
        assert heard(ops, "groupchat", f"{ROOM}/{NICK}") == expected
        assert heard(there, "chat", TO["from"]) == expected
