"""Every command of Openfire's Chat API becomes the request that the plugin's source wants, which the stand-in takes.

What the stand-in says to it has the type and the members that a real ofchat was recorded to give with that status.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Rejected
from restbroker.servers import registry
from tests.servers.openfire_recorded import is_recorded, recorded
from tests.servers.openfire_sides import sides_of
from tests.servers.sides import Side
from tests.support.openfire.server import Openfire
from tests.support.openfire.world import Group
from tests.support.redis_server import RedisServer

ROWS = [
    line.split("\t")
    for line in Path(__file__).with_name("openfire_chat_commands.tsv").read_text("utf-8").splitlines()
    if not line.startswith("#")
]
BASE = "/rest/api/restapi/v1"
IN_ROOMS = {"join_room", "post_to_room", "invite_contact_to_room"}
ROOM: Mapping[str, Json] = {"roomName": "balcony", "naturalName": "Balcony", "description": "b", "persistent": True}
RECORDED = recorded("ofchat-0.9.6")


async def wrong_of(chat: Openfire, side: Side, row: list[str]) -> list[object]:
    """What is not as the row says."""
    name, given, line, kind, body = [*row, "", ""][:5]
    if name != "create_room":  # of an unknown room, much is a 500 (measured)
        await side.call("create_room", ROOM)
        chat.asked.clear()
        side.link.said.clear()
    outcome = await side.call(name, json.loads(given))
    before = ("/admin/restbroker", "/sse/juliet", *(() if name == "chat_login" else ("/login",)))
    # Whether the room is there is asked first.
    asked = next(
        one for one in chat.asked if not (one.path.endswith(before) or (name in IN_ROOMS and one.method == "GET"))
    )
    stream = next(iter(chat.world.streams), "") or asked.path.removeprefix(f"{BASE}/chat/").partition("/")[0]
    target = asked.target.removeprefix(BASE)
    if "STREAM" in line:
        target = target.replace(stream, "STREAM", 1)
    sent = (f"{asked.method} {target}", asked.content_type, asked.body.decode())
    wrong: list[object] = [] if sent == (line, kind, body) else [sent]
    wrong += [] if asked.accept.startswith("application/json") else [asked.accept]
    # 400, 404 and 409 are about what is there; anything else would be about the request.
    is_right = isinstance(outcome, Delivered) or (
        isinstance(outcome, Rejected) and outcome.reason.status in (400, 404, 409)
    )
    wrong += [] if is_right else [outcome]
    # A login goes another way.
    said = [one for one in side.link.said[-1:] if not is_recorded(RECORDED, name, one)]
    return [*wrong, *(("recorded otherwise", one.status, one.body) for one in said)]


async def test_each_command_is_the_request_that_the_api_wants(tmp_path: Path, redis_server: RedisServer) -> None:
    assert sorted(name for name, *_ in ROWS) == sorted(registry.catalogue("openfire-chat").commands)
    wrong = {}
    for row in ROWS:
        redis_server.flush()
        with Openfire(ask_timeout_s=0.2) as chat:
            chat.world.register("romeo", "juliet", "nurse")
            chat.world.befriend("romeo", "nurse")
            chat.world.befriend("juliet", "nurse")
            chat.world.groups["lovers"] = Group("lovers", "d", members=["juliet"])
            async with sides_of(tmp_path, redis_server, chat)(Options={"JoinRooms": False}) as (side,):
                if found := await wrong_of(chat, side, row):
                    wrong[row[0]] = found
    assert not wrong
