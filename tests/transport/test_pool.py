# ruff: noqa: SLF001 - what a cancelled, cut or crowded connection leaves behind
"""The lean client's pool: no caller waiting for a connection is overtaken, and no unneeded one stays open."""

import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from restbroker.config.target import Target
from restbroker.transport.client import LeanClient
from restbroker.transport.message import Request, Withdrawn
from restbroker.transport.readiness import LOOK_S, Readiness
from restbroker.transport.wire import Listener
from tests.support.rows import rows
from tests.transport.senders import Sender
from tests.transport.test_client import post, target

SERVICE_S = 0.0066
QUICK_S = 0.0001
EXPIRY_S = 30.0


@attrs.define
class Slow:
    """A server in memory that answers one request after the other. `came` are those asked for, `sent` those it got.

    `hangs_up`: it closes behind each answer, and does not say so.
    """

    turns: trio.Lock = attrs.Factory(trio.Lock)
    is_quick: bool = False
    hangs_up: bool = False
    came: list[bytes] = attrs.Factory(list)
    sent: list[bytes] = attrs.Factory(list)
    wires: list["Line"] = attrs.Factory(list)

    async def dial(self, _target: Target, _tls: ssl.SSLContext, _timeout_s: float) -> "Line":
        self.wires.append(Line(self))
        return self.wires[-1]

    @property
    def open(self) -> int:
        """How many connections the client has not closed."""
        return sum(not wire.is_closed for wire in self.wires)


@attrs.define(eq=False)
class Line:
    """A connection to it; `is_over`: the server closed it."""

    server: Slow
    has_sent: bool = False
    is_over: bool = False
    is_closed: bool = False

    listener: Listener | None = None

    def begin(self, message: bytes) -> bool:
        self.has_sent = True
        self.server.sent.append(message.rpartition(b"\r\n\r\n")[2])
        return True

    async def send_rest(self) -> None:
        raise AssertionError("all was sent")

    def listen(self, listener: Listener, _readiness: Readiness) -> bool:
        self.listener = listener
        return False

    def unlisten(self) -> None:
        self.listener = None

    async def attend(self) -> None:
        listener = self.listener
        if self.server.is_quick:
            await trio.sleep(QUICK_S)
        else:
            async with self.server.turns:
                await trio.sleep(SERVICE_S)
        self.is_over = self.server.hangs_up
        if listener is not None and self.listener is listener:
            listener(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0")

    def is_quiet(self) -> bool:
        return not self.is_over

    def close(self) -> None:
        self.is_closed = True


@asynccontextmanager
async def pool(monkeypatch: pytest.MonkeyPatch, workers: int) -> AsyncIterator[tuple[LeanClient, Slow]]:
    """With its `run`."""
    server = Slow()
    monkeypatch.setattr("restbroker.transport.pool.dial", server.dial)
    made = target(1, concurrency=workers, idle_expiry_s=EXPIRY_S, engine="lean")
    client = LeanClient(made, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    async with trio.open_nursery() as nursery:
        await nursery.start(client.run)
        yield client, server
        await client.aclose()
        nursery.cancel_scope.cancel()


async def send(client: LeanClient, server: Slow, body: bytes) -> None:
    server.came.append(body)
    request: Request = post(body=body)
    await client.send(request)


def overtaken(server: Slow) -> int:
    """By how many the one was that was so most; those called in one moment run in any order."""
    return max(server.sent.index(body) - place for place, body in enumerate(server.came))


async def test_each_worker_gets_its_own_connection_and_waiting_ends(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(client: LeanClient) -> None:
        for _ in range(50):
            await client.send(post())

    async with pool(monkeypatch, 20) as (client, server):
        server.is_quick = True
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(work, client)
        assert len(server.wires) == 20


@rows("seed", range(10))
async def test_callers_who_give_up_leave_their_place_to_the_next(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)

    async def work(client: LeanClient, server: Slow, worker: int) -> None:
        for number in range(10):
            with trio.move_on_after(chance.choice([0.0, SERVICE_S, 10 * SERVICE_S, 1000.0])):
                await send(client, server, b"%d-%d" % (worker, number))
            await trio.sleep(chance.choice([0.0, 0.0, SERVICE_S]))

    async with pool(monkeypatch, 40) as (client, server):
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for worker in range(40):
                    nursery.start_soon(work, client, server, worker)
        got = set(server.sent)
        server.came = [body for body in server.came if body in got]
        assert overtaken(server) <= len(server.wires)
        assert not client._pool._ramp.line
        assert server.open == len(client._pool.idle)


async def burst(client: LeanClient, server: Slow) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(send, client, server, b"%d" % number)
    assert server.open == len(client._pool.idle) >= 4


async def test_idle_connections_close_in_time_and_then_nothing_wakes(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pool(monkeypatch, 20) as (client, server):
        for _ in range(2):
            await burst(client, server)
            opened = server.open
            await trio.sleep(EXPIRY_S - LOOK_S)
            assert server.open == opened
            await trio.sleep(2.5 * LOOK_S)
            assert server.open == 0
            await wait_all_tasks_blocked()
            assert trio.lowlevel.current_statistics().seconds_to_next_deadline == float("inf")


async def test_idle_connection_closed_by_the_server_is_closed_soon(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pool(monkeypatch, 20) as (client, server):
        await burst(client, server)
        opened = server.open
        server.wires[0].is_over = server.wires[2].is_over = True
        await trio.sleep(1.5 * LOOK_S)
        assert server.open == len(client._pool.idle) == opened - 2
        await client.send(post())
        assert len(server.wires) == opened


async def test_connection_closed_behind_its_answer_serves_no_waiter(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pool(monkeypatch, 20) as (client, server):
        server.hangs_up = True
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(send, client, server, b"%d" % number)
        assert sorted(server.sent) == sorted(server.came)
        assert len(server.wires) == 20
        await trio.sleep(2 * LOOK_S)
        assert server.open == 0


async def test_request_withdrawn_at_its_turn_leaves_it_to_the_next(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    refused: list[Sender] = []

    async def send(client: LeanClient, sender: Sender) -> None:
        try:
            await client.send(post(), sender)
        except Withdrawn:
            refused.append(sender)

    senders = [Sender() for _ in range(40)]
    async with pool(monkeypatch, 40) as (client, server), trio.open_nursery() as nursery:
        for sender in senders:
            nursery.start_soon(send, client, sender)
        await wait_all_tasks_blocked()
        late = [sender for sender in senders if "sending" not in sender.said]
        assert len(late) > 30
        for sender in late[::2]:
            sender.forbid()
    assert refused
    assert all(sender in late[::2] and "sending" not in sender.said for sender in refused)
    assert len(server.sent) == 40 - len(refused)
    assert [sender.said[-1] for sender in senders if sender not in refused] == ["sending"] * len(server.sent)
