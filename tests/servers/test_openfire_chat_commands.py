"""Every command of Openfire's Chat API becomes the request that the plugin's source wants, which the stand-in takes."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import pytest
import trio

from restbroker.assembly.logins import LoginsInRedis
from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Target, Url
from restbroker.connectors import registry
from restbroker.connectors.contract import Ports
from restbroker.connectors.openfire_chat.options import Settings
from restbroker.rules.command import Call, Command
from restbroker.rules.json_types import Json
from restbroker.rules.outcome import Delivered, Rejected
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.transport.client import open_transport
from restbroker.transport.message import Request, Response, Transport
from tests.support.openfire.server import Openfire
from tests.support.redis_server import RedisServer

ROWS = [
    line.split("\t")
    for line in Path(__file__).with_name("openfire_chat_commands.tsv").read_text("utf-8").splitlines()
    if not line.startswith("#")
]
BASE = "/rest/api/restapi/v1"
KNOWN = registry.catalogue("openfire-chat")
IN_ROOMS = {"join_room", "post_to_room", "invite_contact_to_room"}
ROOM: Mapping[str, Json] = {"roomName": "balcony", "naturalName": "Balcony", "description": "b", "persistent": True}


class Direct:
    """A link that sends at once."""

    def __init__(self, http: Transport) -> None:
        self.http = http

    async def ask(self, request: Request) -> Response:
        return await self.http.send(request)

    send = ask


@pytest.fixture
def chat() -> Iterator[Openfire]:
    with Openfire(ask_timeout_s=0.2) as server:
        server.world.register("romeo", "juliet")
        yield server


def test_every_command_of_the_catalogue_is_here() -> None:
    assert sorted(name for name, *_ in ROWS) == sorted(KNOWN.commands)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
async def test_each_command_is_the_request_that_the_api_wants(
    row: list[str], chat: Openfire, redis_server: RedisServer
) -> None:
    name, given, line, kind, body = [*row, "", ""][:5]
    url = Url("http", "127.0.0.1", chat.chat_port, "/rest/api")
    login = Basic("admin", Secret("secret"))
    target = Target("chat", "openfire-chat", url, ("chat",), login, default_host="example.org", options=Settings())
    target = attrs.evolve(target, options=Settings(joins=False))
    http = open_transport(target)
    book = LoginsInRedis(
        "chat", lambda: Connection(open_client(StoreSettings(f"redis://127.0.0.1:{redis_server.port}")))
    )
    connector = registry.open_connector(target, Ports(lambda _: None, lambda: 0.0, http, logins=book))
    with trio.fail_after(30):
        if name != "create_room":  # of an unknown room, much is a 500 (measured)
            await connector.deliver(Call(Command("create_room", ROOM)), Direct(http))
            chat.asked.clear()
        outcome = await connector.deliver(Call(Command(name, json.loads(given))), Direct(http))
        await http.aclose()
        await book.aclose()
    before = ("/admin/restbroker", "/sse/juliet", *(() if name == "chat_login" else ("/login",)))
    # Whether the room is there is asked first.
    asked = next(
        one for one in chat.asked if not (one.path.endswith(before) or (name in IN_ROOMS and one.method == "GET"))
    )
    stream = next(iter(chat.world.streams), "") or asked.path.removeprefix(f"{BASE}/chat/").partition("/")[0]
    is_done = isinstance(outcome, Delivered)
    target_of = asked.target.removeprefix(BASE)
    if "STREAM" in line:
        target_of = target_of.replace(stream, "STREAM", 1)
    assert f"{asked.method} {target_of}" == line
    assert (asked.content_type, asked.body.decode()) == (kind, body)
    assert asked.accept.startswith("application/json")
    # 400, 404 and 409 are about what is there; anything else would be about the request.
    assert is_done or (isinstance(outcome, Rejected) and outcome.reason.status in (400, 404, 409)), outcome
