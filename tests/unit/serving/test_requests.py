"""What one connection sends, as requests: the same in whatever pieces, and nothing that could be two things."""

import re
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.serving.requests import (
    HEAD_LIMIT_BYTES,
    PART_BYTES,
    BadRequest,
    IncomingRequest,
    RequestLines,
    Requests,
    restore_bytes,
)
from tests.support.rows import rows

JAVA = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAA\r\n"
"""What Java's client sends with each request as long as it does not know whether the server has HTTP/2."""

tokens = st.text("abcdefXYZ-", min_size=1, max_size=8).map(str.encode)
values = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12).map(str.encode)
paths = st.text("abc/%20?=&+", max_size=12).map(lambda text: b"/" + text.encode())


@st.composite
def sent(draw: st.DrawFn) -> bytes:
    """A request as a client may write it."""
    method, path = draw(st.sampled_from([b"POST", b"GET", b"PUT", b"OPTIONS", b"DELETE"])), draw(paths)
    head = b"%s %s HTTP/1.1\r\nHost: x\r\n" % (method, path)
    for name, value in draw(st.lists(st.tuples(tokens, values), max_size=3)):
        head += b"X-%s: %s\r\n" % (name, value)
    head += JAVA if draw(st.booleans()) else b""
    body = draw(st.binary(max_size=40))
    match draw(st.sampled_from(["none", "length", "chunks"])):
        case "length":
            return head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        case "chunks":
            cut = draw(st.integers(0, len(body)))
            parts = [part for part in (body[:cut], body[cut:]) if part]
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        case _:
            return head + b"\r\n"


def as_h11_reads(sent: bytes) -> list[tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]]:
    """Each request: method, address, headers, body."""
    reader, found = h11.Connection(h11.SERVER), []
    reader.receive_data(sent)
    while True:
        match reader.next_event():
            case h11.Request() as request:
                found.append((request.method, request.target, list(request.headers), b""))
            case h11.Data(data=data):
                found[-1] = (*found[-1][:3], found[-1][3] + bytes(data))
            case h11.EndOfMessage():
                reader.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
                reader.send(h11.EndOfMessage())
                reader.start_next_cycle()
            case _:
                return found


def read(pieces: list[bytes]) -> list[IncomingRequest]:
    """The requests whose head is there, once all of this was fed."""
    requests, found = Requests(), list[IncomingRequest]()
    for piece in pieces:
        requests.feed(piece)
        while (request := requests.take()) is not None:
            found.append(request)
    return found


def cut(whole: bytes, cuts: list[int]) -> list[bytes]:
    at = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    return [whole[begin:end] for begin, end in pairwise(at)]


@given(st.lists(sent(), min_size=1, max_size=4), st.lists(st.integers(0, 400), max_size=6))
def test_requests_are_what_h11_reads_in_any_pieces(all_sent: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(all_sent)
    found = read(cut(whole, cuts))
    assert all(request.is_whole and request.keeps_alive for request in found)
    mine = [(request.method.encode(), request.target, request.headers, b"".join(request.parts)) for request in found]
    assert mine == as_h11_reads(whole)


@pytest.mark.promise("Security: who can reach the ports", "to have a request answered in another's place")
@rows(
    ("sent", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET / HTTP/1.1\r\n\xff: x\r\nHost: x\r\n\r\n", 400),
        (b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 501),
        (b"GRAB / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * HEAD_LIMIT_BYTES + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * HEAD_LIMIT_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    ],
)
def test_ambiguous_request_is_refused(sent: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as refused:
        read([sent])
    assert refused.value.status == status


@rows("begin", [b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"GET / HTTP/1.1\r\nHost"])
def test_a_head_that_never_ends_is_refused_and_not_kept(begin: bytes) -> None:
    requests = Requests()
    requests.feed(begin)
    for _ in range((HEAD_LIMIT_BYTES + 2 * PART_BYTES) // 4096):
        assert requests.take() is None
        requests.feed(b"y" * 4096)
    with pytest.raises(BadRequest):
        requests.take()


@pytest.mark.promise("Security: who can reach the ports", "to have a request answered in another's place")
@rows("end", [b"0\r\nX: ", b"0\r\n" + b"X: y\r\n" * 4, b"3;", b"0"])
def test_endless_trailer_is_refused(end: bytes) -> None:
    requests = Requests()
    requests.feed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" + end)
    assert requests.take() is not None
    for _ in range((HEAD_LIMIT_BYTES + 2 * PART_BYTES) // 4096 + 1):
        requests.feed(b"0" * 4094 if end == b"0" else b"y" * 4096)
    assert requests.is_broken
    with pytest.raises(BadRequest):
        requests.take()


def test_a_body_of_any_length_in_small_chunks_is_read() -> None:
    requests, size = _chunked(), 0
    request = requests.take()
    assert request is not None
    for _ in range(100):
        requests.feed(b"1\r\na\r\n" * 10_000)
        size += sum(map(len, request.parts))
        request.parts.clear()
    requests.feed(b"0\r\n\r\n")
    assert (size, request.is_whole) == (1_000_000, True)


def _chunked() -> Requests:
    requests = Requests()
    requests.feed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    return requests


def test_request_before_nonsense_is_still_a_request() -> None:
    requests = Requests()
    requests.feed(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n")
    first = requests.take()
    assert first is not None
    assert (first.target, first.is_whole) == (b"/a", True)
    with pytest.raises(BadRequest):
        requests.take()


@pytest.mark.promise("Security: who can reach the ports", "to have a request answered in another's place")
@rows("refused", [b"POST /1 HTTP/1.1\r\n", b"POST /1 HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n"])
def test_nothing_that_follows_a_refused_request_is_one(refused: bytes) -> None:
    requests = Requests()
    head = b"Content-Length: 1\r\n\r\n"
    requests.feed(refused + head + b"1POST /2 HTTP/1.1\r\nHost: x\r\n" + head + b"2")
    requests.feed(b"POST /3 HTTP/1.1\r\nHost: x\r\n" + head + b"3")
    with pytest.raises(BadRequest):
        requests.take()


def test_any_number_of_offers_of_http_2_may_come_at_once() -> None:
    one = b"GET /a HTTP/1.1\r\nHost: x\r\n" + JAVA + b"\r\n"
    assert len(read([one * 1000, one])) == 1001


def test_a_body_that_breaks_off_into_nonsense_is_never_whole() -> None:
    requests = Requests()
    requests.feed(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n")
    request = requests.take()
    assert request is not None
    assert (list(request.parts), request.is_whole, requests.is_broken) == ([b"abc"], False, True)


@rows(
    ("head", "waits"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\na", False),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n", False),
        (b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", False),
    ],
)
def test_client_waiting_for_100_continue_is_known(head: bytes, *, waits: bool) -> None:
    (request,) = read([head])
    assert request.waits_for_continue is waits


@rows(
    ("head", "keeps"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", False),
    ],
)
def test_whether_a_connection_may_be_used_again_is_known(head: bytes, *, keeps: bool) -> None:
    (request,) = read([head])
    assert request.keeps_alive is keeps


targets = st.binary(max_size=40).map(lambda text: b"/" + re.sub(rb"[\x00-\x20\x7f<>#]", b"", text))


@given(st.lists(targets, min_size=1, max_size=3), st.lists(st.integers(0, 200), max_size=6))
def test_an_address_of_any_bytes_arrives_as_it_was_sent(all_sent: list[bytes], cuts: list[int]) -> None:
    head = b"Host: x\r\nX-Note: \xc3\xb6\r\n\r\n"
    whole, lines = b"".join(b"GET %s HTTP/1.1\r\n%s" % (target, head) for target in all_sent), RequestLines()
    found = read([lines.ascii(piece) for piece in cut(whole, cuts)])
    assert [restore_bytes(request.target) for request in found] == all_sent
    assert {dict(request.headers)[b"x-note"] for request in found} == {"ö".encode()}
    assert restore_bytes(b"/a<C3><B6>b<41><c3>") == b"/a\xc3\xb6b<41><c3>", "others are no such bytes"
