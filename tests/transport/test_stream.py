"""A stream of events is read the same however its bytes are cut, asked for with nothing but what was given, and ended.

The server is a socket that answers with given pieces; in between it waits for nothing.
"""

import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.target import Target, Url
from restbroker.transport.message import NotSent, Request
from restbroker.transport.stream import EventStream, Frame, StreamEnded, open_stream

HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=UTF-8\r\nConnection: close\r\n\r\n"
MIB: Final = 1024 * 1024


@attrs.define(eq=False)
class Server:
    """A listener that says `pieces` to each client; then it ends, or stays silent if it `stays`."""

    pieces: Sequence[bytes]
    stays: bool = False
    requests: list[bytes] = attrs.field(factory=list)

    async def serve(self, stream: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        self.requests.append(head)
        try:
            for piece in self.pieces:
                await stream.send_all(piece)
            if self.stays:
                await stream.receive_some()
        except trio.BrokenResourceError:
            pass  # the client has left


@asynccontextmanager
async def opened(server: Server, *, silence_s: float = 30.0, limit_bytes: int = MIB) -> AsyncIterator[EventStream]:
    """The stream of such a server."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, server.serve, [listener])
        port = listener.socket.getsockname()[1]
        stream = await open_stream(target(port), request(), silence_s=silence_s, limit_bytes=limit_bytes)
        try:
            yield stream
        finally:
            await stream.aclose()
            nursery.cancel_scope.cancel()


def target(port: int) -> Target:
    """One on loopback."""
    return Target("t", "openfire-chat", Url("http", "127.0.0.1", port, "/rest/api"), ("rest",), connect_timeout_s=10.0)


def request(timeout_s: float = 30.0) -> Request:
    """As the reader of events asks."""
    return Request("GET", "/sse/ann", timeout_s, headers=(("Accept", "text/event-stream"),))


async def frames(server: Server, **options: float) -> tuple[list[Frame], StreamEnded]:
    """All that comes, and why it ended."""
    found: list[Frame] = []
    async with opened(server, **options) as stream:  # type: ignore[arg-type]  # both are numbers
        while True:
            try:
                found.append(await stream.next())
            except StreamEnded as ended:
                return found, ended


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """The data in pieces."""
    ends = sorted({place % len(data) for place in places if place % len(data)})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


def written(frame: Frame) -> bytes:
    """As Openfire writes it, a heartbeat after it."""
    lines = [f"event: {frame.name}", *(f"data: {line}" for line in frame.data.split("\n"))]
    return ("\r\n".join(lines) + "\r\n\r\n\r\n").encode()


names = st.sampled_from(["chatapi.chat", "chatapi.xmpp", "chatapi.muc"])
texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\n"), max_size=30)
data = st.lists(texts, min_size=1, max_size=3).map("\n".join).filter(bool)


@given(st.lists(st.builds(Frame, names, data), max_size=5), st.lists(st.integers(0, 2000), max_size=12), st.booleans())
def test_events_are_the_same_however_their_bytes_are_cut(sent: list[Frame], places: list[int], mark: bool) -> None:
    body = (b"\xef\xbb\xbf" if mark else b"") + b"".join(map(written, sent))
    pieces = cut(HEAD + body, places)

    async def read() -> tuple[list[Frame], StreamEnded]:
        return await frames(Server(pieces))

    found, ended = trio.run(read)
    assert found == sent
    assert ended.reason == "ended"


async def test_request_has_only_the_given_headers() -> None:
    server = Server([HEAD])
    async with opened(server) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        port = server.requests[0].partition(b"Host: ")[2].partition(b"\r\n")[0]
        sent = b"\r\nAccept-Encoding: identity\r\nAccept: text/event-stream\r\n\r\n"
        assert server.requests == [b"GET /sse/ann HTTP/1.1\r\nHost: " + port + sent]


async def test_event_without_data_or_cut_off_is_none() -> None:
    server = Server([HEAD, b"event: a\r\n\r\nevent: b\r\ndata: 1\r\n\r\nevent: c\r\ndata: 2"])
    found, ended = await frames(server)
    assert found == [Frame("b", "1")]
    assert ended.reason == "ended"


async def test_silence_ends_it_and_a_heartbeat_breaks_the_silence() -> None:
    found, ended = await frames(Server([HEAD, b"\r\n", b"data: x\r\n\r\n"], stays=True), silence_s=0.2)
    assert found == [Frame("message", "x")]
    assert ended.reason == "silent"


async def test_event_beyond_the_limit_ends_it_and_is_never_whole() -> None:
    server = Server([HEAD, b"data: small\r\n\r\n", *([b"data: " + b"x" * 65_536 + b"\r\n"] * 64)], stays=True)
    found, ended = await frames(server, limit_bytes=MIB)
    assert found[0] == Frame("message", "small")
    assert ended.reason == "large"


async def test_heartbeats_of_months_are_no_large_event() -> None:
    server = Server([HEAD, *([b"\r\n" * 2000] * 20), b"data: x\r\n\r\n"])
    found, ended = await frames(server, limit_bytes=10_000)
    assert (found, ended.reason) == ([Frame("message", "x")], "ended")


async def test_response_without_events_is_reported_by_status_or_type() -> None:
    for status in (404, 302):  # a redirect is an answer, and is not followed
        server = Server([b"HTTP/1.1 %d No\r\nLocation: /login.jsp\r\nContent-Length: 5\r\n\r\nhello" % status])
        async with opened(server) as stream:
            assert (stream.status, len(server.requests)) == (status, 1)
    found, ended = await frames(Server([b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>"]))
    assert (found, ended.reason) == ([], "other")
    found, ended = await frames(Server([HEAD.replace(b"Connection: close", b"Transfer-Encoding: chunked"), b"zz\r\n"]))
    assert (found, ended.reason) == ([], "ended")


async def test_late_or_missing_answer_counts_as_an_unopened_stream() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    with pytest.raises(NotSent, match="within 100 ms") as failed:
        await open_stream(target(port), request(0.1), silence_s=30, limit_bytes=MIB)
    assert failed.value.timed_out
    await listener.aclose()
    with pytest.raises(NotSent, match="No stream from"):
        await open_stream(target(port), request(), silence_s=30, limit_bytes=MIB)


@pytest.mark.parametrize("head", [b"", HEAD.replace(b"Connection: close", b"Transfer-Encoding: chunked")])
async def test_invalid_http_is_reported_without_quoting_it(head: bytes) -> None:
    server = Server([head + b"Basic c2VzYW1lNDcxMQ==\r\n\r\n"])
    with pytest.raises(ExceptionGroup) as failed:
        async with opened(server) as stream:
            await stream.next()
    assert failed.group_contains((NotSent, StreamEnded), match="it is not HTTP")
    assert not failed.group_contains(Exception, match="c2Vz")


async def test_when_cancelled_or_left_in_the_middle_nothing_stays_open() -> None:
    server = Server([HEAD, b"data: 1\r\n\r\ndata: 2\r\n\r\n"], stays=True)
    async with opened(server) as stream:
        assert await stream.next() == Frame("message", "1")
    async with opened(server) as stream:
        for _ in range(2):
            await stream.next()
        with trio.move_on_after(0.05) as waiting:
            await stream.next()
        assert waiting.cancelled_caught
        with pytest.raises(StreamEnded):
            await stream.next()
    # A socket or a generator that is left would be found now, and a warning is an error.
    gc.collect()
