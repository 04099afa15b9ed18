"""HTTP/1.1 over a real connection, in one task: all is answered in order, and whoever misbehaves is let go."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from restbroker.serving.runner import Server
from restbroker.telemetry.events import Event

ENOUGH_S = 20
App = Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]


async def echo(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Answers with the method, the path and the body; `/unread` without reading one, `/broken` not at all."""
    if scope["type"] == "lifespan":
        for done in ("lifespan.startup.complete", "lifespan.shutdown.complete"):
            await receive()
            await send({"type": done})  # type: ignore[misc,arg-type]  # which of both is no literal
        return
    assert scope["type"] == "http"
    if scope["path"] == "/broken":
        raise ValueError("a secret text")
    body = b"" if scope["path"] == "/unread" else await read(receive)
    text = b"%s %s %s" % (scope["method"].encode(), scope["path"].encode(), body)
    headers = [(b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": text, "more_body": False})


async def read(receive: ASGIReceiveCallable) -> bytes:
    parts: list[bytes] = []
    while True:
        event = await receive()
        if event["type"] != "http.request":
            return b"".join([*parts, b"(broken off)"])
        parts.append(event["body"])
        if not event["more_body"]:
            return b"".join(parts)


@asynccontextmanager
async def served(app: App = echo, keep_alive_s: float = ENOUGH_S) -> AsyncIterator[tuple[trio.SocketStream, Server]]:
    """A connection to it."""
    events: list[Event] = []
    server = Server(
        "the test", "TestPort", "127.0.0.1", 0, app, events.append, keep_alive_s=keep_alive_s, is_plain=True
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        port = int(server.addresses[0].rpartition(":")[2])
        with trio.fail_after(ENOUGH_S):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                yield stream, server
        nursery.cancel_scope.cancel()


async def until(stream: trio.SocketStream, end: bytes) -> bytes:
    """What comes up to this."""
    received = b""
    while not received.endswith(end):
        part = await stream.receive_some()
        assert part, received
        received += part
    return received


async def rest(stream: trio.SocketStream) -> bytes:
    """What comes until the other end closes."""
    received = b""
    async for part in stream:
        received += part
    return received


async def test_one_request_after_the_other_is_answered_over_one_connection() -> None:
    async with served() as (stream, _):
        for number in range(3):
            await stream.send_all(b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" % number)
            answer = await until(stream, b"POST /%d abc" % number)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.count(b"\r\ndate: ") == 1
            assert b"connection" not in answer


async def test_requests_that_come_at_once_are_answered_in_their_order() -> None:
    async with served() as (stream, _):
        some = b"".join(b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n%d" % (n, n) for n in range(9))
        await stream.send_all(some + b"GET /end HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answered = await rest(stream)
    assert [answered.index(b"POST /%d %d" % (n, n)) for n in range(9)] == sorted(
        answered.index(b"POST /%d %d" % (n, n)) for n in range(9)
    )
    assert answered.endswith(b"GET /end ")
    assert answered.count(b"connection: close") == 1


async def test_a_body_in_chunks_that_comes_byte_by_byte_arrives() -> None:
    async with served() as (stream, _):
        sent = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        for at in range(len(sent)):
            await stream.send_all(sent[at : at + 1])
            await trio.lowlevel.checkpoint()
        assert (await until(stream, b"POST / abcde")).startswith(b"HTTP/1.1 200")


async def test_who_asks_first_whether_a_body_is_wanted_is_told_so_when_it_is() -> None:
    async with served() as (stream, _):
        head = b"POST %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        await stream.send_all(head % b"/")
        assert await until(stream, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        for part in (b"a", b"b", b"c"):
            await stream.send_all(part)
            await trio.sleep(0.01)
        assert b"Continue" not in await until(stream, b"POST / abc")
        await stream.send_all(head % b"/unread")
        # Nothing of it is wanted, and who waits would not send it: the answer is final.
        assert (await until(stream, b"POST /unread ")).startswith(b"HTTP/1.1 200")


async def test_a_question_for_the_head_alone_gets_no_body() -> None:
    async with served() as (stream, _):
        await stream.send_all(b"HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await rest(stream)
    assert answer.endswith(b"\r\n\r\n")
    assert b"content-length: 8" in answer


async def test_an_address_may_begin_with_the_servers_name() -> None:
    async with served() as (stream, _):
        for address, path in ((b"http://x:80/a", b"/a"), (b"HTTP://x", b"/"), (b"/http://x/b", b"/http://x/b")):
            await stream.send_all(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % address)
            await until(stream, b"GET %s " % path)


async def test_an_offer_of_http_2_is_declined_and_the_request_answered_with_its_body() -> None:
    async with served() as (stream, _):
        offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
        await stream.send_all(b"POST /a HTTP/1.1\r\nHost: x\r\n" + offer + b"Content-Length: 3\r\n\r\na")
        await trio.sleep(0.01)
        await stream.send_all(b"bcPOST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nd")
        answered = await until(stream, b"POST /b d")
    assert b"POST /a abc" in answered


async def test_who_sends_a_body_that_nobody_wants_gets_the_answer_before_the_end() -> None:
    async with served() as (stream, _):
        size = 3_000_000

        async def send() -> None:
            with trio.move_on_after(ENOUGH_S):
                try:
                    await stream.send_all(b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
                    await stream.send_all(b"y" * size)
                except trio.BrokenResourceError:
                    pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert b"POST /unread " in await until(stream, b"POST /unread ")
            nursery.cancel_scope.cancel()


async def test_a_small_body_that_nobody_wants_is_passed_by_and_the_connection_stays() -> None:
    async with served() as (stream, _):
        await stream.send_all(
            b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        await until(stream, b"GET /b ")


@pytest.mark.parametrize(
    ("path", "body"), [(b"/408", b"2\r\n"), (b"/413", b"2\r\n"), (b"/200", b"no chunk\r\n"), (b"/400", b"no chunk\r\n")]
)
async def test_who_is_answered_before_the_end_of_his_body_is_told_that_the_connection_ends(
    path: bytes, body: bytes
) -> None:
    async def refuse(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            return await echo(scope, receive, send)
        if scope["path"] not in ("/408", "/413"):
            assert await read(receive) == b"(broken off)"
        status = int(scope["path"][1:])
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return None

    async with served(refuse) as (stream, _):
        head = b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % path
        await stream.send_all(head + body)
        answer = await rest(stream)
        assert answer.startswith(b"HTTP/1.1 %s " % path[1:])
        assert b"connection: close\r\n" in answer


async def test_what_is_no_request_is_refused_and_ends_its_connection_alone() -> None:
    async with served() as (stream, server):
        port = int(server.addresses[0].rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as other:
            await other.send_all(b"nonsense\r\n\r\n")
            refused = await rest(other)
        assert refused.startswith(b"HTTP/1.1 501 Not Implemented\r\n")
        assert b"connection: close\r\n" in refused
        await stream.send_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(stream, b"GET /a ")


async def test_who_sends_no_whole_head_in_time_is_dropped() -> None:
    async with served(keep_alive_s=0.1) as (stream, _):
        await stream.send_all(b"GET / HTTP/1.1\r\nHo")
        assert await rest(stream) == b""


async def test_a_request_may_take_longer_than_its_head_may() -> None:
    async def slow(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http":
            await trio.sleep(0.3)
        await echo(scope, receive, send)

    async with served(slow, keep_alive_s=0.1) as (stream, _):
        await stream.send_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(stream, b"GET /a ")


async def test_who_goes_in_the_middle_of_a_body_leaves_nothing_behind() -> None:
    seen = trio.Event()

    async def watched(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            await echo(scope, receive, send)
            return
        assert await read(receive) == b"a(broken off)"
        seen.set()

    async with served(watched) as (stream, _):
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na")
        await stream.send_eof()
        await seen.wait()


async def test_a_stop_ends_connections_that_wait_at_once_and_lets_an_answer_end() -> None:
    begun, may_end = trio.Event(), trio.Event()

    async def held(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http" and scope["path"] == "/held":
            begun.set()
            await may_end.wait()
        await echo(scope, receive, send)

    events: list[Event] = []
    server = Server("the test", "TestPort", "127.0.0.1", 0, held, events.append, is_plain=True)
    async with trio.open_nursery() as serving:
        await serving.start(server.run)
        port = int(server.addresses[0].rpartition(":")[2])
        async with (
            await trio.open_tcp_stream("127.0.0.1", port) as idle,
            await trio.open_tcp_stream("127.0.0.1", port) as busy,
        ):
            await idle.send_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(idle, b"GET /a ")
            await busy.send_all(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n")
            await begun.wait()
            serving.cancel_scope.cancel()
            with trio.CancelScope(shield=True), trio.fail_after(ENOUGH_S):
                assert await rest(idle) == b""
                may_end.set()
                answered = await rest(busy)
    assert b"GET /held " in answered
    assert b"connection: close" in answered
    assert b"/next" not in answered


async def test_what_an_app_raises_ends_its_connection_and_not_the_server() -> None:
    async with served() as (stream, server):
        port = int(server.addresses[0].rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as other:
            await other.send_all(b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"secret" not in await rest(other)
        async with await trio.open_tcp_stream("127.0.0.1", port) as third:
            await third.send_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(third, b"GET /a ")
        await stream.send_all(b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(stream, b"GET /b ")


async def test_a_header_that_would_be_two_is_never_sent() -> None:
    async def forging(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            await echo(scope, receive, send)
            return
        headers = [(b"content-length", b"0"), (b"x-name", b"a\r\nSet-Cookie: b")]
        with pytest.raises(ValueError, match="line break"):
            await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": False})
        await echo(scope, receive, send)

    async with served(forging) as (stream, _):
        await stream.send_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"Set-Cookie" not in await until(stream, b"GET /a ")
