"""One task wakes all connections on which something came, and connections are lent for exchanges by events."""

import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from restbroker.transport.readiness import Readiness
from restbroker.transport.wire import Unwatched, Wire
from tests.support.rows import rows
from tests.transport.wires import receive, send_all


@contextmanager
def wired() -> Iterator[tuple[Wire, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        yield Wire(here), there


@asynccontextmanager
async def kept() -> AsyncIterator[Readiness]:
    arrivals = Readiness()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(arrivals.run)
        await wait_all_tasks_blocked()
        assert arrivals.is_kept
        yield arrivals
        nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class Steps(trio.abc.Instrument):
    """Counts how often any task runs."""

    count: int = 0

    def before_task_step(self, _task: trio.lowlevel.Task) -> None:
        self.count += 1


async def test_later_call_comes_once_after_a_batch_and_knows_the_rest() -> None:
    async with kept() as arrivals:
        with wired() as (one, there), wired() as (other, far):
            called: list[object] = []

            def listen(wire: Wire, got: bytes | Exception) -> None:
                called.append(got)
                if len(called) == 1:
                    arrivals.afterwards.append(
                        lambda more: called.append(["one" if it is one else "other" for it in more])
                    )
                elif len(called) == 2:
                    there.send(b"more") if wire is one else far.send(b"more")

            one.listen(partial(listen, one), arrivals)
            other.listen(partial(listen, other), arrivals)
            there.send(b"one")
            far.send(b"other")
            await wait_all_tasks_blocked(0.05)
            first, second, more, last = called
            assert isinstance(second, bytes)
            assert {first, second} == {b"one", b"other"}
            assert (more, last) == ([second.decode()], b"more")
            one.close()
            other.close()


async def test_no_connection_with_unread_bytes_is_quiet_among_thousand() -> None:
    count, (soft, hard) = 1200, resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    unread = list[bool]()

    @attrs.frozen(eq=False)
    class Listener:
        """Leaves unread what came, and asks whether something came since."""

        def on_readable(self) -> bool:
            arrivals.afterwards.append(lambda more: unread.append(self in more))
            return True

        def lose_watch(self) -> None:
            pass

    async with kept() as arrivals:
        descriptors = [os.eventfd(1) for _ in range(count)]
        for descriptor in descriptors:
            arrivals.watch(descriptor, Listener())
        while len(unread) < count:
            await trio.lowlevel.checkpoint()
        for descriptor in descriptors:
            arrivals.forget(descriptor)
            os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert set(unread) == {True}


async def test_unawaited_bytes_are_there_later_and_wake_nothing_before() -> None:
    async with kept() as arrivals:
        with wired() as (wire, there):
            there.send(b"first")
            assert await receive(wire, arrivals) == b"first"
            there.send(b"second")
            await wait_all_tasks_blocked(0.05)
            steps = Steps()
            trio.lowlevel.add_instrument(steps)
            await wait_all_tasks_blocked(0.05)
            trio.lowlevel.remove_instrument(steps)
            assert steps.count <= 2, "only the waiting for the others itself"
            assert not wire.is_quiet()
            assert await receive(wire, arrivals) == b"second"
            there.close()
            assert await receive(wire, arrivals) == b""
            assert await receive(wire, arrivals) == b""
            wire.close()


@rows("is_kept", [True, False])
async def test_closing_a_wire_ends_its_readers_and_writers(is_kept: bool) -> None:
    async with kept() as arrivals:
        with wired() as (wire, there):
            there.send(b"x")
            await receive(wire, arrivals)
            ended = 0

            async def wait(*, sends: bool) -> None:
                nonlocal ended
                with pytest.raises(trio.ClosedResourceError):
                    await (send_all(wire, bytes(10_000_000)) if sends else receive(wire, arrivals if is_kept else None))
                ended += 1

            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: wait(sends=False))
                nursery.start_soon(lambda: wait(sends=True))
                await wait_all_tasks_blocked()
                wire.close()
            assert ended == 2


async def test_calls_begun_while_the_kernel_is_full_keep_their_order() -> None:
    with wired() as (wire, there), there:
        size = 10_000_000
        assert not wire.begin(b"a" * size)
        assert not wire.begin(b"b")
        got = bytearray()

        async def read() -> None:
            end = trio.socket.from_stdlib_socket(there.dup())
            with end:
                while len(got) < size + 2:
                    got.extend(await end.recv(65536))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.send_rest)
            await wait_all_tasks_blocked()
            assert not wire.begin(b"c")
            nursery.start_soon(read)
        assert got == b"a" * size + b"bc"
        assert wire.begin(b"")
        wire.close()


async def test_reused_descriptor_is_reported_to_its_new_owner_only() -> None:
    async with kept() as arrivals:
        with wired() as (old, there):
            there.send(b"old")
            await receive(old, arrivals)
            old.close()
            with wired() as (new, to_new):
                there.close()
                to_new.send(b"new")
                assert await receive(new, arrivals) == b"new"
                with pytest.raises(trio.ClosedResourceError):
                    await receive(old, arrivals)
                new.close()


async def test_listener_is_informed_when_the_task_ends_and_bytes_stay() -> None:
    arrivals, scope = Readiness(), trio.CancelScope()
    got: list[bytes | Exception] = []
    with wired() as (wire, there):
        async with trio.open_nursery() as nursery:
            with scope:
                await nursery.start(arrivals.run)
                assert wire.listen(got.append, arrivals)
                nursery.cancel_scope.cancel()
        assert [type(piece) for piece in got] == [Unwatched]
        there.send(b"one")
        assert await receive(wire, arrivals) == b"one"
        wire.close()


async def test_a_wire_goes_from_one_listening_task_to_another(nursery: trio.Nursery) -> None:
    one, other = Readiness(), Readiness()
    await nursery.start(one.run)
    await nursery.start(other.run)
    with wired() as (wire, there):
        for arrivals in (one, other, one):
            there.send(b"x")
            assert await receive(wire, arrivals) == b"x"
        assert not other._watched  # noqa: SLF001 - nothing else shows it
        wire.close()
        assert not one._watched  # noqa: SLF001 - nothing else shows it


async def test_call_for_the_next_bytes_comes_before_them_or_soon(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with kept() as arrivals:
        with wired() as (wire, there):
            called: list[object] = []
            wire.listen(called.append, arrivals)
            arrivals.call_next(lambda: called.append("next"))
            there.send(b"came")
            await trio.sleep(0.004)
            assert called == ["next", b"came"]
            wire.close()
            called.clear()

        def again() -> None:
            called.append("again")
            arrivals.call_next(lambda: called.append("last"))

        # What a call adds is called soon as well, though nothing comes at all.
        arrivals.call_next(again)
        await trio.sleep(0.006)
        assert called == ["again"]
        await trio.sleep(0.006)
        assert called == ["again", "last"]
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(1.0)
        trio.lowlevel.remove_instrument(steps)
        assert steps.count <= 2, "nothing wakes it up any more"
        arrivals.call_next(lambda: called.append("at the end"))
    assert called[-1] == "at the end"
