# ruff: noqa: SLF001 - a server that moves meanwhile
"""What the lean client does beyond what every transport promises: stale connections, deadlines by one task, age."""

import socket
import struct
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from restbroker.config.target import Url
from restbroker.transport.client import LeanClient, open_transport
from restbroker.transport.http1 import Heads
from restbroker.transport.message import MaybeSent, NotSent, Transport
from restbroker.transport.pool import HttpConnection
from restbroker.transport.readiness import Deadlines, Readiness
from restbroker.transport.wire import Listener, Wire
from tests.support import recorder
from tests.support.recorder import Recorder
from tests.support.rows import rows
from tests.support.wait import NEVER_S
from tests.transport.senders import Sender
from tests.transport.test_client import MIB, pair, post, target
from tests.transport.wires import receive


@asynccontextmanager
async def kept(**changes: object) -> AsyncIterator[tuple[Transport, Recorder]]:
    """A lean transport that runs."""
    async with pair(engine="lean", **changes) as (transport, server), trio.open_nursery() as nursery:
        assert isinstance(transport, LeanClient)
        await nursery.start(transport.run)
        yield transport, server
        nursery.cancel_scope.cancel()


def test_long_heads_are_not_kept() -> None:
    heads = Heads(target(1))
    tracemalloc.start()
    try:
        for number in range(20):
            assert len(heads.message(post(f"/{number}", query=(("q", "x" * MIB),)))) > MIB
        assert tracemalloc.get_traced_memory()[0] < MIB
    finally:
        tracemalloc.stop()


def test_last_header_of_a_job_changes_only_those_it_rules() -> None:
    heads = Heads(target(1))
    last_ones = [("B", "1"), ("B", "2"), ("Host", "a.example"), ("accept-encoding", "gzip"), ("Connection", "close")]
    first, host, plain, own = "POST /x HTTP/1.1", "Host: 127.0.0.1:1", "Accept-Encoding: identity", "A: 1"
    assert [heads.head(post("/x", headers=(("A", "1"), last))).decode().split("\r\n") for last in last_ones] == [
        [first, host, plain, own, "B: 1", "Content-Length: "],
        [first, host, plain, own, "B: 2", "Content-Length: "],
        [first, "Host: a.example", plain, own, "Content-Length: "],
        [first, host, own, "accept-encoding: gzip", "Content-Length: "],
        [first, host, plain, own, "Content-Length: "],
    ]


async def hang_up_unanswered(stream: trio.abc.Stream) -> bool:
    assert isinstance(stream, trio.SocketStream)
    stream.socket.close()
    return False


CUT_IN_THE_HEAD = recorder.raw(b"HTTP/1.1 200 OK\r\nContent-Le")


@rows(("is_kept", "action", "repeatable", "requests"), [
    (True, hang_up_unanswered, True, 3),
    (True, hang_up_unanswered, False, 2),
    (True, CUT_IN_THE_HEAD, True, 2),
    (False, hang_up_unanswered, True, 1),
])  # fmt: skip
async def test_only_unanswered_kept_connection_is_retried_if_harmless(
    is_kept: bool, action: recorder.Action, repeatable: bool, requests: int
) -> None:
    async with kept() as (transport, server):
        if is_kept:
            await transport.send(post())
        server.script.append(action)
        if requests == 3:
            assert (await transport.send(post(repeatable=repeatable))).status == 200
            assert server.connections == 2
        else:
            with pytest.raises(MaybeSent) as caught:
                await transport.send(post(repeatable=repeatable))
            assert not caught.value.timed_out
        assert len(server.requests) == requests


async def test_perhaps_run_request_is_not_retried_against_its_sender() -> None:
    async with kept() as (transport, server):
        await transport.send(post())
        server.script.append(hang_up_unanswered)
        sender = Sender()
        sender.sending = sender.forbid
        with pytest.raises(MaybeSent, match="before a whole answer came"):
            await transport.send(post(repeatable=True), sender)
        assert len(server.requests) == 2


async def test_repeated_request_that_fails_may_have_run_the_first_time() -> None:
    async with kept() as (transport, server):
        await transport.send(post())

        async def leave_for_good(stream: trio.abc.Stream) -> bool:
            assert isinstance(transport, LeanClient)
            transport._pool.target = attrs.evolve(transport._pool.target, url=Url("http", "127.0.0.1", 1))
            return await hang_up_unanswered(stream)

        server.script.append(leave_for_good)
        with pytest.raises(MaybeSent, match=r"then: No connection to .*refused"):
            await transport.send(post(repeatable=True))


@attrs.define
class BreakingWire:
    """A kept connection over which nothing leaves any more."""

    has_sent: bool = False

    def begin(self, _message: bytes) -> bool:
        raise BrokenPipeError

    async def send_rest(self) -> None:
        raise AssertionError("nothing was sent")

    def listen(self, _listener: Listener, _readiness: Readiness) -> bool:
        return True

    def unlisten(self) -> None:
        pass

    async def attend(self) -> None:
        raise AssertionError("it is watched")

    def is_quiet(self) -> bool:
        return True

    def close(self) -> None:
        pass


async def test_sending_on_the_first_connection_is_remembered() -> None:
    """The second connection sends nothing and the third cannot be made; the first may have brought the request."""
    async with kept() as (transport, server):
        assert isinstance(transport, LeanClient)
        await transport.send(post())
        breaking: Any = BreakingWire()
        second = HttpConnection(breaking, trio.current_time() + NEVER_S, None)
        second.good_until_s, second.is_used = trio.current_time() + NEVER_S, True
        transport._pool.idle.appendleft(second)
        transport._pool.target = attrs.evolve(transport._pool.target, url=Url("http", "127.0.0.1", 1))
        server.script.append(hang_up_unanswered)
        with pytest.raises(MaybeSent, match=r"then: No connection to .*refused"):
            await transport.send(post(repeatable=True))
        assert len(server.requests) == 2


async def test_a_request_is_not_repeated_when_its_time_is_over() -> None:
    async with kept() as (transport, server):
        await transport.send(post())

        async def leave_late(stream: trio.abc.Stream) -> bool:
            # At the next look at the clock the deadline has passed.
            while trio.current_time() < late_s:
                pass
            return await hang_up_unanswered(stream)

        server.script.append(leave_late)
        late_s = trio.current_time() + 0.6
        with pytest.raises(MaybeSent) as caught:
            await transport.send(post(repeatable=True, timeout_s=0.5))
        assert caught.value.timed_out
        assert len(server.requests) == 2


async def test_unused_new_connection_means_nothing_was_sent() -> None:
    def reset() -> None:
        """Reset the connection between the dialling and the first byte."""
        there, _ = listening.accept()
        there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        there.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        transport = open_transport(target(listening.getsockname()[1], engine="lean"))
        with pytest.raises(NotSent, match=r"No connection to .*reset"):
            await transport.send(post(repeatable=True), Sender(sending=reset))
        with pytest.raises(NotSent, match="Nothing could be sent within 0 s") as late:
            await transport.send(post(timeout_s=0.0))
        assert late.value.timed_out
        await transport.aclose()


async def test_ending_client_gives_up_requests_and_later_ones_go_alone() -> None:
    ends: list[Exception] = []

    async def expect_given_up(transport: Transport) -> None:
        with pytest.raises((NotSent, MaybeSent), match="stopped") as caught:
            await transport.send(post(timeout_s=60.0))
        ends.append(caught.value)

    async with pair(engine="lean", concurrency=0) as (transport, server), trio.open_nursery() as requests:
        server.script += [recorder.stall(), recorder.stall()]
        async with trio.open_nursery() as watching:
            await watching.start(transport.run)
            requests.start_soon(expect_given_up, transport)
            await server.arrived.wait()
            requests.start_soon(expect_given_up, transport)
            await wait_all_tasks_blocked()
            watching.cancel_scope.cancel()
        await _expect_time_out(transport)
    assert sorted(type(end).__name__ for end in ends) == ["MaybeSent", "NotSent"]


async def _expect_time_out(transport: Transport) -> None:
    with trio.fail_after(20), pytest.raises(MaybeSent) as caught:
        await transport.send(post(timeout_s=0.3))
    assert caught.value.timed_out


async def test_already_cancelled_caller_sends_nothing() -> None:
    """It is not told that it does."""
    async with kept() as (transport, server):
        await transport.send(post())
        sender = Sender()
        with trio.CancelScope() as scope:
            scope.cancel()
            await transport.send(post(), sender)
        assert scope.cancelled_caught
        await transport.send(post(), sender)
        assert (sender.said.count("sending"), len(server.requests), server.connections) == (1, 2, 1)


async def test_answer_before_the_whole_request_went_is_read(nursery: trio.Nursery) -> None:
    early = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"

    async def refuse(stream: trio.SocketStream) -> None:
        await stream.receive_some(100)
        await stream.send_all(early)
        await stream.send_eof()
        with trio.move_on_after(5):
            async for _ in stream:
                pass
        await stream.aclose()

    listeners: list[trio.SocketListener] = await nursery.start(trio.serve_tcp, refuse, 0)
    transport = open_transport(target(listeners[0].socket.getsockname()[1], engine="lean"))
    answer = await transport.send(post(body=bytes(20 * MIB)))
    assert (answer.status, answer.body) == (413, b"no")
    await transport.aclose()


async def test_wire_closed_before_its_task_runs_says_so() -> None:
    here, there = socket.socketpair()
    wire = Wire(here)
    wire.close()
    with pytest.raises(trio.ClosedResourceError):
        await receive(wire)
    with pytest.raises(OSError, match="Bad file descriptor"):
        wire.begin(b"x")
    assert not wire.has_sent
    assert not wire.is_quiet()
    there.close()


async def test_watcher_sleeps_while_there_is_nothing_to_watch(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    class Late:
        expired_at_s: float | None = None

        def expire(self) -> None:
            self.expired_at_s = trio.current_time()

    deadlines = Deadlines()
    await nursery.start(deadlines.run)
    first, second = Late(), Late()
    began_s = trio.current_time()
    await trio.sleep(1000)
    assert trio.lowlevel.current_statistics().seconds_to_next_deadline == float("inf")
    deadlines.watch(first, trio.current_time() + 1)
    deadlines.watch(second, trio.current_time() + 1)
    del deadlines.due[second]
    await trio.sleep(10)
    assert first.expired_at_s is not None
    assert 1001 <= first.expired_at_s - began_s <= 1001.2
    assert second.expired_at_s is None
