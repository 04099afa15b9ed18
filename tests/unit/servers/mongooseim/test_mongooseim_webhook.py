"""MongooseIM's event pusher: its form, what is posted again, and which message of a job comes back as an event."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.events import EventSource
from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Target, Url
from restbroker.job.command import Call, Command
from restbroker.job.outcome import Delivered, Rejected
from restbroker.servers import registry
from restbroker.servers.contract import Connector, Ports
from restbroker.servers.event_contract import HookRequest, MalformedEvent, Parties
from restbroker.servers.in_redis import SentMessagesInRedis
from restbroker.servers.mongooseim.emit import emissions, message_of
from restbroker.servers.mongooseim.webhook import PushHook, open_hook, read_form
from restbroker.transport.message import Request, Response
from tests.support.rows import rows

CAPTURED = b"author=alice&server=localhost&receiver=bob&message="


def message(written: bytes) -> str:
    return read_form(CAPTURED + written)["message"]


@rows(
    ("written", "text"),
    [
        (b"a+b", "a b"),
        (b"a%20b+c", "a b c"),
        # Both in one value, as MongooseIM 6.8 writes it.
        (b"Hi%2C+Bob%21%20%26%20Zo%C3%AB+%3C3", "Hi, Bob! & Zo\xeb <3"),
        # Nobody writes this.
        (b"%zz%C3%AB", "%zz\xeb"),
    ],
)
def test_escaped_message_is_read_with_both_forms_of_a_space(written: bytes, text: str) -> None:
    assert message(written) == text


@rows("written", [b"%C3", b"%FF+x", b"\xff, as it is"])
def test_a_message_that_is_not_utf_8_is_malformed(written: bytes) -> None:
    with pytest.raises(MalformedEvent, match="not in utf-8"):
        message(written)


@rows(
    "text",
    [
        "1 + 1 = 2",
        "100% of it, %20 too",
        "Tom & Jerry",
        "a=b & receiver=mallory",
        "x&message=y z",
        "Zo\xeb\n\u4f60\u597d",
    ],
)
def test_message_without_escapes_is_taken_as_it_is(text: str) -> None:
    fields = read_form(CAPTURED + text.encode())
    assert fields == {"author": "alice", "server": "localhost", "receiver": "bob", "message": text}


@given(st.text(), st.sampled_from([quote, quote_plus]), st.text())
def test_every_message_and_address_survives_being_escaped(text: str, escape: Callable[..., str], name: str) -> None:
    written = f"author={escape(name, safe='')}&server=s&receiver=r&message={escape(text, safe='')}&extra=1"
    fields = {"author": name, "server": "s", "receiver": "r", "message": text, "extra": "1"}
    assert read_form(written.encode()) == fields


def test_a_form_of_many_fields_is_malformed() -> None:
    with pytest.raises(MalformedEvent, match="more than 64 fields"):
        read_form(b"&" * 1_000_000)


def posted(body: bytes) -> HookRequest:
    return HookRequest("POST", "/e", b"/e", b"", {}, body)


@rows(
    ("author", "server", "sender"),
    [
        ("alice", "", "alice"),
        ("alice@b.example", "a.example", "alice@b.example"),
        ("", "a.example", "a.example"),
        ("", "", None),
    ],
)
def test_sender_has_only_what_was_sent_of_him(author: str, server: str, sender: str | None) -> None:
    body = f"author={author}&server={server}&receiver=&message=x".encode()
    event = PushHook().read(posted(body), "mim", 1.0).event
    assert (event.sender, event.receiver, event.server) == (sender, None, server or None)


@rows("name", ["author", "receiver", "message"])
def test_a_form_without_one_of_its_fields_is_malformed(name: str) -> None:
    left = b"&".join(part for part in (CAPTURED + b"secret").split(b"&") if not part.startswith(name.encode()))
    with pytest.raises(MalformedEvent, match=f"its form has no field {name}") as caught:
        PushHook().read(posted(left), "mim", 1.0)
    assert "secret" not in str(caught.value)


def test_event_refused_by_redis_answers_503_and_a_taken_one_200() -> None:
    answers = open_hook(EventSource(kind="mongooseim-webhook")).answers
    later = answers.not_now(PushHook().read(posted(CAPTURED + b"hi"), "mim", 1.0), 7)
    assert (later.status, later.headers["Retry-After"]) == (503, "7")
    assert 200 <= answers.accepted().status < 300


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
        ("stanza.sendMessage", {"from": A, "to": [B], "body": "hi"}, None),
    ]
    assert [(name, given, message) for name, given, message in rows if message_of(name, given, TARGET) != message] == []


@attrs.frozen
class Side:
    """Notes what is remembered and what is sent, in order. It is a link, and what remembers."""

    noted: list[object] = attrs.field(factory=list)

    async def remember(self, sender: str, receiver: str, body: str) -> None:
        self.noted.append((sender, receiver, body))

    async def ask(self, request: Request) -> Response:
        raise AssertionError(request)

    async def send(self, request: Request) -> Response:
        self.noted.append(request.method)
        return Response(200, {}, b'{"data":{"stanza":{"sendMessage":{"id":"1"}}}}', 0.0)

    async def task(self) -> None:
        pass


@pytest.fixture
def side() -> Side:
    return Side()


def connector(side: Side | None) -> Connector:
    return registry.open_connector(TARGET, Ports(lambda _: None, lambda: 0.0, services={SentMessagesInRedis: side}))


async def test_a_message_is_remembered_before_it_is_sent(side: Side) -> None:
    call = Call(Command("stanza.sendMessage", {"from": A, "to": B, "body": "hi"}))
    assert isinstance(await connector(side).deliver(call, side), Delivered)
    assert side.noted == [(A, B, "hi"), "POST"]


async def test_unsent_message_is_not_remembered(side: Side) -> None:
    call = Call(Command("stanza.sendMessage", {"from": A, "body": "hi"}))
    assert isinstance(await connector(side).deliver(call, side), Rejected)
    assert side.noted == []


@rows(("kind", "path"), [("mongooseim-http", "/hook"), ("mongooseim-sns", "/"), ("mongooseim-amqp", None)])
def test_what_to_check_names_the_path_of_http_alone(kind: str, path: str | None) -> None:
    """MongooseIM drops a `/`, so that the path is not what its file seems to say."""
    target = Target("one", "mongooseim", Url("http", "127.0.0.1", 1, "/api"), ("one",))
    (emitted,) = emissions(EventSource("a", kind, path=path), target, Parties("ann@x", "bob@x"), "text")
    assert ("path, which loses its first /, must make /hook" in emitted.look_at) == (path == "/hook")
