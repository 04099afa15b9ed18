# ruff: noqa: SLF001 - what an exchange that ended leaves behind
"""Exchanges by events: what their sink gets, from whom, and what becomes of the connection."""

import contextlib
import errno
import os
import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from restbroker.config.target import TlsFiles, Url
from restbroker.transport.client import LeanClient, open_transport
from restbroker.transport.exchange import Exchange, ExchangeService, ExchangeState
from restbroker.transport.message import MaybeSent, NotSent, Response, Withdrawn
from restbroker.transport.readiness import Readiness, Upkeep
from restbroker.transport.tls import TlsWire
from restbroker.transport.wire import Wire
from tests.support import recorder
from tests.support.recorder import Recorder, recording
from tests.support.rows import rows
from tests.support.wait import until_async
from tests.transport.authority import Authority, recording_tls
from tests.transport.senders import Sender, withdraw
from tests.transport.test_client import MIB, all_closed, post, target
from tests.transport.test_tls import Peer, wired

PLACES = 3


@attrs.define(eq=False)
class Noting(Sender):
    """A sink that notes what it gets; `on_answer` is called with an answer."""

    on_answer: Callable[[], object] = bool
    error: Exception | None = None
    response: Response | None = None
    over: trio.Event = attrs.Factory(trio.Event)

    def answered(self, response: Response) -> None:
        self.said.append("answered")
        self.response = response
        self.over.set()
        self.on_answer()

    def failed(self, error: Exception) -> None:
        self.said.append("failed")
        self.error = error
        self.over.set()

    def abandoned(self) -> None:
        self.said.append("abandoned")
        self.over.set()

    async def end(self) -> None:
        with trio.fail_after(20):
            await self.over.wait()


@asynccontextmanager
async def running(
    ours: Authority | None = None, bugs: list[Exception] | None = None, **changes: object
) -> AsyncIterator[tuple[LeanClient, Recorder]]:
    """A client that runs, for TLS 1.3 if there is an authority, and its server; `bugs` gets what it is not to raise."""
    upkeep = Upkeep() if bugs is None else Upkeep(on_bug=bugs.append)
    serving = recording() if ours is None else recording_tls(ours.served(ssl.TLSVersion.TLSv1_3))
    async with serving as server, trio.open_nursery() as nursery:
        url = Url("http" if ours is None else "https", "127.0.0.1", server.port)
        files = TlsFiles() if ours is None else TlsFiles(ours.ca)
        client = open_transport(
            target(server.port, url=url, tls=files, concurrency=PLACES - 1, engine="lean", **changes), shared=upkeep
        )
        assert isinstance(client, LeanClient)
        await nursery.start(upkeep.run)
        await nursery.start(client.run)
        yield client, server
        await client.aclose()
        nursery.cancel_scope.cancel()


def service(client: LeanClient) -> ExchangeService:
    """What serves its requests without a task."""
    assert client.service is not None
    return client.service


def leaves_nothing(client: LeanClient) -> bool:
    under_way = client.service.exchanges if client.service is not None else ()
    waits = under_way or client._upkeep.deadlines.due or client._pool._ramp._begun
    return client._pool._places.value == PLACES and not waits


async def test_exchange_uses_an_idle_connection_at_once() -> None:
    """It ends in the step of its answer."""
    async with running() as (client, server):
        first = Noting()
        exchange = service(client).start(post(), first)
        assert (exchange.state, first.said) == (ExchangeState.CONNECTING, [])
        await first.end()
        assert first.said == ["may send", "may send", "sending", "answered"]
        server.script.append(recorder.answer(500))
        second = Noting()
        exchange = service(client).start(post(), second)
        assert (exchange.state, second.said) == (ExchangeState.RECEIVING, ["may send", "sending"])
        await second.end()
        assert (exchange.state, exchange.left) == (ExchangeState.OVER, True)
        assert second.said == ["may send", "sending", "refused", "answered"]
        assert server.connections == 1
        assert leaves_nothing(client)


async def test_exchanges_after_a_batch_use_connections_just_answered() -> None:
    async with running() as (client, server):
        arrived, lets = list[int](), [trio.Event(), trio.Event()]

        async def together(stream: trio.abc.Stream) -> bool:
            let = lets[len(arrived) // 2]
            arrived.append(1)
            await let.wait()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0")
            return True

        server.script += [together] * 4
        next_ones, calls, before_they_leave = [Noting(), Noting()], list[list[str]](), list[str]()

        def start_next() -> None:
            calls.append([*first.said, *second.said])
            for sink in next_ones:
                service(client).start(post(), sink)
            before_they_leave.extend([said for sink in next_ones for said in sink.said])

        def answered() -> None:
            if first.response is not None and second.response is not None:
                service(client).call_soon(start_next)

        async with trio.open_nursery() as nursery:
            for _ in next_ones:
                nursery.start_soon(client.send, post())
            await until_async(lambda: len(arrived) == 2, "there are two connections")
            lets[0].set()
        first, second = Noting(on_answer=answered), Noting(on_answer=answered)
        for sink in (first, second):
            service(client).start(post(), sink)
        await until_async(lambda: len(arrived) == 4, "both are there")
        # In one step of the server's, so that both answers are there when the client looks.
        lets[1].set()
        for sink in next_ones:
            await sink.over.wait()
        assert (len(calls), before_they_leave) == (1, [])
        assert [sink.said for sink in next_ones] == [["may send", "sending", "answered"]] * 2
        assert server.connections == 2
        await trio.testing.wait_all_tasks_blocked()
        assert leaves_nothing(client)


async def test_exchange_cancelled_before_it_leaves_returns_connection() -> None:
    async with running() as (client, server):
        await client.send(post())
        first, given_up = Noting(), Noting()

        def answered() -> None:
            service(client).call_soon(lambda: service(client).start(post(), given_up).cancel())

        first.on_answer = answered
        service(client).start(post(), first)
        await first.end()
        await trio.testing.wait_all_tasks_blocked()
        assert (given_up.said, leaves_nothing(client)) == ([], True)
        assert (await client.send(post())).status == 200
        assert server.connections == 1


async def test_sending_bug_after_a_batch_costs_its_connection_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as (client, server):
        await client.send(post())
        next_one, begin = Noting(), Wire.begin

        def fails_once(wire: Wire, message: bytes) -> bool:
            monkeypatch.setattr(Wire, "begin", begin)
            raise ZeroDivisionError

        def start_next() -> None:
            service(client).start(post(), next_one)
            monkeypatch.setattr(Wire, "begin", fails_once)

        service(client).start(post(), Noting(on_answer=lambda: service(client).call_soon(start_next)))
        await next_one.end()
        assert next_one.said[-1] == "answered"
        assert server.connections == 2
        await trio.testing.wait_all_tasks_blocked()
        assert leaves_nothing(client)


async def test_exchange_started_by_an_answer_uses_its_connection() -> None:
    async with running() as (client, server):
        await client.send(post())
        states: list[ExchangeState] = []
        next_one = Noting()
        service(client).start(
            post(), Noting(on_answer=lambda: states.append(service(client).start(post(), next_one).state))
        )
        await next_one.end()
        assert states == [ExchangeState.RECEIVING]
        assert server.connections == 1
        await trio.testing.wait_all_tasks_blocked()
        assert leaves_nothing(client)


async def answer_and_read_no_more(stream: trio.abc.Stream) -> bool:
    await recorder.answer()(stream)
    await trio.sleep_forever()


async def begun(client: LeanClient, server: Recorder, state: ExchangeState, sink: Noting) -> Exchange:
    """An exchange in this state."""
    match state:
        case ExchangeState.CONNECTING:
            server.default = recorder.stall()
            for _ in range(PLACES):
                service(client).start(post(), Noting())
            await until_async(lambda: len(server.requests) == PLACES, "all places are taken")
        case ExchangeState.SENDING:
            server.script.append(answer_and_read_no_more)
            await client.send(post())
        case ExchangeState.RECEIVING:
            await client.send(post())
            server.script.append(recorder.stall())
        case ExchangeState.OVER:
            pass
    exchange = service(client).start(post(body=bytes(20 * MIB) if state is ExchangeState.SENDING else b""), sink)
    if state is ExchangeState.OVER:
        await sink.end()
    return exchange


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("state", ExchangeState)
async def test_cancelled_exchange_reports_nothing_and_leaves_nothing(
    ours: Authority, scheme: str, state: ExchangeState
) -> None:
    async with running(ours if scheme == "https" else None) as (client, server):
        sink = Noting()
        exchange = await begun(client, server, state, sink)
        for _ in range(2):  # in the step in which it began, and later
            assert exchange.state is state
            await trio.testing.wait_all_tasks_blocked()
        said = list(sink.said)
        exchange.cancel()
        exchange.cancel()
        assert (exchange.state, exchange.left) == (ExchangeState.OVER, state is not ExchangeState.CONNECTING)
        for other in tuple(client.service.exchanges) if client.service is not None else ():
            other.cancel()
        await until_async(lambda: leaves_nothing(client), "it leaves nothing")
        assert sink.said == said


async def test_exchanges_cancelled_while_they_connect_leave_nothing(ours: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with running(ours) as (client, _):
            url = Url("https", "127.0.0.1", silent.getsockname()[1])
            client._pool.target = attrs.evolve(client._pool.target, url=url)
            exchanges = [service(client).start(post(), Noting()) for _ in range(PLACES)]
            await until_async(lambda: len(client._pool._ramp._begun) == PLACES, "all connect")
            for exchange in exchanges:
                exchange.cancel()
            await until_async(lambda: leaves_nothing(client), "it leaves nothing")


@pytest.mark.parametrize("state", [state for state in ExchangeState if state is not ExchangeState.OVER])
async def test_an_exchange_is_abandoned_when_its_client_ends(state: ExchangeState) -> None:
    sink = Noting()
    async with running() as (client, server):
        exchange = await begun(client, server, state, sink)
        await trio.testing.wait_all_tasks_blocked()
        said = list(sink.said)
    assert sink.said == [*said, "abandoned"]
    assert exchange.left is (state is not ExchangeState.CONNECTING)
    assert leaves_nothing(client)
    late = Noting()
    assert service(client).start(post(), late).state is ExchangeState.OVER
    assert late.said == ["abandoned"]


def bug() -> None:
    raise ZeroDivisionError("seeded")


@rows(("sink", "said", "kind"), [
    (lambda: Noting(may=bug), ["may send", "failed"], ZeroDivisionError),
    (lambda: Noting(may=withdraw), ["may send", "failed"], Withdrawn),
    (lambda: Noting(on_answer=bug), ["may send", "sending", "answered", "failed"], ZeroDivisionError),
    (lambda: Failing(on_answer=bug), ["may send", "sending", "answered", "failed"], ZeroDivisionError),
])  # fmt: skip
async def test_a_bug_in_a_sink_costs_its_exchange_alone(
    sink: Callable[[], Noting], said: list[str], kind: type[Exception]
) -> None:
    bugs: list[Exception] = []
    async with running(bugs=bugs) as (client, server):
        await client.send(post())
        made = sink()
        service(client).start(post(), made)
        await until_async(lambda: "failed" in made.said, "it failed")
        assert made.said == said
        assert type(made.error) is kind
        assert (await client.send(post())).status == 200
        assert server.connections == 1
        assert leaves_nothing(client)
        assert len(bugs) == isinstance(made, Failing)


@attrs.define(eq=False)
class Failing(Noting):
    """One that fails even at the news of its failure."""

    def failed(self, error: Exception) -> None:
        super().failed(error)
        bug()


async def test_bug_after_a_batch_stops_neither_listener_nor_others() -> None:
    bugs: list[Exception] = []
    async with running(bugs=bugs) as (client, server):
        await client.send(post())
        called = Noting()

        def answered() -> None:
            service(client).call_soon(bug)
            service(client).call_soon(called.abandoned)

        service(client).start(post(), Noting(on_answer=answered))
        await called.end()
        assert (await client.send(post())).status == 200
        assert (server.connections, leaves_nothing(client)) == (1, True)
        assert [str(raised) for raised in bugs] == ["seeded"]


async def test_a_request_that_http_forbids_fails_before_it_begins() -> None:
    async with running() as (client, server):
        sink = Noting()
        assert service(client).start(post("/a b"), sink).state is ExchangeState.OVER
        assert isinstance(sink.error, NotSent)
        assert sink.error.by_request
        assert leaves_nothing(client)
        assert not server.connections


@rows("why", ["none", "full"])
async def test_exchanges_are_served_without_or_with_a_full_epoll(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    def no_room(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "epoll takes no more")

    if why == "none":
        monkeypatch.delattr("select.epoll")
    else:
        monkeypatch.setattr(Readiness, "watch", no_room)
    async with running() as (client, server):
        for _ in range(3):
            assert (await client.send(post())).status == 200
        server.script.append(recorder.stall())
        with pytest.raises(MaybeSent) as caught:
            await client.send(post(timeout_s=0.1))
        assert caught.value.timed_out
        assert (server.connections, leaves_nothing(client)) == (1, True)


async def request_to(peer: Peer) -> None:
    """A request came."""
    while True:
        peer.incoming.write(await peer.end.recv(65536))
        with contextlib.suppress(ssl.SSLWantReadError):
            assert peer.tls.read(65536)
            return


async def test_tls_bytes_behind_an_answer_leave_the_connection_usable(
    ours: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a session ticket's; here they are the first ones of the next record, which a test can make at will."""
    answer, later = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0", b""
    exchanges: list[Exchange] = []
    async with wired(ours) as (wire, peer), trio.open_nursery() as nursery:

        async def dial(*_args: object) -> TlsWire:
            await trio.lowlevel.checkpoint()
            return wire

        def start_next() -> None:
            os.write(peer.end.fileno(), later[:3])
            service(client).call_soon(lambda: exchanges.append(service(client).start(post(), last)))

        monkeypatch.setattr("restbroker.transport.pool.dial", dial)
        client = LeanClient(target(1, engine="lean"), ssl.create_default_context())
        await nursery.start(client.run)
        first, second, last = Noting(), Noting(on_answer=start_next), Noting()
        service(client).start(post(), first)
        await request_to(peer)
        peer.tls.write(answer)
        await peer.send()
        await first.end()
        service(client).start(post(), second)
        await request_to(peer)
        peer.tls.write(answer)
        now = peer.outgoing.read()
        peer.tls.write(answer)
        later = peer.outgoing.read()
        await peer.end.send(now)
        await second.end()
        assert [exchange.state for exchange in exchanges] == [ExchangeState.RECEIVING]
        await request_to(peer)
        await peer.end.send(later[3:])
        await last.end()
        assert last.response is not None
        nursery.cancel_scope.cancel()


async def hang_up(_stream: trio.abc.Stream) -> bool:
    return False


async def in_pieces(stream: trio.abc.Stream) -> bool:
    for piece in (b"HTTP/1.1 200 OK\r\nConte", b"nt-Length: 3\r\n\r\n", b"a", b"bc"):
        await stream.send_all(piece)
        await trio.sleep(0.001)
    return True


ENDS = {"answered", "failed", "abandoned"}
MANNERS = (
    recorder.answer(),
    recorder.answer(503),
    recorder.answer(after_s=0.01),
    recorder.stall(),
    hang_up,
    in_pieces,
    recorder.raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
    recorder.raw(b"nonsense\r\n\r\n"),
    recorder.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0 and more", keep=True),
)


@attrs.define(eq=False)
class Crowd:
    """Starts `count` exchanges, some in the step of another's answer or after its batch, and cancels some of them."""

    client: LeanClient
    chance: random.Random
    count: int = 300
    started: list[tuple[Exchange, Noting]] = attrs.Factory(list)
    cancelled: set[Noting] = attrs.Factory(set)

    async def come(self) -> None:
        while len(self.started) < self.count:
            self.begin()
            await trio.sleep(self.chance.choice([0.0, 0.0, 0.002, 0.02]))
            if self.chance.random() < 0.2:
                self.cancel(*self.chance.choice(self.started[-10:]))

    def begin(self) -> None:
        """Starts one, if some are left."""
        if len(self.started) == self.count:
            return
        then: list[Callable[[], object]] = [bool, self.begin, lambda: service(self.client).call_soon(self.begin)]
        sink = Noting(on_answer=self.chance.choice(then), may=self.chance.choice([bool] * 9 + [withdraw]))
        body = bytes(self.chance.choice([2, 2, 2, 3 * MIB]))
        timeout_s, repeatable = self.chance.choice([0.05, 0.3]), self.chance.random() < 0.5
        exchange = service(self.client).start(post(body=body, timeout_s=timeout_s, repeatable=repeatable), sink)
        self.started.append((exchange, sink))

    def cancel(self, exchange: Exchange, sink: Noting) -> None:
        """Cancels one, which may be over."""
        if exchange.state is not ExchangeState.OVER:
            self.cancelled.add(sink)
        exchange.cancel()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("seed", range(3))
async def test_each_sink_gets_one_end_and_nothing_is_left(ours: Authority, scheme: str, seed: int) -> None:
    chance = random.Random(seed)

    async def behave(stream: trio.abc.Stream) -> bool:
        return await chance.choice(MANNERS)(stream)

    async with running(ours if scheme == "https" else None) as (client, server):
        server.default = behave
        crowd = Crowd(client, chance)
        await crowd.come()
        if seed:  # or else the client ends while some are under way
            await until_async(lambda: leaves_nothing(client), "all are over")
    await until_async(lambda: leaves_nothing(client), "nothing is left")
    for _, sink in crowd.started:
        assert sum(said in ENDS for said in sink.said) == (sink not in crowd.cancelled), sink.said
    await all_closed(server)
