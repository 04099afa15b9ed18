"""HTTP/1.1 over a real connection, in one task: all is answered in order, and a misbehaving client is dropped."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio

from restbroker.serving.plain import HttpAnswer, HttpRequest, PlainApp
from restbroker.serving.runner import Server
from restbroker.telemetry.events import Event, OperatorWarning

ENOUGH_S = 20


async def echo(request: HttpRequest) -> HttpAnswer:
    """Answers with the method, the path and the body; `/unread` without reading one, `/broken` not at all."""
    if request.target == b"/broken":
        raise ValueError("a secret text")
    body = b"" if request.target == b"/unread" else await read(request)
    return HttpAnswer(200, b"%s %s %s" % (request.method.encode(), request.target, body))


@attrs.define
class Held:
    """Answers `/held` when it may."""

    begun: trio.Event = attrs.field(factory=trio.Event)
    may_end: trio.Event = attrs.field(factory=trio.Event)

    async def __call__(self, request: HttpRequest) -> HttpAnswer:
        if request.target == b"/held":
            self.begun.set()
            await self.may_end.wait()
        return await echo(request)


async def read(request: HttpRequest) -> bytes:
    parts: list[bytes] = []
    while part := await request.read_part():
        parts.append(part)
    return b"".join(parts if part is not None else [*parts, b"(broken off)"])


@asynccontextmanager
async def served(
    answer: Callable[[HttpRequest], Awaitable[HttpAnswer]] = echo,
    keep_alive_s: float = ENOUGH_S,
    rest_s: float = ENOUGH_S,
    most_descriptors: int = 1_000_000,
    events: list[Event] | None = None,
    *,
    reads_bodies: bool = True,
) -> AsyncIterator[tuple[trio.SocketStream, Callable[[], Awaitable[trio.SocketStream]]]]:
    """A connection to it, and what opens another one."""
    report = ([] if events is None else events).append
    app = PlainApp("the test", answer, report, reads_bodies)
    limits: dict[str, Any] = {"keep_alive_s": keep_alive_s, "rest_s": rest_s, "most_descriptors": most_descriptors}
    server = Server("the test", "TestPort", "127.0.0.1", 0, app, report, **limits)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        connect = partial(trio.open_tcp_stream, "127.0.0.1", int(server.addresses[0].rpartition(":")[2]))
        with trio.fail_after(ENOUGH_S):
            async with await connect() as stream:
                yield stream, connect
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


async def test_requests_follow_each_other_on_one_connection() -> None:
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


async def test_a_body_that_comes_with_its_head_is_there_at_once() -> None:
    """One of which a part is missing is not: it must be read."""
    found: list[bytes | None] = []
    third = trio.Event()

    async def answer(request: HttpRequest) -> HttpAnswer:
        found.append(request.body)
        if len(found) == 3:
            third.set()
        return await echo(request)

    async with served(answer) as (stream, _):
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
        chunks = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"
        await stream.send_all(head + b"abc" + chunks + head + b"a")
        await third.wait()
        end = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        await stream.send_all(b"bc" + end)
        assert (await rest(stream)).count(b"POST / abc") == 3
    assert found == [b"abc", b"abc", None, b""]


async def test_others_have_their_turn_between_requests_that_come_at_once() -> None:
    turns: list[int] = []

    async def answer(_request: HttpRequest) -> HttpAnswer:
        turns.append(-1)
        return HttpAnswer(200, b"")

    async def count() -> None:
        while True:
            turns.append(1)
            await trio.lowlevel.checkpoint()

    async with served(answer) as (stream, _), trio.open_nursery() as nursery:
        nursery.start_soon(count)
        get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        await stream.send_all(99 * get + get.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await rest(stream)
        nursery.cancel_scope.cancel()
    assert turns.count(-1) == 100
    # Trio shuffles those that run at a time.
    assert not any(turns[at] == turns[at + 1] == turns[at + 2] == -1 for at in range(len(turns) - 2))


async def test_request_for_100_continue_gets_it_when_wanted() -> None:
    async with served() as (stream, _):
        head = b"POST %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        await stream.send_all(head % b"/")
        assert await until(stream, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        for part in (b"a", b"b", b"c"):
            await stream.send_all(part)
            await trio.sleep(0.01)
        assert b"Continue" not in await until(stream, b"POST / abc")
        await stream.send_all(head % b"/unread")
        # Nothing of it is wanted, and a waiting client would not send it: the answer is final.
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


async def test_an_unwanted_body_gets_its_answer_before_its_end() -> None:
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


async def test_a_small_unwanted_body_is_passed_by() -> None:
    async with served() as (stream, _):
        await stream.send_all(b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na")
        await until(stream, b"POST /unread ")
        await stream.send_all(b"bcGET /b HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(stream, b"GET /b ")


@pytest.mark.parametrize(
    ("path", "body"), [(b"/413", b"2\r\n"), (b"/404", b"2\r\n"), (b"/200", b"no chunk\r\n"), (b"/400", b"no chunk\r\n")]
)
async def test_an_early_answer_ends_the_connection(path: bytes, body: bytes) -> None:
    async def refuse(request: HttpRequest) -> HttpAnswer:
        if request.target not in (b"/404", b"/413"):
            assert await read(request) == b"(broken off)"
        return HttpAnswer(int(request.target[1:]), b"")

    async with served(refuse) as (stream, _):
        head = b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % path
        await stream.send_all(head + body)
        answer = await rest(stream)
        assert answer.startswith(b"HTTP/1.1 %s " % path[1:])
        assert b"connection: close\r\n" in answer


async def test_invalid_request_ends_its_connection_alone() -> None:
    async with served() as (stream, connect):
        async with await connect() as other:
            await other.send_all(b"nonsense\r\n\r\n")
            refused = await rest(other)
        assert refused.startswith(b"HTTP/1.1 501 Not Implemented\r\n")
        assert b"connection: close\r\n" in refused
        await stream.send_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(stream, b"GET /a ")


async def test_client_without_whole_head_in_time_is_dropped() -> None:
    async with served(keep_alive_s=0.1) as (stream, _):
        await stream.send_all(b"GET / HTTP/1.1\r\nHo")
        assert await rest(stream) == b""


async def test_after_a_success_a_connection_rests_for_longer() -> None:
    async with served(keep_alive_s=0.1) as (stream, _):
        for part in (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",) * 2:
            await stream.send_all(part)
            await until(stream, b"POST / ")
            await trio.sleep(0.2)
        # From its first byte on, the next head has as long as the first.
        await stream.send_all(b"G")
        with trio.fail_after(5):
            assert await rest(stream) == b""


async def test_a_head_begun_behind_a_request_does_not_rest() -> None:
    async with served(keep_alive_s=0.1) as (stream, _):
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\nPO")
        with trio.fail_after(5):
            assert (await rest(stream)).endswith(b"POST / ")


@pytest.mark.parametrize("status", [401, 404, 503])
async def test_after_a_refusal_a_connection_does_not_rest(status: int) -> None:
    async def refuse(_request: HttpRequest) -> HttpAnswer:
        return HttpAnswer(status, b"no")

    async with served(refuse, keep_alive_s=0.1) as (stream, _):
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with trio.fail_after(5):
            assert (await rest(stream)).endswith(b"no")


@pytest.mark.promise("Security: who can reach the ports", "to stop deliveries with requests")
async def test_longest_idle_connection_goes_where_descriptors_end() -> None:
    """The kernel's number of a new one tells how many are open; one at work stays."""
    held = Held()
    async with served(held, most_descriptors=0) as (busy, connect):
        await busy.send_all(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
        await held.begun.wait()
        async with await connect() as first:
            await first.send_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(first, b"GET /a ")
            async with await connect() as second:
                assert await rest(first) == b""
                await second.send_all(b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
                await until(second, b"GET /b ")
                held.may_end.set()
                await until(busy, b"GET /held ")


async def test_a_request_may_take_longer_than_its_head_may() -> None:
    async def slow(request: HttpRequest) -> HttpAnswer:
        await trio.sleep(0.3)
        return await echo(request)

    async with served(slow, keep_alive_s=0.1) as (stream, _):
        await stream.send_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(stream, b"GET /a ")


async def test_client_leaving_inside_a_body_leaves_nothing_behind() -> None:
    noticed = trio.Event()

    async def watched(request: HttpRequest) -> HttpAnswer:
        assert await read(request) == b"a(broken off)"
        noticed.set()
        return HttpAnswer(400, b"")

    async with served(watched) as (stream, _):
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na")
        await stream.send_eof()
        await noticed.wait()


async def test_a_stop_lets_an_answer_end_and_no_more() -> None:
    held = Held()
    events: list[Event] = []
    app = PlainApp("the test", held, events.append)
    server = Server("the test", "TestPort", "127.0.0.1", 0, app, events.append)
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
            await held.begun.wait()
            serving.cancel_scope.cancel()
            with trio.CancelScope(shield=True), trio.fail_after(ENOUGH_S):
                assert await rest(idle) == b""
                held.may_end.set()
                answered = await rest(busy)
    assert b"GET /held " in answered
    assert b"connection: close" in answered
    assert b"/next" not in answered


async def test_exception_of_an_app_is_a_500_without_its_text(
    capfd: pytest.CaptureFixture[str],
) -> None:
    events: list[Event] = []
    async with served(events=events) as (stream, _):
        await stream.send_all(b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await until(stream, b"}\n")
        assert answer.startswith(b"HTTP/1.1 500 ")
        await stream.send_all(b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(stream, b"GET /b ")
    warned = [event for event in events if isinstance(event, OperatorWarning)]
    assert warned == [OperatorWarning("RequestFailed", "the test: failed with ValueError.", "Please report this.")]
    assert b"secret" not in answer
    assert capfd.readouterr() == ("", "")


async def test_a_header_that_would_be_two_is_never_sent() -> None:
    async def forging(_request: HttpRequest) -> HttpAnswer:
        return HttpAnswer(200, b"", ((b"x-name", b"a\r\nSet-Cookie: b"),))

    async with served(forging) as (stream, connect), await connect() as other:
        for side in (stream, other):
            await side.send_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await rest(side) == b""


@pytest.mark.promise("Security: who can reach the ports", "to have a request answered in another's place")
@pytest.mark.parametrize("reads_bodies", [True, False])
async def test_nothing_behind_a_refused_body_is_a_request(reads_bodies: bool) -> None:
    """Of many small chunks, or, where an app reads no bodies, since the bytes of this one were changed."""
    # Each byte is four then: as long as it said that it is, the body ends before this request.
    forged = b"GET " + b"\xff" * 11 + b"GET /forged HTTP/1.1\r\nHost: x\r\n\r\n"
    chunks = b"".join(b"1\r\na\r\n" for _ in range(100_000)) + b"0\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"Transfer-Encoding: chunked" if reads_bodies else b"Content-Length: %d" % len(forged)
    async with served(reads_bodies=reads_bodies) as (stream, _):
        body = chunks if reads_bodies else forged
        await stream.send_all(b"POST /unread HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n%s" % (head, body))
        received = await rest(stream)
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in received
