"""Each command of the Chat API is the request that a real ofchat was recorded to answer, and done or refused as there.

What nobody recorded is the request that the plugin's sources want.
"""

from pathlib import Path
from typing import Final

import attrs

from restbroker.job.outcome import Delivered, Rejected
from restbroker.servers import registry
from tests.servers.openfire_sides import sides_of
from tests.support.openfire_chat.answers import named
from tests.support.player import Exchange, Player, recorded
from tests.support.redis_server import RedisServer

RECORDED: Final = recorded("openfire-chat/0.9.6/commands", "openfire-chat/0.9.6/cut", "openfire-chat/0.9.6/unrecorded")


def beside() -> list[Exchange]:
    """What is asked before some commands: who logs in, whether a name has a stream, and whether the room is there."""
    (rights,) = [one for one in RECORDED if one.path.endswith("/admin/restbroker")]
    (room,) = [one for one in RECORDED if one.command == "chat_get_room"]
    looked = f"{room.path}?servicename=conference"
    return [
        rights,
        Exchange("GET", "/sse/juliet", 404, answer_headers={"Content-Type": "text/html"}),
        # Before it is created, and from then on.
        attrs.evolve(named("no such room"), path=looked),
        attrs.evolve(room, path=looked),
    ]


async def test_each_command_is_the_request_that_the_api_wants(tmp_path: Path, redis_server: RedisServer) -> None:
    driven = [one for one in RECORDED if one.arguments is not None]
    assert {one.command for one in driven} == registry.catalogue("openfire-chat").commands.keys()
    wrong = {}
    with Player([*driven, *beside()]) as server:
        async with sides_of(tmp_path, redis_server, f"{server.url}/rest/api")() as (side,):
            for one in driven:
                outcome = await side.call(one.command, one.arguments)
                if one not in server.played or type(outcome) is not (Delivered if one.status < 300 else Rejected):
                    wrong[one.command] = outcome
        assert wrong == {}
