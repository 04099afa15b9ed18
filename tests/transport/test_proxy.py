"""A real proxy on the way to the server, which demands a login."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import attrs
import pytest
import trio

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Proxy, Target, TlsFiles, Url
from restbroker.transport.client import open_transport
from restbroker.transport.message import MaybeSent, NotSent, Transport
from restbroker.transport.stream import open_stream
from tests.support import recorder
from tests.support.ports import free_port
from tests.support.recorder import recording
from tests.support.rows import rows
from tests.support.tinyproxy import USER, Tinyproxy
from tests.support.wait import until_async
from tests.transport.authority import Authority, recording_tls
from tests.transport.senders import Sender
from tests.transport.test_client import post, target


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Tinyproxy]:
    running = Tinyproxy(tmp_path / "proxy").start()
    yield running
    # It keeps nothing, and sometimes sleeps over a SIGTERM until somebody connects.
    running.kill()


def behind(proxy: Tinyproxy, made: Target, password: Secret | None = None) -> Target:
    """The target, to be reached through the proxy."""
    login = Basic(USER, password or Secret(proxy.password))
    return attrs.evolve(made, engine="lean", proxy=Proxy(f"http://127.0.0.1:{proxy.port}", login))


@asynccontextmanager
async def reached(made: Target) -> AsyncIterator[Transport]:
    transport = open_transport(made)
    try:
        yield transport
    finally:
        await transport.aclose()


def over_tls(ours: Authority, port: int) -> Target:
    return target(port, url=Url("https", "127.0.0.1", port), tls=TlsFiles(ours.ca))


async def test_https_goes_through_a_tunnel(ours: Authority, proxy: Tinyproxy) -> None:
    async with recording_tls(ours.served()) as server, reached(behind(proxy, over_tls(ours, server.port))) as transport:
        connected_by_then: list[bool] = []
        sender = Sender(sending=lambda: connected_by_then.append("CONNECT" in proxy.log))
        assert (await transport.send(post(body=b"one"), sender)).status == 200
        # The tunnel is no part of the request: it is sent once that is there.
        assert sender.said[-2:] == ["may send", "sending"]
        assert connected_by_then == [True]
        assert (await transport.send(post(body=b"two"))).status == 200
        assert [request.body for request in server.requests] == [b"one", b"two"]
        assert "proxy-authorization" not in server.requests[0].headers
        assert server.connections == 1
        server.script.append(recorder.answer(407))  # within the tunnel it is the server's own
        assert (await transport.send(post())).status == 407


async def test_http_is_passed_on(proxy: Tinyproxy) -> None:
    async with recording() as server:
        for status in (200, 503, 401):  # as of any gateway; such a refusal of a login is the server's
            server.script.append(recorder.answer(status))
            # A connection each: tinyproxy closes it behind an answer, at the instant in which the next request leaves.
            async with reached(behind(proxy, target(server.port))) as transport:
                assert (await transport.send(post("/api/status", b"one"))).status == status
        assert [request.body for request in server.requests] == [b"one"] * 3
        assert all("proxy-authorization" not in request.headers for request in server.requests)


async def test_a_refused_login_sends_nothing_and_shows_none(ours: Authority, proxy: Tinyproxy, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("wrong-secret\n", encoding="utf-8")
    async with (
        recording_tls(ours.served()) as server,
        reached(behind(proxy, over_tls(ours, server.port), Secret(path=file))) as transport,
    ):
        with pytest.raises(NotSent, match="refused the login") as raised:
            await transport.send(post())
        assert raised.value.hint is not None
        assert "ProxyPass" in raised.value.hint
        assert "secret" not in raised.value.message
        assert not server.requests
        file.write_text(proxy.password, encoding="utf-8")
        assert (await transport.send(post())).status == 200


WHOLE_407 = recorder.answer(407)
CUT_407 = recorder.raw(b"HTTP/1.1 407 No\r\nContent-Length: 9\r\n\r\nabc")


@rows("action", [WHOLE_407, CUT_407])
async def test_a_proxys_407_is_none_of_the_server(action: recorder.Action) -> None:
    async with recording() as stand_in:
        stand_in.script.append(action)
        made = attrs.evolve(target(free_port()), proxy=Proxy(f"http://127.0.0.1:{stand_in.port}"))
        async with reached(made) as transport:
            with pytest.raises(NotSent, match=r"refused the login \(407\)"):
                await transport.send(post())
            assert (await transport.send(post())).status == 200


TUNNEL = recorder.raw(b"HTTP/1.1 200 OK\r\n\r\n", keep=True)


async def no_tls(stream: trio.abc.Stream) -> bool:
    """A tunnel that leads to something without TLS."""
    await TUNNEL(stream)
    await stream.receive_some()
    return await recorder.raw(b"HTTP/1.1 400 No\r\n\r\n")(stream)


@rows("action", [
    WHOLE_407, CUT_407, recorder.answer(502), recorder.answer(302), recorder.reset(), recorder.stall(),
    recorder.raw(b"\0\xff" * 50), recorder.raw(b"HTTP/1.1 2"), recorder.hang_up_after(TUNNEL), no_tls,
])  # fmt: skip
async def test_nothing_is_sent_by_a_tunnel_that_is_not_there(ours: Authority, action: recorder.Action) -> None:
    async with recording() as stand_in:
        stand_in.default = action
        made = attrs.evolve(over_tls(ours, 1), proxy=Proxy(f"http://127.0.0.1:{stand_in.port}"))
        async with reached(made) as transport:
            with pytest.raises(NotSent) as caught:
                await transport.send(post(timeout_s=0.1))
        assert not caught.value.by_request
        assert {request.line for request in stand_in.requests} <= {"CONNECT 127.0.0.1:1 HTTP/1.1"}


@rows(("action", "may_have_run"), [
    (recorder.reset(), True), (recorder.raw(b"\0\xff" * 50), True),
    (recorder.raw(b"HTTP/1.1 502 No\r\nContent-Length: 9\r\n\r\nabc"), True), (recorder.answer(502), False),
])  # fmt: skip
async def test_http_given_to_a_proxy_may_have_run(action: recorder.Action, may_have_run: bool) -> None:
    """Or it has an answer, which is judged as a gateway's."""
    async with recording() as stand_in:
        stand_in.default = action
        made = attrs.evolve(target(free_port()), proxy=Proxy(f"http://127.0.0.1:{stand_in.port}"))
        async with reached(made) as transport:
            with pytest.raises(MaybeSent) if may_have_run else nullcontext():
                assert (await transport.send(post())).status == 502


async def test_without_its_server_or_itself_nothing_is_sent(ours: Authority, proxy: Tinyproxy) -> None:
    made = behind(proxy, over_tls(ours, free_port()))
    async with reached(made) as transport:
        with pytest.raises(NotSent, match=r"through the proxy .*: it answered 50"):
            await transport.send(post())
        proxy.kill()
        with pytest.raises(NotSent, match="through the proxy"):
            await transport.send(post())
        proxy.start()


async def test_a_proxy_that_dies_with_a_request_may_have_sent_it(ours: Authority, proxy: Tinyproxy) -> None:
    async with recording_tls(ours.served()) as server, reached(behind(proxy, over_tls(ours, server.port))) as transport:
        server.default = recorder.stall()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_expect_maybe_sent, transport)
            await until_async(lambda: bool(server.requests), "the request is there")
            proxy.kill()


async def _expect_maybe_sent(transport: Transport) -> None:
    with pytest.raises(MaybeSent, match="connection broke"):
        await transport.send(post())


async def test_a_stream_of_events_goes_the_same_way(proxy: Tinyproxy) -> None:
    async with recording() as server:
        server.default = recorder.answer(body=b"data: one\n\n", headers=(("Content-Type", "text/event-stream"),))
        made = behind(proxy, target(server.port))
        stream = await open_stream(made, post(), silence_s=30.0, limit_bytes=1000)
        assert (await stream.next()).data == "one"
        await stream.aclose()
        assert "POST" in proxy.log
