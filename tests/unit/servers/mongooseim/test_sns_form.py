"""What MongooseIM publishes becomes an event with all that was said; what is none is refused without a word of it."""

import json
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job import rubyjson
from restbroker.servers.event_contract import MalformedEvent
from restbroker.servers.mongooseim.sns.hook import error_answer, event_of, publish_answer, read_notification
from tests.support.rows import rows

ARN: Final = "arn:aws:sns:eu-west-1:123456789012:user_message_sent"
MESSAGE: Final = {"from_user_id": "ann@one.example", "to_user_id": "bob@two.example", "message": "hello"}
SPACE: Final = "{http://sns.amazonaws.com/doc/2010-03-31/}"
_TEXTS: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def posted(message: object = MESSAGE, **more: str) -> bytes:
    text = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
    fields = {"Action": "Publish", "Version": "2010-03-31", "TopicArn": ARN, "MessageStructure": "json"}
    return urlencode({**fields, "Message": text, **more}).encode()


@rows("is_there", [True, False])
def test_a_presence_has_no_text_and_says_whether_somebody_is_there(is_there: bool) -> None:
    told = {"user_id": "ann@one.example", "present": is_there}
    event = event_of(read_notification(posted(told)), "presence", "mim", 1000.5)
    assert (event.sender, event.receiver, event.body, event.server) == ("ann@one.example", None, None, "one.example")
    assert event.presence == ("available" if is_there else "unavailable")
    assert isinstance(event.raw, dict)
    assert event.raw["payload"] == told


def test_a_name_that_is_no_jid_says_nothing_of_a_host() -> None:
    event = event_of(read_notification(posted({**MESSAGE, "from_user_id": "guid-17"})), "message", "mim", 1000.5)
    assert (event.sender, event.server) == ("guid-17", None)


def test_what_a_plugin_there_adds_is_kept() -> None:
    more = {
        "MessageAttributes.entry.1.Name": "kind",
        "MessageAttributes.entry.1.Value.DataType": "String",
        "MessageAttributes.entry.1.Value.StringValue": "päm",
        "MessageAttributes.entry.2.Name": "bare",
    }
    assert read_notification(posted(**more)).attributes == {"kind": "päm", "bare": None}


@given(text=_TEXTS, sender=_TEXTS, receiver=_TEXTS)
def test_every_text_arrives_as_it_was_sent(text: str, sender: str, receiver: str) -> None:
    told = {"from_user_id": sender, "to_user_id": receiver, "message": text}
    event = event_of(read_notification(posted(told)), "message", "mim", 1000.5)
    assert (event.sender, event.receiver, event.body) == (sender, receiver, text)
    assert rubyjson.loads(rubyjson.dumps(event.raw)) == event.raw


@rows(
    "body",
    [
        b"",
        b"no form",
        b"\xff",
        b"Action=Publish",
        posted(Action="Subscribe"),
        posted(Action="publish"),
        posted(TopicArn=""),
        posted(TopicArn="user_message_sent"),
        posted(TopicArn="arn:aws:sns:eu-west-1:123456789012:"),
        posted(TopicArn="arn:aws:sns:eu-west-1:123456789012:a\nb"),
        posted(""),
        posted("hello"),
        posted("[1]"),
        posted('{"message": "a text of a user'),
        posted("[" * 200),
        posted().replace(b"hello", b"%ff"),
        b"&".join([b"a=b"] * 200),
    ],
)
def test_what_is_no_publication_is_refused_without_a_word_of_it(body: bytes) -> None:
    with pytest.raises(MalformedEvent) as caught:
        read_notification(body)
    assert "hello" not in str(caught.value)
    assert "text of a user" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@rows(
    ("kind", "message"),
    [
        ("presence", MESSAGE),
        ("message", {"user_id": "a", "present": True}),
        ("presence", {"user_id": "a", "present": "yes"}),
        ("presence", {"user_id": None, "present": True}),
        ("message", {**MESSAGE, "message": 1}),
        ("groupchat", {**MESSAGE, "to_user_id": None}),
        ("iq", MESSAGE),
    ],
)
def test_an_event_of_another_kind_than_its_topic_is_refused(kind: Any, message: object) -> None:
    with pytest.raises(MalformedEvent, match="Type of its topic"):
        event_of(read_notification(posted(message)), kind, "mim", 1000.5)


def test_a_message_that_was_taken_has_a_name() -> None:
    answer = publish_answer("name-1")
    root = ET.fromstring(answer.body)  # noqa: S314  it is ours
    assert (answer.status, answer.content_type, root.tag) == (200, "text/xml", f"{SPACE}PublishResponse")
    assert root.findtext(f"{SPACE}PublishResult/{SPACE}MessageId") == "name-1"
    assert root.findtext(f"{SPACE}ResponseMetadata/{SPACE}RequestId") == "name-1"


@given(text=st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), max_size=40))
def test_an_error_is_xml_that_erlcloud_reads_whatever_it_says(text: str) -> None:
    answer = error_answer(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", text, "name-1")
    # It takes the bytes for Latin-1.
    root = ET.fromstring(answer.body.decode("ascii"))  # noqa: S314  it is ours
    assert (answer.status, root.tag) == (503, f"{SPACE}ErrorResponse")
    said = [root.findtext(f"{SPACE}Error/{SPACE}{name}") or "" for name in ("Type", "Code", "Message")]
    assert said == ["Receiver", "ServiceUnavailable", text]
    assert root.findtext(f"{SPACE}RequestId") == "name-1"


def test_an_error_says_whose_it_is() -> None:
    assert b"<Type>Sender</Type>" in error_answer(HTTPStatus.FORBIDDEN, "SignatureDoesNotMatch", "no", "n").body
