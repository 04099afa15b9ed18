"""What monitoring and CI programs are documented to post is said once, beside the recorded answers of MongooseIM and of
Openfire's Chat API: in a chat, and in a room.
"""

from pathlib import Path

import attrs

from tests.servers.mongooseim import entry, exchanges, sent
from tests.support.documented_bodies import Way, documented, said
from tests.support.openfire_chat.server import Openfire
from tests.support.player import Player
from tests.support.redis_server import RedisServer

ALICE, BOB = "alice@localhost", "bob@localhost"


def test_a_documented_body_is_said_once_by_two_more_servers(
    chat: Openfire, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Though each is posted twice. The nightly test has those that can be installed."""
    chat.state.register("alerts")
    answered, _of_a_stanza = exchanges("message")
    ways = {
        "chat": Way("mim", "stanza.sendMessage", {"from": ALICE, "to": BOB}),
        "message": Way("openfire", "post_message", {"from": "alerts", "to": "romeo@example.org"}),
        "room": Way("openfire", "post_to_room", {"from": "alerts", "roomName": "balcony"}),
    }
    with Player([*exchanges("health"), attrs.evolve(answered, body=None)]) as server:
        targets = {
            "mim": entry(server),
            "openfire": {
                "Kind": "openfire-chat",
                "URL": chat.url,
                "Domain": "example.org",
                "Auth": {"Basic": {"User": "admin", "Pass": "secret"}},
                "Options": {"JoinRooms": True},
            },
        }
        said(tmp_path, redis_server.url, targets, ways)
        expected = [one.expect for one in documented()]
        assert sent(server, "sendMessage") == [{"from": ALICE, "to": BOB, "body": text} for text in expected]
    posted = [one.body.decode() for one in chat.requests if "/messages/" in one.path]
    assert posted == expected
    assert chat.state.rooms["balcony"].words == expected
