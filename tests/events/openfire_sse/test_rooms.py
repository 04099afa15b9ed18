"""A user's stream, and no answer of the Chat API, shows that he is out of a room, so that he joins before a post."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from restbroker.job.json_types import Json
from restbroker.job.outcome import Rejected
from restbroker.servers.openfire.stream.stanza import read_stanza
from tests.events.openfire_sse.conftest import Read, Reading
from tests.servers.openfire_sides import Open, sides_of
from tests.support.openfire_chat.server import Openfire
from tests.support.openfire_chat.state import Room
from tests.support.redis_server import RedisServer
from tests.support.rows import rows
from tests.support.wait import until_async

KEY: Final = "restbroker:room:chat:balcony@conference"
IN: Final[Mapping[str, Json]] = {"from": "Ann", "roomName": "balcony"}
MUC: Final = "http://jabber.org/protocol/muc"
ROOM, ANN = "balcony@conference.example.org", "ann@example.org/ann-17"


def says(body: str) -> Mapping[str, Json]:
    return {**IN, "body": body}


@pytest.fixture
def room(openfire: Openfire) -> Room:
    return openfire.state.open_room("balcony")


@pytest.fixture
def sides(tmp_path: Path, redis_server: RedisServer, openfire: Openfire, room: Room) -> Open:
    del room
    return sides_of(tmp_path, redis_server, openfire.url)


def joins(openfire: Openfire) -> int:
    return sum(request.method == "PUT" and "/rooms/" in request.path for request in openfire.requests)


async def is_out(reader: Reading, user: str = "ann") -> None:
    await until_async(lambda: reader.store.command("HGET", KEY, user) == b"out *", "it is noted", 60)


async def test_user_removed_by_others_joins_before_his_next_post(
    reading: Read, openfire: Openfire, sides: Open, room: Room
) -> None:
    async with reading("ann") as reader, sides() as (side,):
        await side.done("post_to_room", says("before"))
        with openfire.state.lock:
            openfire.state.expel(room, "ann", "307")
        await is_out(reader)
        await side.done("post_to_room", says("after"))
        await side.done("post_to_room", says("and more"))
    assert room.words == ["before", "after", "and more"]
    assert joins(openfire) == 2


async def test_job_of_a_kicked_user_says_so_where_joins_are_manual(
    reading: Read, openfire: Openfire, sides: Open, room: Room
) -> None:
    async with reading("ann") as reader, sides(Options={"JoinRooms": False}) as (side,):
        await side.done("join_room", IN)
        with openfire.state.lock:
            openfire.state.expel(room, "ann", "307")
        await is_out(reader)
        outcome = await side.call("post_to_room", says("kicked"))
        assert isinstance(outcome, Rejected)
        assert outcome.reason.code == "NotInRoom"
        await side.done("join_room", IN)
        await side.done("post_to_room", says("back"))
    assert room.words == ["back"]


async def test_user_kicked_under_another_name_is_not_taken_for_oneself(
    reading: Read, openfire: Openfire, sides: Open, room: Room
) -> None:
    async with reading("ann", "bob") as reader, sides() as (side,):
        await side.done("post_to_room", says("one"))
        await side.done("post_to_room", {**says("two"), "from": "bob"})
        with openfire.state.lock:
            openfire.state.expel(room, "bob", "307")
        await is_out(reader, "bob")
        await side.done("join_room", IN)
        await side.done("post_to_room", says("three"))
    assert room.words == ["one", "two", "three"]
    # Each once, and the job that joins in any case: a leaving of one's own will says nothing.
    assert joins(openfire) == 3


def presence(inner: str, sender: str = f"{ROOM}/ann", receiver: str = ANN, kind: str = "unavailable") -> str:
    return f'<presence from="{sender}" to="{receiver}" type="{kind}"><x xmlns="{MUC}#user">{inner}</x></presence>'


def sent_back(code: str, sender: str = ROOM) -> str:
    error = f'<error code="{code}" type="modify"><why xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>'
    return f'<message from="{sender}" to="{ANN}" type="error"><body>Hm</body>{error}</message>'


KICK: Final = '<item role="none"/><status code="307"/>'


@rows(
    ("xml", "room"),
    [
        (presence(KICK), "balcony@conference"),
        (presence(KICK, f"{ROOM}/ANN", "Ann@EXAMPLE.org/ann-17"), "balcony@conference"),
        (presence('<item jid="ann@example.org/ann-17"/><status code="301"/>', f"{ROOM}/Lady"), "balcony@conference"),
        (presence('<item role="none"/><destroy jid="x@y"/>'), "balcony@conference"),
        (presence('<status code="110"/><status code="332"/>'), "balcony@conference"),
        (presence('<item role="none"/><status code="321"/>'), "balcony@conference"),
        (presence('<item role="none"/><status code="322"/>'), "balcony@conference"),
        (sent_back("406"), "balcony@conference"),
        # He leaves by himself, or enters; another user is kicked, also by another connection of his.
        (presence('<item role="none"/>'), None),
        (presence('<status code="110"/>'), None),
        (presence(KICK, kind="error"), None),
        (presence(KICK, f"{ROOM}/bob"), None),
        (presence('<item jid="ann@example.org/phone"/><status code="307"/>', f"{ROOM}/Lady"), None),
        # He has no voice there, and a private message found nobody.
        (sent_back("403"), None),
        (sent_back("406", f"{ROOM}/bob"), None),
        # A user elsewhere, or one here, who speaks as if he were a room.
        (presence(KICK, "balcony@conference.elsewhere.example/ann"), None),
        (presence(KICK, "bob@example.org/ann"), None),
        (presence(KICK, "conference.example.org/ann"), None),
    ],
)
def test_stanza_removes_its_receiver_from_our_room_or_nothing(xml: str, room: str | None) -> None:
    stanza = read_stanza(base64.b64encode(xml.encode()).decode())
    assert stanza is not None
    assert stanza.expels == room
