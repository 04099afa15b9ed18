"""What the transport promises, proved for both engines against a server that records and misbehaves."""

import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import attrs
import h11
import httpcore
import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.target import Engine, Target, Url
from restbroker.transport.client import open_transport
from restbroker.transport.http1 import check
from restbroker.transport.message import TRUNCATED, MaybeSent, NotSent, Request, Transport
from tests.support import recorder
from tests.support.recorder import Recorder, recording
from tests.support.rows import rows
from tests.support.wait import until_async
from tests.transport.senders import Sender

MIB = 1024 * 1024
CHOSEN: dict[str, Engine] = {"engine": "lean"}


@pytest.fixture(params=["lean", "httpx"], autouse=True)
def _engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHOSEN, "engine", request.param)


def target(port: int, **changes: object) -> Target:
    """A target on loopback."""
    made = Target(
        "t",
        "ejabberd",
        Url("http", "127.0.0.1", port),
        ("rest",),
        concurrency=2,
        connect_timeout_s=10.0,
        engine=CHOSEN["engine"],
    )
    return attrs.evolve(made, **changes)  # type: ignore[arg-type]  # the tests name real fields


def post(path: str = "/api/status", body: bytes = b"{}", timeout_s: float = 30.0, **changes: object) -> Request:
    """A request as connectors make it."""
    made = Request("POST", path, timeout_s, headers=(("Content-Type", "application/json"),), body=body)
    return attrs.evolve(made, **changes)  # type: ignore[arg-type]  # the tests name real fields


@asynccontextmanager
async def pair(**changes: object) -> AsyncIterator[tuple[Transport, Recorder]]:
    """A transport and the server that it talks to."""
    async with recording() as server:
        transport = open_transport(target(server.port, **changes))
        try:
            yield transport, server
        finally:
            await transport.aclose()


async def all_closed(server: Recorder) -> None:
    with trio.fail_after(20):
        await server.all_closed.wait()


async def test_request_is_sent_byte_for_byte_as_given() -> None:
    async with pair(host_header="example.org") as (transport, server):
        response = await transport.send(post("/api/register", b'{"user":"john"}'))
    assert (response.status, response.body, response.note) == (200, b"0", None)
    assert response.headers["content-length"] == "1"
    assert server.requests[0].body == b'{"user":"john"}'
    assert server.requests[0].head == (
        b"POST /api/register HTTP/1.1\r\nHost: example.org\r\nAccept-Encoding: identity\r\n"
        b"Content-Type: application/json\r\nContent-Length: 15"
    )


async def test_host_length_path_and_query_are_sent_as_they_are_meant() -> None:
    async with pair(host_header="example.org") as (transport, server):
        await transport.send(post(headers=(("host", "other.example"),)))
        await transport.send(post("/api/a%2Fb", b"", query=(("x", "1 2"), ("y", "é"))))
    own, other = server.requests
    assert own.headers == {"host": "other.example", "accept-encoding": "identity", "content-length": "2"}
    assert (other.headers["host"], other.headers["content-length"]) == ("example.org", "0")
    assert other.line in (
        "POST /api/a%2Fb?x=1+2&y=%C3%A9 HTTP/1.1",
        "POST /api/a%2Fb?x=1%202&y=%C3%A9 HTTP/1.1",
    )
    async with pair() as (transport, server):
        await transport.send(post())
    assert server.requests[0].headers["host"] == f"127.0.0.1:{server.port}"


async def test_idle_connections_are_given_up_once_needed_elsewhere() -> None:
    """Requests that are still to be sent are sent."""
    async with pair(engine="lean") as (transport, server):
        server.script.append(recorder.stall())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.send, post())
            await server.arrived.wait()
            await transport.send(post())
            assert server.open_connections == 2
            await transport.keep_none()
            await one_is_open(server)
            assert (await transport.send(post())).status == 200
            await one_is_open(server)
            nursery.cancel_scope.cancel()
        assert server.connections == 3


async def test_httpx_closes_idle_connections_with_the_last_used() -> None:
    async with pair(engine="httpx") as (transport, server):
        await transport.send(post())
        server.script.append(recorder.answer(after_s=0.1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.send, post())
            await until_async(lambda: len(server.requests) == 2, "it is there")
            await transport.keep_none()
            assert (await transport.send(post())).status == 200
        await all_closed(server)


async def one_is_open(server: Recorder) -> None:
    """Returns when the others are closed."""
    with trio.fail_after(5):
        while server.open_connections != 1:  # noqa: ASYNC110 - there is no event
            await trio.sleep(0.001)


async def test_connections_never_exceed_the_targets_limit_plus_probes() -> None:
    async with pair(concurrency=2) as (transport, server), trio.open_nursery() as nursery:
        server.default = recorder.stall()
        for _ in range(6):
            nursery.start_soon(_expect_failure, transport, 60.0)
        await until_async(lambda: server.most_open >= 3, "as many are opened as may be")
        await trio.sleep(0.3)  # in which more might come
        assert server.most_open == 3
        nursery.cancel_scope.cancel()


async def _expect_failure(transport: Transport, timeout_s: float) -> None:
    with pytest.raises((NotSent, MaybeSent)):
        await transport.send(post(timeout_s=timeout_s))


async def test_time_out_while_waiting_for_a_connection_was_not_sent() -> None:
    async with pair(concurrency=0) as (transport, server), trio.open_nursery() as nursery:
        server.default = recorder.stall()
        nursery.start_soon(_expect_failure, transport, 60.0)
        await server.arrived.wait()
        with pytest.raises(NotSent, match="busy"):
            await transport.send(post(timeout_s=0.1))
        nursery.cancel_scope.cancel()
    assert len(server.requests) == 1


async def test_a_refused_connection_was_not_sent() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        transport = open_transport(target(port))
        with pytest.raises(NotSent) as caught:
            await transport.send(post())
    why = "Connection refused" if CHOSEN["engine"] == "lean" else f"all attempts to connect to 127.0.0.1:{port} failed"
    assert caught.value.message == f"No connection to http://127.0.0.1:{port}: {why}."
    assert not caught.value.by_request


async def test_a_connect_time_out_was_not_sent() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        # A backlog of 0 holds one connection on Linux; the next handshake is not answered.
        with socket.create_connection(address):
            transport = open_transport(target(address[1], connect_timeout_s=0.2))
            with pytest.raises(NotSent, match="within 200 ms"):
                await transport.send(post())


@rows("name", ["no-such-name.invalid", "two..dots", "a" * 64 + ".example", "é" * 70 + ".example"])
async def test_an_unknown_name_was_not_sent(name: str) -> None:
    transport = open_transport(target(1, url=Url("http", name, 1)))
    with pytest.raises(NotSent):
        await transport.send(post())


@rows(
    ("case", "action"),
    [
        ("reset after the request", recorder.reset()),
        ("closed in the body", recorder.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")),
        ("garbage", recorder.raw(b"\x00\xff" * 500)),
    ],
)
async def test_no_whole_answer_means_maybe_sent(case: str, action: recorder.Action) -> None:
    async with pair() as (transport, server):
        server.script.append(action)
        with pytest.raises(MaybeSent) as caught:
            await transport.send(post())
        assert not caught.value.timed_out
        assert (await transport.send(post())).status == 200
        assert server.connections == 2


async def test_reset_inside_the_request_is_maybe_sent_without_remains() -> None:
    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(_serve_resets)
        transport = open_transport(target(listeners[0].socket.getsockname()[1]))
        with pytest.raises(MaybeSent):
            await transport.send(post(body=bytes(20 * MIB)))
        await transport.aclose()
        nursery.cancel_scope.cancel()
    gc.collect()  # a half-read generator would warn now, and warnings are errors


async def _serve_resets(*, task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
    async def reset(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        await recorder.reset()(stream)
        await stream.aclose()

    await trio.serve_tcp(reset, 0, host="127.0.0.1", task_status=task_status)


async def test_time_out_after_sending_is_maybe_sent_and_disconnects() -> None:
    async with pair() as (transport, server):
        server.script.append(recorder.stall())
        with pytest.raises(MaybeSent) as caught:
            await transport.send(post(timeout_s=0.5))
        assert caught.value.timed_out
        await all_closed(server)
        assert (await transport.send(post())).status == 200


@pytest.mark.promise("Security: who controls a server's answers", "to use up memory or time")
async def test_the_time_out_bounds_the_body_too() -> None:
    async with pair() as (transport, server):
        server.script.append(recorder.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", keep=True))
        with pytest.raises(MaybeSent) as caught:
            await transport.send(post(timeout_s=0.5))
        assert caught.value.timed_out


async def test_cancelled_caller_closes_its_connection_and_frees_place() -> None:
    async with pair(concurrency=0) as (transport, server):
        server.script.append(recorder.stall())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.send, post())
            await server.arrived.wait()
            nursery.cancel_scope.cancel()
        await all_closed(server)
        assert (await transport.send(post())).status == 200
        assert server.connections == 2


@pytest.mark.promise("Defects of the Go original", "a closed connection cost its job")
async def test_keep_alive_connection_closed_by_the_server_is_not_used() -> None:
    async with pair() as (transport, server):
        server.script.append(recorder.hang_up_after(recorder.answer()))
        await transport.send(post())
        await all_closed(server)
        assert (await transport.send(post())).status == 200
        assert server.connections == 2


async def test_an_idle_connection_expires() -> None:
    async with pair(idle_expiry_s=0.05) as (transport, server):
        await transport.send(post())
        await trio.sleep(0.1)  # the passing of time is what is tested
        await transport.send(post())
        assert server.connections == 2


@pytest.mark.promise("Defects of the Go original", "a redirect became a GET and counted as done")
@pytest.mark.promise("Security: who controls a server's answers", "to lead it elsewhere")
async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with pair() as (transport, server):
        server.script.append(recorder.answer(302, b"", (("Location", f"http://127.0.0.1:{server.port}/other"),)))
        response = await transport.send(post())
        assert response.status == 302
        assert response.headers["location"].endswith("/other")
    assert len(server.requests) == 1


@pytest.mark.promise("Security: who controls a server's answers", "to lead it elsewhere")
async def test_cookies_are_not_kept() -> None:
    async with pair() as (transport, server):
        server.script.append(recorder.answer(headers=(("Set-Cookie", "a=b"),)))
        await transport.send(post())
        await transport.send(post())
    assert "cookie" not in server.requests[1].headers


@pytest.mark.promise(
    "Security: who controls DNS, or the network between", "to lead it through a proxy of the environment"
)
async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with pair() as (transport, _):
        assert (await transport.send(post())).status == 200


@pytest.mark.promise("Defects of the Go original", "an answer of 50 MB took 446 MB of memory")
async def test_a_long_body_is_cut_at_the_limit() -> None:
    async with pair() as (transport, server):
        server.script.append(recorder.endless(50 * MIB))
        response = await transport.send(post(body_limit_bytes=MIB))
        assert (len(response.body), response.note) == (MIB, TRUNCATED)
        await all_closed(server)
        assert (await transport.send(post())).status == 200


async def test_a_body_of_exactly_the_limit_is_whole() -> None:
    async with pair() as (transport, server):
        server.script.append(recorder.answer(body=b"12345"))
        response = await transport.send(post(body_limit_bytes=5))
        assert (response.body, response.note) == (b"12345", None)


@pytest.mark.promise("Security: who can push to the queues", "to leave the API's path, or to add a header")
@rows("one", [
    post(headers=(("X-Bad", "a\r\nInjected: 1"),)),
    post(headers=(("X Bad", "1"),)),
    post(headers=(("X-Bad", "é"), ("X", "1"))),
    post(headers=(("X-Bad", "\0"),)),
    post(headers=(("Host", "a\nb"),)),
    post("/api/a b"),
    post("/api/é"),
    post("/a HTTP/1.1\r\n\r\n"),
    post("api"),
    post(method="GE T"),
    post(method=""),
])  # fmt: skip
async def test_what_http_forbids_is_refused_before_any_connection(one: Request) -> None:
    async with pair() as (transport, server):
        with pytest.raises(NotSent, match="cannot be sent") as caught:
            await transport.send(one)
        assert (caught.value.by_request, server.connections) == (True, 0)
        assert (await transport.send(post())).status == 200


token = st.text("!#$%&'*+.^_`|~09AZaz- \t:\0\xe9", max_size=4)
text = st.text("!09AZaz~ \t\r\n\0\x7f\xe9/?#", max_size=6)


@given(token, text, st.lists(st.tuples(token | st.just("Host"), text), max_size=3))
def test_what_our_check_lets_through_h11_lets_through_too(
    method: str, path: str, headers: list[tuple[str, str]]
) -> None:
    """So httpx never refuses a request after its head was announced."""
    try:
        whole, all_headers = check(target(1), post(f"/{path}", method=method, headers=tuple(headers)))
    except NotSent:
        return
    h11.Connection(h11.CLIENT).send(h11.Request(method=method, target=whole, headers=all_headers))


@rows("kind", [
    kind for kind in vars(httpx).values()
    if isinstance(kind, type) and issubclass(kind, httpx.TransportError)
])  # fmt: skip
async def test_no_type_of_httpxs_errors_says_whether_it_was_sent(
    kind: type[httpx.TransportError], monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun = False

    async def fail(_: object, message: httpx.Request) -> NoReturn:
        if has_begun:
            await message.extensions["trace"](
                "http11.send_request_headers.started", {"request": httpcore.Request("POST", "http://h/")}
            )
        raise kind("")

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", fail)
    transport = open_transport(target(1, engine="httpx"))
    with pytest.raises(NotSent) as caught:
        await transport.send(post())
    assert not caught.value.by_request
    has_begun = True
    with pytest.raises(MaybeSent):
        await transport.send(post())


async def test_httpx_refuses_a_path_too_long_for_it_unsent() -> None:
    async with pair(engine="httpx") as (transport, server):
        with pytest.raises(NotSent, match="too long") as caught:
            await transport.send(post("/" + "a" * 65_536))
        assert (caught.value.by_request, server.connections) == (True, 0)


async def test_a_closed_transport_sends_nothing() -> None:
    async with pair() as (transport, server):
        await transport.send(post())
        await transport.aclose()
        await all_closed(server)
        with pytest.raises(NotSent, match="closed"):
            await transport.send(post())


async def test_connection_in_use_closes_after_its_exchange_at_the_end() -> None:
    async with pair() as (transport, server), trio.open_nursery() as nursery:
        go = trio.Event()

        async def wait_then_answer(stream: trio.abc.Stream) -> bool:
            await go.wait()
            return await recorder.answer()(stream)

        server.script.append(wait_then_answer)
        nursery.start_soon(transport.send, post())
        await server.arrived.wait()
        await transport.aclose()
        go.set()
        await all_closed(server)
        assert server.open_connections == 0


async def test_a_unix_socket_is_spoken_to(tmp_path: Path) -> None:
    server = Recorder()
    path = str(tmp_path / "s")
    with trio.socket.socket(trio.socket.AF_UNIX) as listening:
        await listening.bind(path)
        listening.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, server.serve, [trio.SocketListener(listening)])
            transport = open_transport(target(80, url=Url("http", "localhost", 80, socket=path)))
            assert (await transport.send(post())).status == 200
            await transport.aclose()
            nursery.cancel_scope.cancel()


async def test_a_unix_socket_that_is_not_there_is_named(tmp_path: Path) -> None:
    transport = open_transport(target(80, url=Url("http", "localhost", 80, "/api", str(tmp_path / "s"))))
    with pytest.raises(NotSent, match=r"http\+unix://%2F\S*%2Fs/api"):
        await transport.send(post())


@pytest.mark.promise("Security: who controls DNS, or the network between", "to be the server, or to read along")
async def test_plain_http_instead_of_tls_is_named_and_was_not_sent() -> None:
    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(_serve_plain)
        port = listeners[0].socket.getsockname()[1]
        transport = open_transport(target(port, url=Url("https", "127.0.0.1", port)))
        with pytest.raises(NotSent) as caught:
            await transport.send(post())
        nursery.cancel_scope.cancel()
    assert caught.value.tls


async def _serve_plain(*, task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
    async def refuse(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    await trio.serve_tcp(refuse, 0, host="127.0.0.1", task_status=task_status)


async def test_waiting_for_a_turn_to_connect_does_not_blame_the_server() -> None:
    async with pair(concurrency=30) as (transport, server), trio.open_nursery() as nursery:
        server.default = recorder.answer(after_s=0.4)
        answered: list[int] = []

        async def send() -> None:
            answered.append((await transport.send(post(timeout_s=1.0))).status)

        for _ in range(30):
            nursery.start_soon(send)
    assert answered == [200] * 30


async def test_sender_learns_of_an_unsuccessful_answer() -> None:
    async with pair() as (transport, server):
        for status, refusals in ((200, 0), (201, 0), (409, 1), (302, 1), (500, 1)):
            server.script.append(recorder.answer(status))
            sender = Sender()
            await transport.send(post(), sender)
            assert sender.said.count("refused") == refusals
