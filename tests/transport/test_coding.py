"""Answers that come encoded, though that was not requested, are read; what cannot be read is named."""

import gzip
import time
import zlib

import pytest

from restbroker.transport.http1 import decode
from restbroker.transport.message import TRUNCATED, Request
from restbroker.transport.room import SHARE_BYTES
from tests.support import recorder
from tests.support.rows import rows
from tests.transport.test_client import pair

LIMIT = 10_000
TEXT = '{"text": "Grüße"}'.encode() * 20


def bare(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


WHOLE = (
    ("gzip", gzip.compress(TEXT)),
    ("GZip", gzip.compress(TEXT)),
    ("x-gzip", gzip.compress(TEXT)),
    ("gzip", gzip.compress(TEXT[:50]) + gzip.compress(b"") + gzip.compress(TEXT[50:])),
    ("gzip", gzip.compress(TEXT) + b"\0" * 9),
    ("deflate", zlib.compress(TEXT)),
    ("deflate", zlib.compress(TEXT, 0)),
    ("deflate", bare(TEXT)),
    ("deflate, gzip", gzip.compress(zlib.compress(TEXT))),
    ("gzip,,identity, gzip", gzip.compress(gzip.compress(TEXT))),
    ("identity", TEXT),
    (" ", TEXT),
    ("gzip", TEXT),
    ("br", TEXT),
    ("gzip, gzip", gzip.compress(TEXT)),
)


@rows(("coding", "sent"), WHOLE)
def test_a_body_is_decoded(coding: str, sent: bytes) -> None:
    assert decode(coding, sent, LIMIT, SHARE_BYTES, cut=False) == (TEXT, None)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, deflate"])
def test_no_body_is_none_in_any_coding(coding: str) -> None:
    assert decode(coding, b"", LIMIT, SHARE_BYTES, cut=False) == (b"", None)


def test_an_encoded_body_of_nothing_is_nothing() -> None:
    assert decode("gzip", gzip.compress(b""), LIMIT, SHARE_BYTES, cut=False) == (b"", None)
    assert decode("deflate", bare(b""), LIMIT, SHARE_BYTES, cut=False) == (b"", None)


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, br", "x" * 5000, "gzip, gzip, gzip, gzip"])
def test_another_coding_is_named_in_the_bodys_place(coding: str) -> None:
    body, note = decode(coding, gzip.compress(TEXT), LIMIT, SHARE_BYTES, cut=False)
    assert body.startswith(f"(not shown: encoded as {coding[:60]}".encode())
    assert note == TRUNCATED
    assert len(body) < 200


@rows(("coding", "sent"), [("gzip", b"\x1f\x8b"), ("deflate", b"\xff" * 9), ("gzip", zlib.compress(TEXT))])
def test_a_body_that_is_not_what_it_is_named_is_named_so(coding: str, sent: bytes) -> None:
    body, note = decode(coding, sent, LIMIT, SHARE_BYTES, cut=False)
    assert body == f"(not shown: named as {coding}, but it cannot be decoded)".encode()
    assert note == TRUNCATED


@rows(("coding", "sent"), [("gzip", gzip.compress(TEXT)), ("deflate", zlib.compress(TEXT)), ("deflate", bare(TEXT))])
def test_truncated_body_is_shown_as_far_as_it_came_and_is_cut(coding: str, sent: bytes) -> None:
    body, note = decode(coding, sent[:-5], LIMIT, SHARE_BYTES, cut=False)
    assert TEXT.startswith(body)
    assert note == TRUNCATED
    assert decode(coding, sent, LIMIT, SHARE_BYTES, cut=True) == (TEXT, TRUNCATED)


def test_a_limit_is_of_the_decoded_body() -> None:
    for sent in (gzip.compress(b"x" * LIMIT), gzip.compress(b"x" * 99) + gzip.compress(b"x" * (LIMIT - 99))):
        assert decode("gzip", sent, LIMIT, SHARE_BYTES, cut=False) == (b"x" * LIMIT, None)
        assert decode("gzip", sent, LIMIT - 1, SHARE_BYTES, cut=False) == (b"x" * (LIMIT - 1), TRUNCATED)


@pytest.mark.promise("Security: who controls a server's answers", "to use up memory or time")
def test_a_bomb_is_cut_in_time() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000, 1)
    began_s = time.process_time()
    for coding, sent in (("gzip", bomb), ("gzip, gzip", gzip.compress(bomb)), ("gzip", gzip.compress(b"") * 10_000)):
        body, _ = decode(coding, sent, 8_000_000, SHARE_BYTES, cut=False)
        assert len(body) <= 8_000_000
    assert time.process_time() - began_s < 2


def chunked(body: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(body[at : at + 7]), body[at : at + 7]) for at in range(0, len(body), 7))


@pytest.mark.parametrize("engine", ["lean", "httpx"])
async def test_both_engines_ask_for_no_coding_and_read_what_comes(engine: str) -> None:
    packed = gzip.compress(TEXT)
    sized = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(packed), packed)
    in_chunks = b"content-encoding: GZIP\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(packed) + b"0\r\n\r\n"
    twice = gzip.compress(zlib.compress(TEXT))
    twice = b"Content-Encoding: deflate\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(twice), twice)
    async with pair(engine=engine) as (transport, server):
        for rest in (sized, in_chunks, twice):
            server.script.append(recorder.raw(b"HTTP/1.1 200 OK\r\n" + rest, keep=True))
            answer = await transport.send(Request("POST", "/", 30.0))
            assert (answer.body, answer.note) == (TEXT, None)
        server.script.append(recorder.raw(b"HTTP/1.1 200 OK\r\n" + sized.replace(b"gzip", b"br", 1), keep=True))
        answer = await transport.send(Request("POST", "/", 30.0))
        assert (b"encoded as br" in answer.body, answer.note) == (True, TRUNCATED)
        server.script.append(recorder.raw(b"HTTP/1.1 204 No Content\r\nContent-Encoding: gzip\r\n\r\n", keep=True))
        assert (await transport.send(Request("POST", "/", 30.0))).body == b""
        server.script.append(
            recorder.raw(b"HTTP/1.1 200 OK\r\n" + sized.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", keep=True)
        )
        assert (await transport.send(Request("HEAD", "/", 30.0))).body == b""
        server.script.append(recorder.raw(b"HTTP/1.1 200 OK\r\n" + sized, keep=True))
        cut = await transport.send(Request("POST", "/", 30.0, body_limit_bytes=60))
        assert TEXT.startswith(cut.body)
        assert (len(cut.body) <= 60, cut.note) == (True, TRUNCATED)
        await transport.send(Request("POST", "/", 30.0, headers=(("accept-encoding", "gzip"),)))
    sent = [request.head.lower().count(b"accept-encoding: identity") for request in server.requests]
    assert sent == [1] * 7 + [0]
