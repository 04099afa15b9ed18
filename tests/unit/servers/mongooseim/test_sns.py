"""What MongooseIM publishes as to SNS: what AWS' own library signed is taken, and becomes an event with all it says."""

import json
import string
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode
from xml.etree import ElementTree as ET

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job import rubyjson
from restbroker.servers.event_contract import MalformedEvent
from restbroker.servers.mongooseim.sns.hook import error_answer, event_of, publish_answer, read_notification
from restbroker.servers.mongooseim.sns.sigv4 import (
    ALGORITHM,
    ExpectedSignature,
    SignatureError,
    SignedRequest,
    verify,
)
from tests.support.aws_signing import NAME, SECRET, signed_headers
from tests.support.rows import rows

NOW_S: Final = 1_795_165_609.25
EXPECTED: Final = ExpectedSignature(NAME, "sns", 900.0)
KEY: Final = SECRET.encode()
BODY: Final = b"Action=Publish&Message=%7B%7D"
HOST: Final = "gw.example:8443"

_WORDS: Final = st.text(string.ascii_letters + string.digits + "-_.~!*'()/+= ", min_size=1, max_size=20)
_NAMES: Final = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=12).map("X-Own-".__add__)
_QUERIES: Final = st.lists(st.tuples(_WORDS, _WORDS), max_size=4).map(
    lambda pairs: "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
)


def made(
    url: str = f"https://{HOST}/", body: bytes = BODY, method: str = "POST", at_s: float = NOW_S, **more: Any
) -> SignedRequest:
    headers = signed_headers(url, body, method=method, at_s=at_s, **more)
    path, _, query = url.removeprefix(f"https://{HOST}").partition("?")
    return SignedRequest(method, path.encode(), query.encode(), encoded(headers), body)


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def replaced(request: SignedRequest, name: str, old: str, new: str) -> SignedRequest:
    headers = [
        (key, value.replace(old.encode(), new.encode()) if key.decode().lower() == name else value)
        for key, value in request.headers
    ]
    assert headers != list(request.headers)
    return attrs.evolve(request, headers=headers)


def without(request: SignedRequest, name: str) -> SignedRequest:
    return attrs.evolve(request, headers=[pair for pair in request.headers if pair[0].decode().lower() != name])


def refusal(request: SignedRequest, key: bytes = KEY, expected: ExpectedSignature = EXPECTED) -> str:
    with pytest.raises(SignatureError) as caught:
        verify(request, key, expected, NOW_S)
    return caught.value.fault


@given(
    body=st.binary(max_size=200),
    path=st.lists(st.text(string.ascii_letters + string.digits + "-_.~%", min_size=1, max_size=8), max_size=3),
    query=_QUERIES,
    headers=st.dictionaries(_NAMES, _WORDS, max_size=3),
    region=st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=12),
    secret=st.text(string.printable.strip(), min_size=1, max_size=60),
    method=st.sampled_from(["POST", "GET", "PUT"]),
)
def test_whatever_aws_own_library_signs_is_taken(
    body: bytes, path: list[str], query: str, headers: dict[str, str], region: str, secret: str, method: str
) -> None:
    segments = [char for char in path if char not in {".", ".."}]
    url = f"https://{HOST}/{'/'.join(segments)}" + (f"?{query}" if query else "")
    request = made(url, body, method, headers=headers, region=region, secret=secret)
    verify(request, secret.encode(), EXPECTED, NOW_S)


@pytest.mark.promise("Security: who can reach the ports", "to have an event taken that MongooseIM did not publish")
@given(at=st.integers(0, len(BODY) - 1), bit=st.integers(0, 7))
def test_each_bit_of_the_body_counts(at: int, bit: int) -> None:
    changed = bytearray(BODY)
    changed[at] ^= 1 << bit
    assert refusal(attrs.evolve(made(), body=bytes(changed))) == "SignatureDoesNotMatch"


def with_header(request: SignedRequest, name: str, value: str) -> SignedRequest:
    """With this header alone of its name."""
    return attrs.evolve(request, headers=[*without(request, name).headers, (name.encode(), value.encode())])


CHANGED = "SignatureDoesNotMatch"
PARTIAL = "IncompleteSignature"


@rows(
    ("change", "fault"),
    [
        (lambda one: attrs.evolve(one, method="PUT"), CHANGED),
        (lambda one: attrs.evolve(one, path=b"/other"), CHANGED),
        (lambda one: attrs.evolve(one, query=b"a=b"), CHANGED),
        (lambda one: attrs.evolve(one, body=b""), CHANGED),
        (lambda one: replaced(one, "host", "gw.example", "other.example"), CHANGED),
        (lambda one: replaced(one, "authorization", "us-east-1", "eu-west-1"), CHANGED),
        (lambda one: replaced(one, "authorization", "sns", "sqs"), CHANGED),
        (lambda one: replaced(one, "authorization", "/20261120/", "/20261119/"), CHANGED),
        (lambda _: made(service="s3"), CHANGED),
        (lambda one: replaced(one, "x-amz-date", "Z", "Z, 20261120T090649Z"), PARTIAL),
        (lambda one: attrs.evolve(one, headers=[*one.headers, (b"host", b"other.example")]), CHANGED),
        (lambda one: without(one, "host"), CHANGED),
        (lambda one: attrs.evolve(one, headers=[*one.headers, (b"x-amz-content-sha256", b"0" * 64)]), CHANGED),
        (lambda one: replaced(one, "authorization", "host;", "host;x-more;"), CHANGED),
        (lambda one: replaced(one, "authorization", "host;", ""), PARTIAL),
        (lambda one: replaced(one, "authorization", ";x-amz-date", ""), PARTIAL),
        (lambda one: with_header(one, "authorization", ""), "MissingAuthenticationToken"),
        (lambda one: with_header(one, "authorization", "Basic YTpi"), "MissingAuthenticationToken"),
        (lambda one: with_header(one, "authorization", f"{ALGORITHM} Credential=a/b/c"), PARTIAL),
        (lambda one: with_header(one, "authorization", f"{ALGORITHM} ,,,=,"), PARTIAL),
        (lambda one: with_header(one, "x-amz-date", "20261332T250000Z"), PARTIAL),
        (lambda one: with_header(one, "x-amz-date", "20261120T090649"), PARTIAL),
        (lambda one: with_header(one, "x-amz-date", "٢0261120T090649Z"), PARTIAL),
    ],
)
def test_changed_or_incomplete_publication_is_refused(change: Any, fault: str) -> None:
    assert refusal(change(made())) == fault


def test_a_signature_with_another_key_is_refused() -> None:
    assert [refusal(made(), key) for key in (KEY[:-1], b"")] == [CHANGED] * 2
    for name in (NAME[:-1], "", "ключ"):
        assert refusal(made(), KEY, attrs.evolve(EXPECTED, key_name=name)) == "InvalidClientTokenId"


@pytest.mark.promise("Security: who can reach the ports", "to have an event taken that MongooseIM did not publish")
@rows(("ago_s", "is_taken"), [(-901, False), (-899, True), (0, True), (899, True), (901, False)])
def test_an_old_signature_does_not_count_nor_one_of_the_future(ago_s: float, is_taken: bool) -> None:
    request = made(at_s=NOW_S - ago_s)
    if is_taken:
        verify(request, KEY, EXPECTED, NOW_S)
    else:
        assert refusal(request) == "SignatureDoesNotMatch"


@given(
    authorization=st.one_of(
        st.binary(max_size=80),
        st.binary(max_size=80).map(
            f"{ALGORITHM} Credential={NAME}/20261120/us-east-1/sns/aws4_request,".encode().__add__
        ),
    ),
    moment=st.binary(max_size=20),
    path=st.binary(max_size=20),
    query=st.binary(max_size=20),
)
def test_no_random_input_is_taken_or_breaks_anything(
    authorization: bytes, moment: bytes, path: bytes, query: bytes
) -> None:
    headers = [(b"host", b"x"), (b"authorization", authorization), (b"x-amz-date", moment)]
    assert refusal(SignedRequest("POST", path, query, headers, BODY))


ARN: Final = "arn:aws:sns:eu-west-1:123456789012:user_message_sent"
MESSAGE: Final = {"from_user_id": "ann@one.example", "to_user_id": "bob@two.example", "message": "hello"}
SPACE: Final = "{http://sns.amazonaws.com/doc/2010-03-31/}"
_TEXTS: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def posted(message: object = MESSAGE, **more: str) -> bytes:
    text = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
    fields = {"Action": "Publish", "Version": "2010-03-31", "TopicArn": ARN, "MessageStructure": "json"}
    return urlencode({**fields, "Message": text, **more}).encode()


def test_a_name_that_is_no_jid_says_nothing_of_a_host() -> None:
    event = event_of(read_notification(posted({**MESSAGE, "from_user_id": "guid-17"})), "message", "mim", 1000.5)
    assert (event.sender, event.server) == ("guid-17", None)


def test_additions_of_a_plugin_are_kept() -> None:
    more = {
        "MessageAttributes.entry.1.Name": "kind",
        "MessageAttributes.entry.1.Value.DataType": "String",
        "MessageAttributes.entry.1.Value.StringValue": "päm",
        "MessageAttributes.entry.2.Name": "bare",
    }
    assert read_notification(posted(**more)).attributes == {"kind": "päm", "bare": None}


@given(text=_TEXTS, sender=_TEXTS, receiver=_TEXTS)
def test_every_text_arrives_as_it_was_sent(text: str, sender: str, receiver: str) -> None:
    message = {"from_user_id": sender, "to_user_id": receiver, "message": text}
    event = event_of(read_notification(posted(message)), "message", "mim", 1000.5)
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
def test_invalid_publication_is_refused_without_quoting_it(body: bytes) -> None:
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
