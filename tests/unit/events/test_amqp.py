"""What MongooseIM publishes to RabbitMQ becomes an event and its job; what is said where RabbitMQ refuses something."""

import base64
import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.events import EventSource, Route
from restbroker.config.urls import BadUrl
from restbroker.events.amqp.connection import Message, refusal
from restbroker.events.amqp.options import ExchangeContent, RabbitAddress, address
from restbroker.events.amqp.reader import LIMIT_BYTES, dead_job, read
from restbroker.job import redact, rubyjson
from restbroker.job.event import ServerEvent, as_json
from restbroker.servers.event_contract import MalformedEvent
from tests.support.rows import rows

CARRIES: dict[str, ExchangeContent] = {"presence": "presence", "chat_msg": "chat", "groupchat_msg": "groupchat"}
CHAT = {"to_user_id": "bob@localhost", "from_user_id": "alice@localhost/PC", "message": "hello"}


def event_of(exchange: str, key: str, payload: object) -> ServerEvent:
    body = payload if isinstance(payload, bytes) else json.dumps(payload, ensure_ascii=False).encode()
    return read(Message(1, exchange, key, body, redelivered=False), CARRIES, "rabbit", 1.5)


def test_a_message_has_each_member_and_says_how_it_was_published() -> None:
    event = event_of("chat_msg", "bob@localhost.chat_msg_recv", CHAT)
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
def test_server_is_the_one_on_whose_side_it_was_observed(key: str, server: str | None) -> None:
    payload = {"to_user_id": "first.last@b.example", "from_user_id": "Alice@a.example/PC", "message": "x"}
    assert event_of("chat_msg", key, payload).server == server


@rows("is_there", [True, False])
def test_a_presence_says_whether_the_user_is_there(is_there: bool) -> None:
    payload = {"user_id": "bob@localhost/PC", "present": is_there}
    event = event_of("presence", "bob@localhost", payload)
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
    event = event_of("groupchat_msg", key, {"to_user_id": receiver, "from_user_id": sender, "message": "x"})
    assert (event.type, event.room) == ("groupchat", "room@muc.localhost")


def test_an_exchange_of_another_name_is_read_by_what_it_holds() -> None:
    assert event_of("other", "x.groupchat_msg_sent", CHAT).type == "groupchat"
    assert event_of("other", "x.chat_msg_sent", CHAT).type == "message"
    assert event_of("other", "x", {"user_id": "a@b", "present": True}).type == "presence"


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
def test_payload_that_is_no_event_is_malformed_with_a_reason(exchange: str, payload: object, why: str) -> None:
    with pytest.raises(MalformedEvent, match=why):
        event_of(exchange, "k", payload)


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
def test_whatever_comes_is_readable_for_ruby_or_malformed(exchange: str, key: str, body: bytes) -> None:
    try:
        found: Any = as_json(event_of(exchange, key, body))
    except MalformedEvent:
        return
    assert rubyjson.loads(rubyjson.dumps(found)) == found


SOURCE = EventSource("rabbit", "mongooseim-amqp", None, "events", "XmppEvent")


@rows(
    ("text", "found"),
    [
        ("amqp://u:p@h", RabbitAddress(is_tls=False, host="h", port=5672, vhost="/", user="u", password="p")),
        ("amqp://u:p@h/", RabbitAddress(is_tls=False, host="h", port=5672, vhost="/", user="u", password="p")),
        ("amqps://u:p@h/v", RabbitAddress(is_tls=True, host="h", port=5671, vhost="v", user="u", password="p")),
        ("amqp://h:1/%2F", RabbitAddress(is_tls=False, host="h", port=1, vhost="/", user="guest", password="guest")),
        ("amqp://u:%40%2F@[::1]:2/x%2Fy", RabbitAddress(is_tls=False, host="::1", port=2, vhost="x/y", user="u", password="@/")),  # noqa: E501
        ("amqp://u:@h", RabbitAddress(is_tls=False, host="h", port=5672, vhost="/", user="u", password="")),
    ],
)  # fmt: skip
def test_an_address_is_read(text: str, found: RabbitAddress) -> None:
    assert address(text) == found


@rows(
    "text",
    [
        "", "h", "http://u:secret@h", "amqp://", "amqp://u:secret@", "amqp://secret@h", "amqp://u:secret@h:0",
        "amqp://u:secret@h:x", "amqp://u:secret@h/a/b", "amqp://u:secret@h?heartbeat=5", "amqp://u:secret@h#x",
        "amqp://u:sec ret@h", "amqp://u:secret%00@h", "amqp://u:se/cret@h", "amqp://u:secret@[::1",
    ],
)  # fmt: skip
def test_an_unusable_address_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(BadUrl) as caught:
        address(text)
    assert "secret" not in str(caught.value)


@given(st.text(min_size=1, max_size=20))
def test_no_form_of_an_address_shows_its_password(password: str) -> None:
    found = RabbitAddress(is_tls=True, host="h", port=1, vhost="/", user="u", password=f"<{password}>")
    assert f"<{password}>" not in f"{found} {found!r}"


@rows(
    ("code", "found", "hint"),
    [
        (403, "RabbitMQDenied", "Check the user and the password"),
        (404, "RabbitMQDiffers", "Start MongooseIM"),
        (405, "RabbitMQDiffers", "Type and Durable"),
        (406, "RabbitMQDiffers", "Type and Durable"),
        (530, "RabbitMQDenied", "rabbitmqctl add_vhost"),
        (320, "RabbitMQAway", "restbroker tries again"),
    ],
)
def test_a_refusal_quotes_rabbitmq_and_says_what_to_change(code: int, found: str, hint: str) -> None:
    problem = refusal("amqp://h:1", code, "IN_ITS - own words.")
    assert problem.message == f"restbroker cannot read from RabbitMQ at amqp://h:1: {code} IN_ITS - own words."
    assert problem.code == found
    assert hint in problem.hint


def job(body: bytes) -> dict[str, Any]:
    message = Message(1, "chat_msg", "k", body, redelivered=False)
    found: dict[str, Any] = json.loads(dead_job(message, SOURCE, "0" * 24, "it is not a JSON object", 1.5))
    return found


def test_malformed_event_is_a_failed_job_of_its_source() -> None:
    found = job(b"[]")
    assert (found["class"], found["queue"], found["jid"], found["retry"]) == ("XmppEvent", "events", "0" * 24, True)
    assert (found["error_class"], found["failed_at"], found["retry_count"]) == ("MalformedEvent", 1.5, 0)
    assert found["error_message"] == "RabbitMQ delivered something that is not an event: it is not a JSON object."
    (argument,) = found["args"]
    assert argument["raw"] == {"exchange": "chat_msg", "routing_key": "k", "text": "[]"}
    assert (argument["type"], argument["source"]) == (None, "rabbit")


def test_malformed_event_goes_to_the_first_route() -> None:
    routed = attrs.evolve(SOURCE, queue="", job_class="", routes=(Route("chats", "Chat"), Route("others", "Other")))
    found = json.loads(dead_job(Message(1, "e", "k", b"[]", redelivered=False), routed, "j", "x", 1.0))
    assert (found["class"], found["queue"]) == ("Chat", "chats")


@given(st.binary(max_size=100))
def test_the_bytes_of_what_is_no_event_can_be_had_back(body: bytes) -> None:
    (argument,) = job(body)["args"]
    raw = argument["raw"]
    assert ("text" in raw) is (raw.get("base64") is None)
    assert (raw["text"].encode() if "text" in raw else base64.b64decode(raw["base64"])) == body


def test_too_large_payload_keeps_its_beginning() -> None:
    (argument,) = job(b"x" * (LIMIT_BYTES + 5))["args"]
    assert argument["raw"]["size"] == LIMIT_BYTES + 5
    assert len(argument["raw"]["text"]) == LIMIT_BYTES


def test_the_text_of_what_is_no_event_is_not_shown() -> None:
    shown = redact.job(json.loads(dead_job(Message(1, "e", "k", b"a text", redelivered=False), SOURCE, "j", "x", 1.0)))
    assert "a text" not in json.dumps(shown)
