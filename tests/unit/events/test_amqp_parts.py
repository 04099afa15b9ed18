"""Addresses of RabbitMQ, what is said where it refuses something, and the job that stands for what is no event."""

import base64
import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.events import EventSource, Route
from restbroker.config.secret import Secret
from restbroker.config.urls import BadUrl
from restbroker.events.amqp.address import Address, address
from restbroker.events.amqp.dead_messages import dead_job
from restbroker.events.amqp.options import Exchange, Options, Server
from restbroker.events.amqp.read import LIMIT_BYTES, Message
from restbroker.events.amqp.topology import DeclareExchange, DeclareQueue, Login, Step, refusal
from restbroker.job import redact
from tests.support.rows import rows

SOURCE = EventSource("rabbit", "mongooseim-amqp", None, "events", "XmppEvent")
CHAT = Exchange("chat_msg", "chat", ("#.chat_msg_recv",))
SETTINGS = Options(Server(Secret("amqp://x:y@h")), (CHAT,), "restbroker.rabbit")


@rows(
    ("text", "found"),
    [
        ("amqp://u:p@h", Address(is_tls=False, host="h", port=5672, vhost="/", user="u", password="p")),
        ("amqp://u:p@h/", Address(is_tls=False, host="h", port=5672, vhost="/", user="u", password="p")),
        ("amqps://u:p@h/v", Address(is_tls=True, host="h", port=5671, vhost="v", user="u", password="p")),
        ("amqp://h:1/%2F", Address(is_tls=False, host="h", port=1, vhost="/", user="guest", password="guest")),
        ("amqp://u:%40%2F@[::1]:2/x%2Fy", Address(is_tls=False, host="::1", port=2, vhost="x/y", user="u", password="@/")),  # noqa: E501
        ("amqp://u:@h", Address(is_tls=False, host="h", port=5672, vhost="/", user="u", password="")),
    ],
)  # fmt: skip
def test_an_address_is_read(text: str, found: Address) -> None:
    assert address(text) == found


@rows(
    "text",
    [
        "", "h", "http://u:secret@h", "amqp://", "amqp://u:secret@", "amqp://secret@h", "amqp://u:secret@h:0",
        "amqp://u:secret@h:x", "amqp://u:secret@h/a/b", "amqp://u:secret@h?heartbeat=5", "amqp://u:secret@h#x",
        "amqp://u:sec ret@h", "amqp://u:secret%00@h", "amqp://u:se/cret@h", "amqp://u:secret@[::1",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_used_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(BadUrl) as caught:
        address(text)
    assert "secret" not in str(caught.value)


@given(st.text(min_size=1, max_size=20))
def test_no_form_of_an_address_shows_its_password(password: str) -> None:
    found = Address(is_tls=True, host="h", port=1, vhost="/", user="u", password=f"<{password}>")
    assert f"<{password}>" not in f"{found} {found!r}"


@rows(
    ("step", "code", "found", "says"),
    [
        (Login("amqp://h:1", "u", "/"), 403, "RabbitMQDenied", "refuses the login of the user u"),
        (Login("amqp://h:1", "u", "v"), 530, "RabbitMQDenied", "virtual host v"),
        (Login("amqp://h:1", "u", "v"), 320, "RabbitMQAway", "320 said"),
        (DeclareExchange(CHAT), 404, "RabbitMQDiffers", "The exchange chat_msg is missing"),
        (DeclareExchange(CHAT), 406, "RabbitMQDiffers", "MongooseIM would not start"),
        (DeclareExchange(CHAT), 403, "RabbitMQDenied", "permission configure for chat_msg"),
        (DeclareQueue(SETTINGS), 406, "RabbitMQDiffers", "creates and binds it again"),
        (DeclareQueue(SETTINGS), 405, "RabbitMQDiffers", "restbroker.rabbit"),
        (DeclareQueue(SETTINGS), 404, "RabbitMQDiffers", "creates and binds it again"),
        (DeclareQueue(SETTINGS), 403, "RabbitMQDenied", "configure, write and read for restbroker.rabbit"),
    ],
)
def test_each_refusal_says_what_to_change(step: Step, code: int, found: str, says: str) -> None:
    trouble = refusal(step, code, "said")
    assert trouble.code == found
    assert says in str(trouble)


def test_a_queue_of_another_type_is_told_apart_from_a_channel_that_was_silent_for_too_long() -> None:
    differs = refusal(DeclareQueue(SETTINGS), 406, "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue")
    assert "Its type has to be quorum" in differs.hint
    silent = refusal(
        DeclareQueue(SETTINGS), 406, "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out"
    )
    assert "restbroker creates and binds it again" in silent.hint


def job(body: bytes) -> dict[str, Any]:
    message = Message(1, "chat_msg", "k", body, redelivered=False)
    found: dict[str, Any] = json.loads(dead_job(message, SOURCE, "0" * 24, "it is not a JSON object", 1.5))
    return found


def test_what_is_no_event_is_a_job_of_the_source_that_failed() -> None:
    found = job(b"[]")
    assert (found["class"], found["queue"], found["jid"], found["retry"]) == ("XmppEvent", "events", "0" * 24, True)
    assert (found["error_class"], found["failed_at"], found["retry_count"]) == ("MalformedEvent", 1.5, 0)
    assert found["error_message"] == "RabbitMQ delivered something that is not an event: it is not a JSON object."
    (argument,) = found["args"]
    assert argument["raw"] == {"exchange": "chat_msg", "routing_key": "k", "text": "[]"}
    assert (argument["type"], argument["source"]) == (None, "rabbit")


def test_what_is_no_event_goes_to_the_first_route_where_a_source_has_only_routes() -> None:
    routed = attrs.evolve(SOURCE, queue="", job_class="", routes=(Route("chats", "Chat"), Route("others", "Other")))
    found = json.loads(dead_job(Message(1, "e", "k", b"[]", redelivered=False), routed, "j", "x", 1.0))
    assert (found["class"], found["queue"]) == ("Chat", "chats")


@given(st.binary(max_size=100))
def test_the_bytes_of_what_is_no_event_can_be_had_back(body: bytes) -> None:
    (argument,) = job(body)["args"]
    raw = argument["raw"]
    assert ("text" in raw) is (raw.get("base64") is None)
    assert (raw["text"].encode() if "text" in raw else base64.b64decode(raw["base64"])) == body


def test_of_what_is_too_large_the_beginning_is_kept_and_how_long_it_was() -> None:
    (argument,) = job(b"x" * (LIMIT_BYTES + 5))["args"]
    assert argument["raw"]["size"] == LIMIT_BYTES + 5
    assert len(argument["raw"]["text"]) == LIMIT_BYTES


def test_the_text_of_what_is_no_event_is_not_shown() -> None:
    shown = redact.job(json.loads(dead_job(Message(1, "e", "k", b"a text", redelivered=False), SOURCE, "j", "x", 1.0)))
    assert "a text" not in json.dumps(shown)
