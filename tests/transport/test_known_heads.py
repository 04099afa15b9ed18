"""Heads that are known but for the headers that differ: read as a parser reads them, whatever a server sends."""

import re
from itertools import product
from pathlib import Path

import pytest

import restbroker
from restbroker.transport import http1
from restbroker.transport.http1 import Headers, KnownHeads, PlainAnswer, Rest

START = b"HTTP/1.1 200 OK\r\nServer: s\r\nX-Id: %b\r\nContent-Length: 1\r\n\r\n0"
HOSTILE = {
    "a bare CR": b"X-Id: 1\rContent-Length: 9",
    "a bare LF": b"X-Id: 1\nContent-Length: 9",
    "a bare LF that completes a bare CR": b"A: 1\r\r\nX-Id: 1\nB: 2",
    "a bare CR before it": b"A: 1\r\r\nX-Id: 1",
    "a bare CR behind it": b"X-Id: 1\r\r\nA: 1",
    "a NUL": b"X-Id: a\0b",
    "control characters": b"X-Id: \x01\x0b\x7f",
    "a folded line": b"X-Id: 1\r\n Content-Length: 9",
    "a folded line of another header": b"A: 1\r\n X-Id: 2",
    "a folded line behind it": b"A: 1\r\nX-Id: 1\r\n\tmore",
    "it stands behind a folded line": b"A: 1\r\n more\r\nX-Id: 1",
    "a blank before the colon": b"X-Id : 1",
    "no colon": b"X-Id",
    "twice": b"X-Id: 1\r\nX-Id: 2",
    "twice, in other letters": b"X-Id: 1\r\nx-ID: 2",
    "empty": b"X-Id:",
    "blanks around": b"X-Id: \t a b \t ",
    "other bytes": "X-Id: ä".encode("latin-1"),
    "absent": b"A: 1",
    "another length": b"X-Id: 1\r\nContent-Length: 9",
    "chunks": b"X-Id: 1\r\nTransfer-Encoding: chunked",
    "chunks of another coding": b"X-Id: 1\r\nTransfer-Encoding: gzip, chunked",
    "an encoded body": b"X-Id: 1\r\nContent-Encoding: gzip",
    "a last answer": b"X-Id: 1\r\nConnection: close",
    "another protocol": b"X-Id: 1\r\nConnection: upgrade\r\nUpgrade: h2c",
    "two answers": b"X-Id: 1\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nX-Id: 2",
    "very long": b"X-Id: " + b"x" * http1.HEAD_LIMIT_BYTES,
}
"""What may stand where the header that differs is expected."""
BEFORE = {"an empty line": b"\r\n", "a header": b"X-Id: 1\r\n", "both": b"\r\nX-Id: 1\r\n"}
"""What may stand before the status."""


def learned() -> KnownHeads:
    """Return what knows a head, and that one of its headers differs."""
    heads = KnownHeads()
    for number in range(3):
        heads.read(START % b"%d" % number)
    return heads


def parsed(answer: bytes) -> PlainAnswer | Rest:
    """Return what comes of it where nothing is known."""
    return KnownHeads().read(answer)


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One element for each answer that is parsed."""
    found: list[int] = []
    reader = http1.AnswerReader

    def counted(limit_bytes: int) -> http1.AnswerReader:
        found.append(limit_bytes)
        return reader(limit_bytes)

    monkeypatch.setattr(http1, "AnswerReader", counted)
    return found


def test_a_head_that_differs_in_an_id_is_not_parsed_again(parses: list[int]) -> None:
    heads = learned()
    before = len(parses)
    for number in range(1000):
        lines = Headers([(b"Server", b"s"), (b"X-Id", b"id-%d" % number), (b"Content-Length", b"1")])
        assert heads.read(START % b"id-%d" % number) == (200, lines, b"0")
    assert len(parses) == before <= 2


def test_several_headers_that_differ_are_learned(parses: list[int]) -> None:
    heads = KnownHeads()
    for number in range(100):
        lines = b"".join(b"X-%d: %d\r\n" % (which, number) for which in range(10))
        heads.read(b"HTTP/1.1 200 OK\r\nDate: %d\r\n%bContent-Length: 0\r\n\r\n" % (number, lines))
    assert len(parses) == 2


@pytest.mark.parametrize("lines", HOSTILE.values(), ids=HOSTILE)
def test_header_that_differs_hides_nothing(lines: bytes) -> None:
    """The other answers are known, and all without what looks like a line of this header."""
    answers = [START.replace(b"X-Id: %b", b"%b") % other for other in HOSTILE.values()]
    answer = START.replace(b"X-Id: %b", b"%b") % lines
    heads = learned()
    for other in [re.sub(rb"\r\nX-Id:[^\r\n]*", b"", other) for other in answers] + answers:
        if other != answer:
            heads.read(other)
    for known in (heads, learned()):
        for _ in range(2):
            assert known.read(answer) == parsed(answer)


@pytest.mark.parametrize(("before", "place"), list(product(BEFORE.values(), (b"A: 1\r\n", b""))))
def test_nothing_is_left_out_before_the_status(before: bytes, place: bytes) -> None:
    heads, start = learned(), START % b"1"
    heads.read(b"\r\n" + start)
    for answer in (before + start, before + place + start):
        assert heads.read(answer) == parsed(answer)


FRAMES = [
    ("Content-Length", "1", "2"), ("content-length", "1", "0"), ("Connection", "keep-alive", "close"),
    ("Transfer-Encoding", "chunked", "identity"), ("Content-Encoding", "gzip", "identity"), ("Trailer", "A", "B"),
    ("Proxy-Connection", "keep-alive", "close"), ("Upgrade", "a", "b"), ("Content-Type", "text/plain", "text/html"),
    ("Retry-After", "1", "2"), ("WWW-Authenticate", "Basic", "Digest"), ("Location", "/a", "/b"),
    ("Set-Cookie", "a=1", "a=2"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "other"), FRAMES, ids=[name for name, _, _ in FRAMES])
def test_header_that_frames_or_is_used_is_never_left_out(name: str, value: str, other: str) -> None:
    heads = learned()
    for _ in range(2):
        for given_value, number in product((value, other), range(3)):
            length = "" if "length" in name.lower() else "Content-Length: 1\r\n"
            head = f"HTTP/1.1 200 OK\r\n{name}: {given_value}\r\nX-Id: {number}\r\n{length}\r\n"
            answer = head.encode() + b"0"
            assert heads.read(answer) == parsed(answer)
    assert name.encode() not in heads._differing  # noqa: SLF001 - also where its values make no difference yet


def test_what_is_used_of_answers_is_known_to_be_compared() -> None:
    texts = [path.read_text(encoding="utf-8") for path in Path(restbroker.__file__).parent.rglob("*.py")]
    used = re.compile(r'response\.headers\.get\("([a-z-]+)"|"([a-z-]+)" in response\.headers(?!\.)')
    names = {(found[1] or found[2]).encode() for text in texts for found in used.finditer(text)}
    assert {b"content-type", b"location", b"retry-after"} <= names <= http1._ALWAYS_COMPARED  # noqa: SLF001


def test_names_that_never_come_again_do_not_pile_up() -> None:
    heads = KnownHeads()
    for number in range(1000):
        for value in (b"1", b"2"):
            heads.read(b"HTTP/1.1 200 OK\r\nX-%d: %b\r\nContent-Length: 0\r\n\r\n" % (number, value))
    assert len(heads._differing) <= 16  # noqa: SLF001 - a bound that nothing else shows
    assert len(heads._shapes) <= 64  # noqa: SLF001
