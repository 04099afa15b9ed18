"""The runner of web apps: ports, failures, strangers and stops, none of which concerns the jobs."""

import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

import attrs
import h11
import httpx
import pytest
import trio
from hypercorn.protocol.h11 import H11Protocol
from quart import Response
from quart_trio import QuartTrio

from restbroker.broker import broker
from restbroker.broker.signals import Control
from restbroker.serving import runner
from restbroker.serving.app import answer, new_app
from restbroker.serving.runner import Server
from restbroker.telemetry.events import BrokerStarted, Event, JobFinished, ListenerStarted, OperatorWarning
from tests.broker.conftest import Harness
from tests.support.wait import NEVER_S, until_async

WEBSOCKET = (
    b"GET /quick HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@attrs.define(eq=False)
class Stand:
    """An app of the test's own: /quick answers, /slow when `go` is set, /broken fails."""

    events: list[Event] = attrs.field(factory=list)
    go: trio.Event = attrs.field(factory=trio.Event)
    requested: trio.Event = attrs.field(factory=trio.Event)

    def app(self) -> QuartTrio:
        app = new_app("test", self.events.append)

        @app.get("/quick")
        async def quick() -> Response:
            return answer({"quick": True})

        @app.get("/slow")
        async def slow() -> Response:
            self.requested.set()
            await self.go.wait()
            return answer({"slow": True})

        @app.get("/broken")
        async def broken() -> Response:
            raise ValueError("a secret text")

        return app

    @asynccontextmanager
    async def server(self, keep_alive_s: float = NEVER_S * 10) -> AsyncIterator[tuple[str, trio.CancelScope]]:
        """Its URL, and the scope whose cancellation stops it."""
        app, report = self.app(), self.events.append
        server = Server("the test", "TestPort", "127.0.0.1", 0, app, report, keep_alive_s=keep_alive_s)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            yield server.addresses[0], nursery.cancel_scope
            nursery.cancel_scope.cancel()

    def of(self, kind: type) -> list[object]:
        return [event for event in self.events if isinstance(event, kind)]


async def connect(url: str) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", int(url.rsplit(":", 1)[1]))


async def get(url: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        return await client.get(url)


async def get_at_last(url: str) -> httpx.Response:
    """As `get`, once more if a restart of the server cut the first request off."""
    try:
        return await get(url)
    except httpx.TransportError:
        return await get(url)


async def test_failure_answers_500_and_names_its_kind_to_us_alone(
    capfd: pytest.CaptureFixture[str],
) -> None:
    stand = Stand()
    async with stand.server() as (url, _):
        broken = await get(f"{url}/broken")
        assert (await get(f"{url}/quick")).json() == {"quick": True}
    assert (broken.status_code, broken.json()["error"]["code"]) == (500, "Bug")
    assert stand.of(OperatorWarning) == [
        OperatorWarning("RequestFailed", "test: /broken failed with ValueError.", "Please report this.")
    ]
    assert capfd.readouterr() == ("", "")


@pytest.mark.promise("Security: who can reach the ports", "to forge or flood the log with addresses of requests")
def test_log_of_quart_names_the_kind_and_no_address(capfd: pytest.CaptureFixture[str]) -> None:
    stand = Stand()
    app = stand.app()
    app.logger.error("Exception on websocket /quick\nFORGED", exc_info=ValueError("a secret text"))
    app.logger.error("Exception on websocket /quick\nFORGED")
    assert [event.message for event in stand.events if isinstance(event, OperatorWarning)] == [
        "test: a request failed with ValueError.",
        "test: a request failed with an unknown error.",
    ]
    assert capfd.readouterr() == ("", "")


JUNK = (
    WEBSOCKET + b"\xff" * 20,
    WEBSOCKET,
    HTTP2 + b"\xff" * 200,
    HTTP2 + b"\0\0\0\4\0\0\0\0\0\0\0\5\1\5\0\0\0\1\xff\xff\xff\xff\xff",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    b"GET /quick HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"POST /quick HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /quick HTTP/1.1\r\nHost: [::1\r\n\r\n",
)


@pytest.mark.promise("Security: who can reach the ports", "to stop deliveries with requests")
async def test_hostile_input_ends_neither_server_nor_process(
    capfd: pytest.CaptureFixture[str],
) -> None:
    stand = Stand()
    async with stand.server() as (url, _):

        async def send(junk: bytes) -> None:
            for _ in range(2):
                async with await connect(url) as stream:
                    with trio.move_on_after(0.3), contextlib.suppress(trio.BrokenResourceError):
                        await stream.send_all(junk)
                        while await stream.receive_some():
                            pass

        async with trio.open_nursery() as nursery:
            for junk in JUNK:
                nursery.start_soon(send, junk)
        assert (await get_at_last(f"{url}/quick")).json() == {"quick": True}
    codes = [event.code for event in stand.events if isinstance(event, OperatorWarning)]
    assert len(set(codes)) == len(codes), "each is reported once"
    assert capfd.readouterr() == ("", "")


@pytest.mark.promise("Security: who can reach the ports", "to stop deliveries with requests")
async def test_a_connection_that_breaks_hypercorn_ends_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_down(_protocol: H11Protocol, event: h11.Request) -> None:
        if event.target == b"/fatal":
            raise h11.LocalProtocolError("as at what is sent behind a WebSocket that was refused")

    monkeypatch.setattr(H11Protocol, "_check_protocol", break_down)
    stand = Stand()
    async with stand.server() as (url, _), trio.open_nursery() as nursery:
        answers: list[httpx.Response] = []

        async def ask() -> None:
            answers.append(await get(f"{url}/slow"))

        nursery.start_soon(ask)
        await stand.requested.wait()
        async with await connect(url) as stream:
            await stream.send_all(b"GET /fatal HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await to_the_end(stream) == b""
        await until_async(lambda: stand.of(OperatorWarning), "it is reported")
        stand.go.set()
    assert [event.code for event in stand.events if isinstance(event, OperatorWarning)] == ["ServerFault"]
    assert answers[0].json() == {"slow": True}


@pytest.mark.parametrize("comes", [True, False], ids=["comes", "never comes"])
async def test_a_stop_lets_a_running_answer_end_if_it_comes(*, comes: bool) -> None:
    stand = Stand()

    async def ask(url: str) -> None:
        with nullcontext() if comes else pytest.raises(httpx.RemoteProtocolError):
            assert (await get(url)).json() == {"slow": True}

    with trio.fail_after(NEVER_S):
        async with trio.open_nursery() as outer, stand.server() as (url, scope):
            outer.start_soon(ask, f"{url}/slow")
            await stand.requested.wait()
            scope.cancel()
            if comes:
                outer.start_soon(_after_s, 0.1, stand.go)


ANSWERS = b"\x01\x04\0\0\0\x01"
"""The head of an answer begins with it, behind its length."""


HTTP2_QUICK = (
    HTTP2
    # SETTINGS; HEADERS: GET /quick.
    + b"\0\0\0\x04\0\0\0\0\0\0\0\x0d\x01\x05\0\0\0\x01\x82\x86\x04\x06/quick\x01\x01x"
)


@pytest.mark.promise("Security: who can reach the ports", "to have a request answered in another's place")
async def test_http2_ends_its_connection_unanswered() -> None:
    stand = Stand()
    async with stand.server() as (url, _):
        for first in (b"GET /quick", b"GET /nothing", b"HEAD /quick"):
            async with await connect(url) as one:
                await one.send_all(first + b" HTTP/1.1\r\nHost: x\r\n\r\n")
                received = b""
                while b"\r\n\r\n" not in received:
                    received += await one.receive_some()
                await one.send_all(HTTP2_QUICK)
                received = await to_the_end(one)
            assert ANSWERS not in received, received
        # With no request before it, and in pieces.
        async with await connect(url) as one:
            for place in range(0, len(HTTP2_QUICK), 7):
                await one.send_all(HTTP2_QUICK[place : place + 7])
            assert ANSWERS not in await to_the_end(one)
        # A head that only looks like a beginning of HTTP/2.
        async with await connect(url) as one:
            await one.send_all(HTTP2_QUICK.replace(b"\r\n", b"\r\nX-Passed-On: by a proxy\r\n", 1))
            assert ANSWERS not in await to_the_end(one)
    assert not stand.of(OperatorWarning)


async def to_the_end(stream: trio.SocketStream) -> bytes:
    """What comes until the server ends the connection, which is long before that of one that rests."""
    received = b""
    with trio.fail_after(NEVER_S), contextlib.suppress(trio.BrokenResourceError):
        while more := await stream.receive_some():
            received += more
    return received


async def until_received(stream: trio.SocketStream, wanted: bytes) -> None:
    received = b""
    with trio.fail_after(60):
        while wanted not in received:
            more = await stream.receive_some()
            assert more, received
            received += more


async def test_a_stop_does_not_wait_for_connections_only_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "GRACE_S", NEVER_S * 10)
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        with trio.fail_after(NEVER_S):
            async with Stand().server() as (url, _):
                await client.get(f"{url}/quick")


HALVES = (
    b"",
    b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /quick HTTP/1.1\r\nHost:",
    HTTP2,
    HTTP2 + b"\0\0\0\x04\0\0\0\0\0\0\0\x0d\x01\x01\0\0\0\x01\x82\x86\x04\x06/quick\x01\x01x",
    HTTP2_QUICK,
    b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n" + HTTP2,
)
"""Nothing, one, half of one; of HTTP/2 nothing, half, one; and HTTP/2 behind one."""


@pytest.mark.promise("Security: who can reach the ports", "to stop deliveries with requests")
async def test_a_connection_that_sends_no_whole_request_is_closed() -> None:
    async with Stand().server(keep_alive_s=2.0) as (url, _), trio.open_nursery() as nursery:

        async def come(sent: bytes) -> None:
            async with await connect(url) as stream:
                await stream.send_all(sent)
                received = await to_the_end(stream)
            is_whole = b"\r\n\r\n" in sent.removeprefix(HTTP2)
            assert (b'{"quick": true}' in received) == is_whole, sent

        for sent in HALVES:
            nursery.start_soon(come, sent)


async def test_an_answer_may_take_longer_than_a_connection_may_rest() -> None:
    stand = Stand()
    async with (
        stand.server(keep_alive_s=1.0) as (url, _),
        trio.open_nursery() as nursery,
        await connect(url) as stream,
    ):
        # Two at once: the end of the first is not the end of both.
        await stream.send_all(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\nGET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await stand.requested.wait()
        nursery.start_soon(_after_s, 2.0, stand.go)
        await until_received(stream, b'{"slow": true}')


async def _after_s(pause_s: float, event: trio.Event) -> None:
    await trio.sleep(pause_s)
    event.set()


async def test_taken_port_is_reported_once_and_used_once_free(harness: Harness) -> None:
    stand = Stand()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = Server("/stats", "StatsPort", "127.0.0.1", port, stand.app(), harness.events.append, bind_again_s=0.05)
        harness.control = Control()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(broker.run, attrs.evolve(harness.plan(), services=[server]), harness.control)
            await harness.until(lambda: harness.of(BrokerStarted), "the broker serves")
            harness.push()
            await harness.until(lambda: harness.of(JobFinished), "the job is delivered")
            warned = harness.of(OperatorWarning)
            assert [event.code for event in warned] == ["PortTaken"]
            assert f"Cannot serve /stats on 127.0.0.1:{port}" in warned[0].message
            assert "change StatsPort" in warned[0].hint
            taken.close()
            await until_async(lambda: harness.of(ListenerStarted), "it listens once the port is free")
            assert (await get(f"http://127.0.0.1:{port}/quick")).status_code == 200
            assert len(harness.of(OperatorWarning)) == 1
            harness.control.stop.set()


async def test_address_that_is_not_ours_is_reported_too() -> None:
    for host in ("192.0.2.1", "no-such-host.invalid"):
        events: list[Event] = []
        server = Server("/stats", "StatsPort", host, 0, Stand().app(), events.append)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            nursery.cancel_scope.cancel()
        assert [event.code for event in events if isinstance(event, OperatorWarning)] == ["CannotListen"]
        assert server.addresses == ()
