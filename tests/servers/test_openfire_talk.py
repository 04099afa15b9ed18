"""Openfire's chat: each command is what a real ofchat was recorded to answer, and people talk by jobs and events."""

import re
from collections import Counter
from pathlib import Path
from typing import Final

import attrs

from restbroker.job.outcome import Delivered, Rejected
from restbroker.servers import registry
from tests.servers.openfire_sides import sides_of
from tests.servers.openfire_talk import ROOM, talking
from tests.support.openfire_chat.answers import named
from tests.support.openfire_chat.server import Openfire
from tests.support.openfire_chat.state import DOMAIN
from tests.support.player import Exchange, Player, recorded
from tests.support.redis_server import RedisServer

RECORDED: Final = recorded("openfire-chat/0.9.6/commands", "openfire-chat/0.9.6/cut", "openfire-chat/0.9.6/unrecorded")


def beside() -> list[Exchange]:
    """What is asked before some commands: the logins, whether a name has a stream, and whether the room is there."""
    (rights,) = [made for made in RECORDED if made.path.endswith("/admin/restbroker")]
    (room,) = [made for made in RECORDED if made.command == "chat_get_room"]
    looked = f"{room.path}?servicename=conference"
    return [
        rights,
        Exchange("GET", "/sse/juliet", 404, answer_headers={"Content-Type": "text/html"}),
        # Before it is created, and from then on.
        attrs.evolve(named("no such room"), path=looked),
        attrs.evolve(room, path=looked),
    ]


async def test_each_command_is_the_request_that_the_api_wants(tmp_path: Path, redis_server: RedisServer) -> None:
    driven = [made for made in RECORDED if made.arguments is not None]
    assert {exchange.command for exchange in driven} == registry.catalogue("openfire-chat").commands.keys()
    wrong = {}
    with Player([*driven, *beside()]) as server:
        async with sides_of(tmp_path, redis_server, f"{server.url}/rest/api")() as (side,):
            for exchange in driven:
                outcome = await side.call(exchange.command, exchange.arguments)
                if exchange not in server.played or type(outcome) is not (
                    Delivered if exchange.status < 300 else Rejected
                ):
                    wrong[exchange.command] = outcome
        assert wrong == {}


def test_two_users_chat_by_jobs_and_events_alone(redis_server: RedisServer, openfire: Openfire, tmp_path: Path) -> None:
    openfire.state.befriend("ann", "bob")
    with talking(tmp_path, redis_server, openfire, ["ann", "bob"], brokers=2) as talk:
        room = f"{ROOM}@conference.{DOMAIN}"
        for user in ("ann", "bob"):
            talk.do("chat_login", username=user)
        talk.listening()
        talk.do("set_presence", from_="bob", show="available")
        talk.do("set_presence", from_="ann", show="chat", status="here")
        assert talk.event("bob", "presence", show="chat")["from"].startswith(talk.jid("ann"))
        talk.do("post_message", from_="ann", to=talk.jid("bob"), body='Hi "Bob"!')
        assert talk.event("bob", "message", body='Hi "Bob"!')["from"].startswith(talk.jid("ann"))
        talk.do("join_room", from_="ann", roomName=ROOM)
        talk.do("invite_contact_to_room", from_="ann", roomName=ROOM, invitedJid=talk.jid("bob"), reason="come")
        talk.event("bob", "invitation", room=room, body="come")
        talk.do("join_room", from_="bob", roomName=ROOM)
        talk.do("post_to_room", from_="bob", roomName=ROOM, body="I am here.")
        talk.event("ann", "groupchat", body="I am here.", room=room)
        talk.do("leave_room", from_="bob", roomName=ROOM)
        talk.do("post_to_room", from_="ann", roomName=ROOM, body="Gone?")
        talk.event("ann", "groupchat", body="Gone?")
        talk.do("chat_logoff", from_="ann")
        talk.event("bob", "presence", presence="unavailable")
        assert [event for event in talk.events() if event["to"] == talk.jid("bob") and event["body"] == "Gone?"] == []
        assert Counter(openfire.state.logins) == {"ann": 1, "bob": 1}
        # The job that logs him in, and the first one that needs it.
        assert max(Counter(openfire.state.login_requests).values()) <= 2
        assert [data for _, data in openfire.state.lost if '"body"' in data] == []
        assert talk.dead() == []
        assert re.search(r"ofchat-?\d", "".join(broker.output() for broker in talk.brokers)) is None
