"""What MongooseIM publishes to RabbitMQ becomes an event, byte for byte as it was captured; all else is malformed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.events.amqp.options import ExchangeContent
from restbroker.events.amqp.read import LIMIT_BYTES, Message, read
from restbroker.job import rubyjson
from restbroker.job.event import ServerEvent, as_json
from restbroker.servers.event_contract import MalformedEvent
from tests.support.rows import rows

CARRIES: dict[str, ExchangeContent] = {"presence": "presence", "chat_msg": "chat", "groupchat_msg": "groupchat"}
CHAT = {"to_user_id": "bob@localhost", "from_user_id": "alice@localhost/PC", "message": "hello"}


def told(exchange: str, key: str, payload: object) -> ServerEvent:
    body = payload if isinstance(payload, bytes) else json.dumps(payload, ensure_ascii=False).encode()
    return read(Message(1, exchange, key, body, redelivered=False), CARRIES, "rabbit", 1.5)


def test_a_message_has_each_member_and_says_how_it_was_published() -> None:
    event = told("chat_msg", "bob@localhost.chat_msg_recv", CHAT)
    assert (event.type, event.sender, event.receiver) == ("message", "alice@localhost/PC", "bob@localhost")
    assert (event.id, event.body, event.room, event.server) == (None, "hello", None, "localhost")
    assert (event.source, event.received_at_s) == ("rabbit", 1.5)
    assert event.raw == {"exchange": "chat_msg", "routing_key": "bob@localhost.chat_msg_recv", "payload": CHAT}


@rows(
    ("key", "server"),
    [
        ("alice@a.example.chat_msg_sent", "a.example"),
        ("first.last@b.example.chat_msg_recv", "b.example"),
        ("someone@else.example.chat_msg_recv", None),
        ("", None),
    ],
)
def test_the_server_is_that_of_the_side_on_which_it_was_seen(key: str, server: str | None) -> None:
    payload = {"to_user_id": "first.last@b.example", "from_user_id": "Alice@a.example/PC", "message": "x"}
    assert told("chat_msg", key, payload).server == server


@rows("is_there", [True, False])
def test_a_presence_has_no_body_and_says_whether_the_user_is_there(is_there: bool) -> None:
    payload = {"user_id": "bob@localhost/PC", "present": is_there}
    event = told("presence", "bob@localhost", payload)
    assert (event.type, event.sender, event.receiver) == ("presence", "bob@localhost/PC", None)
    assert (event.body, event.server, event.presence) == (None, "localhost", "available" if is_there else "unavailable")
    assert event.raw == {"exchange": "presence", "routing_key": "bob@localhost", "payload": payload}


@rows(
    ("key", "sender", "receiver"),
    [
        ("alice@localhost.groupchat_msg_sent", "alice@localhost/PC", "room@muc.localhost"),
        ("bob@localhost.groupchat_msg_recv", "room@muc.localhost/Alice", "bob@localhost/PC"),
        ("room@muc.localhost.groupchat_msg_recv", "alice@localhost/PC", "room@muc.localhost"),
    ],
)
def test_a_message_of_a_room_names_the_room_on_each_side(key: str, sender: str, receiver: str) -> None:
    event = told("groupchat_msg", key, {"to_user_id": receiver, "from_user_id": sender, "message": "x"})
    assert (event.type, event.room) == ("groupchat", "room@muc.localhost")


def test_an_exchange_of_another_name_is_read_by_what_it_holds() -> None:
    assert told("other", "x.groupchat_msg_sent", CHAT).type == "groupchat"
    assert told("other", "x.chat_msg_sent", CHAT).type == "message"
    assert told("other", "x", {"user_id": "a@b", "present": True}).type == "presence"


@rows(
    ("exchange", "payload", "why"),
    [
        ("chat_msg", b"", "it is not JSON that Ruby can read"),
        ("chat_msg", b"\xff\xfe", "it is not JSON that Ruby can read"),
        ("chat_msg", b"[]", "it is not a JSON object"),
        ("chat_msg", {}, "its from_user_id is missing"),
        ("chat_msg", CHAT | {"message": None}, "its message is missing"),
        ("chat_msg", CHAT | {"to_user_id": 7}, "its to_user_id is no text"),
        ("presence", {"user_id": "a@b"}, "its present is neither true nor false"),
        ("presence", {"present": True}, "its user_id is missing"),
        ("chat_msg", CHAT | {"more": json.loads("[" * 96 + "]" * 96)}, "it is nested too deeply"),
        ("chat_msg", b" " * (LIMIT_BYTES + 1), "it has more than 1048576 bytes"),
    ],
)
def test_what_is_no_event_is_malformed_and_says_why_without_repeating_it(
    exchange: str, payload: object, why: str
) -> None:
    with pytest.raises(MalformedEvent, match=why):
        told(exchange, "k", payload)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_members = st.sampled_from(["user_id", "present", "from_user_id", "to_user_id", "message", "x"])


@given(
    st.sampled_from([*CARRIES, "other"]),
    st.text(max_size=30),
    st.binary(max_size=50) | st.dictionaries(_members, _values, max_size=6).map(lambda one: json.dumps(one).encode()),
)
def test_whatever_comes_is_an_event_that_ruby_can_read_or_is_malformed(exchange: str, key: str, body: bytes) -> None:
    try:
        found: Any = as_json(told(exchange, key, body))
    except MalformedEvent:
        return
    assert rubyjson.loads(rubyjson.dumps(found)) == found
