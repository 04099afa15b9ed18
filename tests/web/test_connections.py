"""What is sent over one connection, to readers that read, that read slowly, and that do not read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from restbroker.serving.connections import BoundedStream, Connections

MUCH = bytes(range(256)) * 40_000
"""More than the kernel keeps for who does not read."""
ENOUGH_S = 20


@asynccontextmanager
async def joined(connections: Connections) -> AsyncIterator[tuple[BoundedStream, trio.SocketStream]]:
    """Both ends of a connection over loopback."""
    with trio.socket.socket() as listener, trio.socket.socket() as reader:
        await listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        await reader.connect(listener.getsockname())
        accepted, _ = await listener.accept()
        with accepted:
            yield BoundedStream(trio.SocketStream(accepted), connections, trio.CancelScope()), trio.SocketStream(reader)


async def read_to_the_end(reader: trio.SocketStream) -> None:
    while await reader.receive_some():
        pass


async def test_who_takes_nothing_is_dropped_and_nothing_is_kept_for_him() -> None:
    connections = Connections(patience_s=0.2)
    async with joined(connections) as (bounded, reader):
        with trio.fail_after(ENOUGH_S):
            with pytest.raises(trio.BrokenResourceError):
                await bounded.send_all(MUCH)
            assert bounded.socket.fileno() == -1
            assert bounded.scope.cancel_called
            # A reset: what the kernel had kept for him is gone, too.
            with pytest.raises(trio.BrokenResourceError):
                await read_to_the_end(reader)
    assert connections.drop_count == 1


async def test_who_reads_slowly_gets_everything() -> None:
    connections = Connections(patience_s=ENOUGH_S)
    received = bytearray()
    async with joined(connections) as (bounded, reader), trio.open_nursery() as nursery:
        nursery.start_soon(bounded.send_all, MUCH)
        with trio.fail_after(3 * ENOUGH_S):
            while len(received) < len(MUCH):
                received += await reader.receive_some(4096)
        assert not bounded.scope.cancel_called
    assert received == MUCH
    assert connections.drop_count == 0


async def test_a_stop_lets_go_of_who_does_not_read_however_patient_one_was() -> None:
    connections = Connections(patience_s=3600)
    ended: list[str] = []

    async def send(bounded: BoundedStream) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await bounded.send_all(MUCH)
        ended.append("the one under way")

    async with joined(connections) as (bounded, _reader):
        with trio.fail_after(ENOUGH_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, bounded)
                await trio.testing.wait_all_tasks_blocked()
                connections.hurry()
    async with joined(connections) as (bounded, _reader):
        with trio.fail_after(ENOUGH_S), pytest.raises(trio.BrokenResourceError):
            await bounded.send_all(MUCH)
    assert ended == ["the one under way"]
    assert connections.drop_count == 2


async def test_who_went_away_ends_a_send_at_once() -> None:
    connections = Connections(patience_s=3600)
    async with joined(connections) as (bounded, reader):
        await reader.aclose()
        with trio.fail_after(ENOUGH_S), pytest.raises(trio.BrokenResourceError):
            await bounded.send_all(MUCH)
        assert bounded.scope.cancel_called
    assert connections.drop_count == 0
