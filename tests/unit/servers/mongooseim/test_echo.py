"""Which message of a job comes back as an event, and that it is remembered before it is sent."""

from typing import Any

import attrs
import pytest
import trio

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Target, Url
from restbroker.job.command import Call, Command
from restbroker.job.outcome import Delivered, Rejected
from restbroker.servers import registry
from restbroker.servers.contract import Connector, Ports
from restbroker.servers.mongooseim.echo import message_of
from restbroker.transport.message import Request, Response

BOT = Basic("bot@localhost", Secret("p"))
TARGET = Target("mim", "mongooseim", Url("http", "localhost", 5561, "/api/graphql"), ("q",), credentials=BOT)
A, B = "alice@localhost", "bob@localhost"
TYPE = "<!DOCTYPE a [<!ENTITY b 'c'>]>"


def test_the_message_of_a_job() -> None:
    rows: list[tuple[str, dict[str, Any], object]] = [
        ("stanza.sendMessage", {"from": A, "to": B, "body": "hi"}, (A, B, "hi")),
        ("stanza.sendMessage", {"to": B, "body": "hi"}, ("bot@localhost", B, "hi")),
        ("stanza.sendMessage", {"from": A, "to": B, "body": ""}, None),
        ("stanza.sendMessageHeadLine", {"from": A, "to": B, "body": "hi"}, None),
        ("muc.sendMessageToRoom", {"from": f"{A}/x", "room": "r@muc", "body": "hi"}, (f"{A}/x", "r@muc", "hi")),
        ("muc_light.sendMessageToRoom", {"from": A, "room": "r@muclight", "body": "hi"}, (A, "r@muclight", "hi")),
        (
            "stanza.sendStanza",
            {"stanza": f"<message xmlns='jabber:client' from='{A}' to='{B}'><body>a &lt; b</body></message>"},
            (A, B, "a < b"),
        ),
        ("stanza.sendStanza", {"stanza": f"<message from='{A}' to='{B}'><x/></message>"}, None),
        ("stanza.sendStanza", {"stanza": f"<presence from='{A}' to='{B}'><body>x</body></presence>"}, None),
        ("stanza.sendStanza", {"stanza": f"<x:message from='{A}' to='{B}'/>"}, None),
        (
            "stanza.sendStanza",
            {"stanza": f"{TYPE}<message from='{A}' to='{B}'><body>b</body></message>"},
            None,
        ),
        ("stanza.sendStanza", {"stanza": f"<message from='{A}' to='{B}'><body>\ud800</body></message>"}, None),
        ("stanza.sendMessage", {"from": A, "to": B, "body": "\ud800"}, None),
        ("stanza.sendMessage", {"from": A, "to": [B], "body": "hi"}, None),
    ]
    assert [(name, given, message) for name, given, message in rows if message_of(name, given, TARGET) != message] == []


@attrs.frozen
class Side:
    """Notes what is remembered and what is sent, in order. It is a link, and what remembers."""

    noted: list[object] = attrs.field(factory=list)

    async def remember(self, sender: str, receiver: str, body: str) -> None:
        self.noted.append((sender, receiver, body))

    async def aclose(self) -> None:
        self.noted.append("closed")

    async def ask(self, request: Request) -> Response:
        raise AssertionError(request)

    async def send(self, request: Request) -> Response:
        self.noted.append(request.method)
        return Response(200, {}, b'{"data":{"stanza":{"sendMessage":{"id":"1"}}}}', 0.0)


@pytest.fixture
def side() -> Side:
    return Side()


def connector(side: Side | None) -> Connector:
    return registry.open_connector(TARGET, Ports(lambda _: None, lambda: 0.0, sent_messages=side))


async def test_a_message_is_remembered_before_it_is_sent(side: Side) -> None:
    call = Call(Command("stanza.sendMessage", {"from": A, "to": B, "body": "hi"}))
    assert isinstance(await connector(side).deliver(call, side), Delivered)
    assert side.noted == [(A, B, "hi"), "POST"]


async def test_what_is_not_sent_is_not_remembered(side: Side) -> None:
    call = Call(Command("stanza.sendMessage", {"from": A, "body": "hi"}))
    assert isinstance(await connector(side).deliver(call, side), Rejected)
    assert side.noted == []


async def test_its_connection_is_closed_with_the_pool(side: Side) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda *, task_status: connector(side).run(task_status=task_status))
        nursery.cancel_scope.cancel()
    assert side.noted == ["closed"]
