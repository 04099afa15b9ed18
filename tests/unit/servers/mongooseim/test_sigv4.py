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


def with_header(request: Request, name: str, value: str) -> Request:
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
def test_what_was_changed_or_left_out_is_refused(change: Any, fault: str) -> None:
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
