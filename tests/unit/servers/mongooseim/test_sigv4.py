"""What AWS' own library signed is taken; whatever else was changed, left out or made up is not."""

import string
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.servers.mongooseim.sns.sigv4 import (
    ALGORITHM,
    ExpectedSignature,
    Request,
    SignatureError,
    check_head,
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
) -> Request:
    headers = signed_headers(url, body, method=method, at_s=at_s, **more)
    path, _, query = url.removeprefix(f"https://{HOST}").partition("?")
    return Request(method, path.encode(), query.encode(), encoded(headers), body)


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def replaced(request: Request, name: str, old: str, new: str) -> Request:
    headers = [
        (key, value.replace(old.encode(), new.encode()) if key.decode().lower() == name else value)
        for key, value in request.headers
    ]
    assert headers != list(request.headers)
    return attrs.evolve(request, headers=headers)


def without(request: Request, name: str) -> Request:
    return attrs.evolve(request, headers=[pair for pair in request.headers if pair[0].decode().lower() != name])


def refusal(request: Request, key: bytes = KEY, expected: ExpectedSignature = EXPECTED) -> str:
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
    segments = [one for one in path if one not in {".", ".."}]
    url = f"https://{HOST}/{'/'.join(segments)}" + (f"?{query}" if query else "")
    request = made(url, body, method, headers=headers, region=region, secret=secret)
    verify(request, secret.encode(), EXPECTED, NOW_S)


def test_what_mongooseim_signs_is_taken() -> None:
    # It signs no other headers than these three, and sends the type beside them.
    headers = signed_headers(f"https://{HOST}/", BODY, at_s=NOW_S, erlcloud=True)
    assert "SignedHeaders=host;x-amz-content-sha256;x-amz-date," in headers["Authorization"]
    request = Request("POST", b"/", b"", encoded(headers), BODY)
    verify(request, KEY, EXPECTED, NOW_S)


@pytest.mark.promise("Security: who can reach the ports", "to have an event taken that MongooseIM did not publish")
@given(at=st.integers(0, len(BODY) - 1), bit=st.integers(0, 7))
def test_each_bit_of_the_body_counts(at: int, bit: int) -> None:
    changed = bytearray(BODY)
    changed[at] ^= 1 << bit
    assert refusal(attrs.evolve(made(), body=bytes(changed))) == "SignatureDoesNotMatch"


@rows(
    "change",
    [
        lambda one: attrs.evolve(one, method="PUT"),
        lambda one: attrs.evolve(one, path=b"/other"),
        lambda one: attrs.evolve(one, query=b"a=b"),
        lambda one: attrs.evolve(one, body=one.body + b"x"),
        lambda one: attrs.evolve(one, body=b""),
        lambda one: replaced(one, "host", "gw.example", "other.example"),
        lambda one: replaced(one, "authorization", "us-east-1", "eu-west-1"),
        lambda one: replaced(one, "authorization", "sns", "sqs"),
        lambda one: replaced(one, "x-amz-date", "Z", "Z, 20261120T090649Z"),
        lambda one: attrs.evolve(one, headers=[*one.headers, (b"host", b"other.example")]),
        lambda one: without(one, "host"),
        lambda one: attrs.evolve(one, headers=[*one.headers, (b"X-Amz-Content-SHA256", b"UNSIGNED-PAYLOAD")]),
        lambda one: attrs.evolve(one, headers=[*one.headers, (b"x-amz-content-sha256", b"0" * 64)]),
        lambda one: replaced(one, "authorization", "host;", "host;x-more;"),
        lambda one: replaced(one, "authorization", "/20261120/", "/20261119/"),
        lambda _: made(service="s3"),
    ],
)
def test_what_was_changed_on_the_way_is_not_taken(change: Any) -> None:
    assert refusal(change(made())) in {"SignatureDoesNotMatch", "IncompleteSignature"}


@rows(
    ("secret", "name", "fault"),
    [
        (SECRET[:-1], NAME, "SignatureDoesNotMatch"),
        ("", NAME, "SignatureDoesNotMatch"),
        (SECRET, NAME[:-1], "InvalidClientTokenId"),
        (SECRET, "", "InvalidClientTokenId"),
        (SECRET, "ключ", "InvalidClientTokenId"),
    ],
)
def test_a_request_that_is_signed_with_another_key_is_not_taken(secret: str, name: str, fault: str) -> None:
    assert refusal(made(), secret.encode(), attrs.evolve(EXPECTED, key_name=name)) == fault


@pytest.mark.promise("Security: who can reach the ports", "to have an event taken that MongooseIM did not publish")
@rows(("ago_s", "is_taken"), [(-901, False), (-899, True), (0, True), (899, True), (901, False)])
def test_an_old_signature_does_not_count_nor_one_of_the_future(ago_s: float, is_taken: bool) -> None:
    request = made(at_s=NOW_S - ago_s)
    if is_taken:
        verify(request, KEY, EXPECTED, NOW_S)
    else:
        assert refusal(request) == "SignatureDoesNotMatch"


@rows(
    ("given_", "fault"),
    [
        ("", "MissingAuthenticationToken"),
        ("Basic YTpi", "MissingAuthenticationToken"),
        (ALGORITHM, "IncompleteSignature"),
        (f"{ALGORITHM} Credential=a/b/c", "IncompleteSignature"),
        (f"{ALGORITHM} ,,,=,", "IncompleteSignature"),
    ],
)
def test_a_request_without_a_whole_signature_is_told_so(given_: str, fault: str) -> None:
    headers = [*without(made(), "authorization").headers, (b"Authorization", given_.encode())]
    assert refusal(attrs.evolve(made(), headers=headers)) == fault


@rows("name", ["host", "x-amz-date"])
def test_a_signature_that_leaves_out_the_host_or_the_time_does_not_count(name: str) -> None:
    request = made()
    listed = f";{name}" if f";{name}".encode() in dict(request.headers)[b"Authorization"] else f"{name};"
    assert refusal(replaced(request, "authorization", listed, "")) == "IncompleteSignature"


@rows("moment", ["", "now", "20261332T250000Z", "20261120T090649", "٢0261120T090649Z"])
def test_a_time_that_is_none_does_not_count(moment: str) -> None:
    headers = [*without(made(), "x-amz-date").headers, (b"x-amz-date", moment.encode())]
    assert refusal(attrs.evolve(made(), headers=headers)) == "IncompleteSignature"


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
def test_nothing_that_is_sent_is_taken_by_chance_or_breaks_anything(
    authorization: bytes, moment: bytes, path: bytes, query: bytes
) -> None:
    headers = [(b"host", b"x"), (b"authorization", authorization), (b"x-amz-date", moment)]
    assert refusal(Request("POST", path, query, headers, BODY))


def test_no_text_of_a_user_is_in_what_is_printed() -> None:
    assert "Message" not in repr(made())


@rows(
    ("name", "ago_s", "fault"),
    [
        (NAME, 0, None),
        (NAME, 901, "SignatureDoesNotMatch"),
        ("AKIAOTHER", 0, "InvalidClientTokenId"),
        (None, 0, "MissingAuthenticationToken"),
    ],
)
def test_the_head_alone_shows_most_of_what_is_wrong(name: str | None, ago_s: float, fault: str | None) -> None:
    request = made(at_s=NOW_S - ago_s, name=name or NAME)
    headers = request.headers if name else without(request, "authorization").headers
    if fault is None:
        check_head(headers, EXPECTED, NOW_S)
        return
    with pytest.raises(SignatureError) as caught:
        check_head(headers, EXPECTED, NOW_S)
    assert caught.value.fault == fault
