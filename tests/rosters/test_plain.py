"""An app of one function, on the real server: what it answers, what its failures tell, addresses with any bytes."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11
import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from restbroker.serving.connections import RequestLines, restore_bytes
from restbroker.serving.plain import Answer, Request, error_answer, plain_app
from restbroker.serving.runner import Server
from restbroker.telemetry.events import Event, OperatorWarning

HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x0d\x01\x05\0\0\0\x01\x82\x86\x04\x06/quick\x01\x01x"
WEBSOCKET = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def echo(asked: Request) -> Answer:
    match asked.target:
        case b"/broken?key=4711":
            raise ValueError("a secret text")
        case b"/closing":
            return error_answer(405, "No", "Not so.", "Otherwise.", (b"allow", b"GET"), closing=True)
        case target:
            return Answer(200, target.hex().encode() + asked.header(b"x-note"))


@asynccontextmanager
async def served(events: list[Event], *, reads_bodies: bool = False) -> AsyncIterator[int]:
    """The port."""
    app = plain_app("the test", echo, events.append)
    note = events.append
    server = Server("the test", "TestPort", "127.0.0.1", 0, app, note, reads_bodies=reads_bodies, is_plain=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        yield int(server.addresses[0].rpartition(":")[2])
        nursery.cancel_scope.cancel()


async def exchanged(port: int, sent: bytes) -> bytes:
    """All that comes until the other end closes, or nothing more comes for a while."""
    received = b""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(sent)
        with trio.move_on_after(5):
            async for part in stream:
                received += part
    return received


async def test_the_address_comes_as_it_was_sent_and_the_answer_as_it_was_given() -> None:
    events: list[Event] = []
    async with served(events) as port:
        target = b"/j\xc3\xb6rg%41+&?a?b"
        received = await exchanged(
            port, b"GET %s HTTP/1.1\r\nX-Note: n\r\nHost: x\r\nConnection: close\r\n\r\n" % target
        )
        async with httpx.AsyncClient(trust_env=False) as client:
            head = await client.head(f"http://127.0.0.1:{port}/")
    first, _, body = received.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200")
    assert body == target.hex().encode() + b"n"
    assert (head.content, head.headers["content-length"], head.headers["cache-control"]) == (b"", "2", "no-store")
    assert [event for event in events if isinstance(event, OperatorWarning)] == []


async def test_a_failure_answers_500_and_tells_its_kind_and_nothing_of_the_request(
    capfd: pytest.CaptureFixture[str],
) -> None:
    events: list[Event] = []
    async with served(events) as port, httpx.AsyncClient(trust_env=False) as client:
        broken = await client.get(f"http://127.0.0.1:{port}/broken?key=4711")
        assert (await client.get(f"http://127.0.0.1:{port}/")).status_code == 200
    assert (broken.status_code, broken.json()["error"]["code"]) == (500, "Bug")
    warned = [event for event in events if isinstance(event, OperatorWarning)]
    assert warned == [OperatorWarning("RequestFailed", "the test: failed with ValueError.", "Please report this.")]
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow  # clients that send too slowly
async def test_whatever_a_client_sends_is_answered_and_serving_goes_on() -> None:
    statuses = {
        b"POST /closing HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nj\xc3\xb6rg\nGET": b"405",
        WEBSOCKET: b"200",
        HTTP2 + b"\0\0\0\x07\0\0\0\0\0": b"400",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n": b"200",
        b"GET / HTTP/1.1\r\n\xff: x\r\n\r\n": b"400",
    }
    async with served([]) as port, httpx.AsyncClient(trust_env=False) as client:
        for sent, status in statuses.items():
            assert (await exchanged(port, sent)).startswith(b"HTTP/1.1 " + status), sent
            assert (await client.get(f"http://127.0.0.1:{port}/x")).content == b"2f78"


@pytest.mark.promise("Security: who can reach the ports", "to have a request answered in another's place")
async def test_nothing_behind_a_body_is_a_request_since_its_bytes_were_changed() -> None:
    forged = b"GET \xff\xff\xff\xff" + b"GET /forged HTTP/1.1\r\nHost: x\r\n\r\n"
    chunks = b"".join(b"1\r\na\r\n" for _ in range(100_000)) + b"0\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n"
    for head, body, reads_bodies in (
        (b"Content-Length: %d" % len(forged), forged, False),
        (b"Transfer-Encoding: chunked", chunks, True),
    ):
        async with served([], reads_bodies=reads_bodies) as port:
            received = await exchanged(port, b"POST /own HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n%s" % (head, body))
        assert received.count(b"HTTP/1.1 ") == 1, head
        assert b"connection: close" in received, head


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
