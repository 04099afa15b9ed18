"""Addresses with any bytes come through a reader of requests that takes ASCII only."""

import re

import h11
from hypothesis import given
from hypothesis import strategies as st

from restbroker.serving.lines import RequestLines, restore_bytes

HEAD = b"Host: x\r\nX-Note: \xc3\xb6\r\n\r\n"
targets = st.binary(max_size=40).map(lambda text: b"/" + re.sub(rb"[\x00-\x20\x7f<>]", b"", text))


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.lists(targets, min_size=1, max_size=3), st.lists(st.integers(0, 200), max_size=6))
def test_each_address_arrives_as_it_was_sent_whatever_pieces_it_comes_in(sent: list[bytes], cuts: list[int]) -> None:
    lines, reader = RequestLines(), h11.Connection(h11.SERVER)
    data = b"".join(b"GET %s HTTP/1.1\r\n%s" % (target, HEAD) for target in sent)
    for piece in pieces(data, cuts):
        if found := lines.ascii(piece):
            reader.receive_data(found)
    for target in sent:
        request = reader.next_event()
        assert isinstance(request, h11.Request)
        assert restore_bytes(request.target) == target
        assert dict(request.headers)[b"x-note"] == "ö".encode()
        assert isinstance(reader.next_event(), h11.EndOfMessage)
        reader.send(h11.Response(status_code=204, headers=[]))
        reader.send(h11.EndOfMessage())
        reader.start_next_cycle()


@given(st.lists(targets, min_size=1, max_size=3), st.lists(st.integers(0, 200), max_size=6))
def test_what_is_ascii_stays_as_it_is(sent: list[bytes], cuts: list[int]) -> None:
    data = b"".join(b"\r\nGET %s HTTP/1.1\r\n%s" % (ascii(target).encode(), HEAD) for target in sent)
    lines = RequestLines()
    assert b"".join(map(lines.ascii, pieces(data, cuts))) == data


def test_what_is_no_http_1_stays_as_it_is() -> None:
    data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\xff"
    lines = RequestLines()
    assert lines.ascii(data) + lines.ascii(b"\xff\r\n") == data + b"\xff\r\n"


def test_a_stand_in_that_a_client_writes_itself_is_only_such_a_byte() -> None:
    assert restore_bytes(b"/a<C3><B6>b<41><c3>") == b"/a\xc3\xb6b<41><c3>"
