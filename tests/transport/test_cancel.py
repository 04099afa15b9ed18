# ruff: noqa: SLF001 - what a cancelled, cut or crowded connection leaves behind
"""A request cancelled at whatever place it waits leaves nothing behind: no socket, no place taken, no deadline."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from restbroker.config.target import TlsFiles, Url
from restbroker.transport.client import LeanClient, open_transport
from restbroker.transport.message import Request
from tests.support.recorder import Recorder, recording
from tests.transport.authority import Authority, authority, recording_tls
from tests.transport.test_client import MIB, post, target

PLACES = 3
MOST_STEPS = 200


@attrs.define(eq=False)
class AtStep(trio.abc.Instrument):
    """Cancels `scope` when its task has begun to wait for the `step`th time."""

    step: int
    scope: trio.CancelScope
    task: trio.lowlevel.Task
    seen: int = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.seen += 1
            if self.seen == self.step:
                self.scope.cancel()


async def in_pieces(stream: trio.abc.Stream) -> bool:
    for piece in (b"HTTP/1.1 200 OK\r\nConte", b"nt-Length: 3\r\n\r\n", b"a", b"bc"):
        await stream.send_all(piece)
        await wait_all_tasks_blocked()
    return True


async def hang_up(_stream: trio.abc.Stream) -> bool:
    return False


async def nothing(_client: LeanClient, _server: Recorder) -> None:
    """The request makes the first connection."""


async def kept(client: LeanClient, _server: Recorder) -> None:
    """There is a connection."""
    await client.send(post())


async def stale(client: LeanClient, server: Recorder) -> None:
    """There is a connection that the server closes upon the request."""
    await client.send(post())
    server.script.append(hang_up)


PLAIN = post(repeatable=True)
LARGE = post(body=bytes(2 * MIB), repeatable=True)
Before = Callable[[LeanClient, Recorder], object]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def opened(ours: Authority, scheme: str, *, watched: bool) -> AsyncIterator[tuple[LeanClient, Recorder]]:
    tls = ours.served(ssl.TLSVersion.TLSv1_3)
    serving: AbstractAsyncContextManager[Recorder] = recording_tls(tls) if scheme == "https" else recording()
    async with serving as server, trio.open_nursery() as nursery:
        url = Url(scheme, "127.0.0.1", server.port)
        made = target(server.port, url=url, concurrency=PLACES - 1, engine="lean", tls=TlsFiles(ours.ca))
        client = open_transport(made)
        assert isinstance(client, LeanClient)
        if watched:
            await nursery.start(client.run)
        yield client, server
        await client.aclose()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("scheme", "watched"),
    [
        ("http", True),
        ("https", False),
        pytest.param("http", False, marks=pytest.mark.nightly),
        pytest.param("https", True, marks=pytest.mark.nightly),
    ],
)
async def test_a_request_cancelled_anywhere_leaves_the_pool_clean(ours: Authority, scheme: str, watched: bool) -> None:
    large = [(stale, LARGE)] if scheme == "http" else [(kept, LARGE)]
    for before, request in [(nothing, PLAIN), (kept, PLAIN), (stale, PLAIN), *large]:
        async with opened(ours, scheme, watched=watched) as (client, server):
            for step in range(1, MOST_STEPS):
                cancelled = await cancelled_at(step, client, server, before, request)
                await is_clean(client, server)
                if not cancelled:
                    break
            assert 2 <= step < MOST_STEPS - 1, (before, len(request.body))


async def cancelled_at(step: int, client: LeanClient, server: Recorder, before: Before, request: Request) -> bool:
    """Whether the request waited so often that it was cancelled."""
    close_idle(client)
    await before(client, server)  # type: ignore[misc]  # they are coroutine functions
    server.script.append(in_pieces)
    with trio.CancelScope() as scope:
        instrument = AtStep(step, scope, trio.lowlevel.current_task())
        trio.lowlevel.add_instrument(instrument)
        try:
            assert (await client.send(request)).body == b"abc"
        finally:
            trio.lowlevel.remove_instrument(instrument)
    server.script.clear()
    return scope.cancelled_caught


def close_idle(client: LeanClient) -> None:
    while (connection := client._pool.take(trio.current_time(), has_place=True)) is not None:
        connection.wire.close()


async def is_clean(client: LeanClient, server: Recorder) -> None:
    with trio.fail_after(60):
        # A task that was to connect may still be ending, and the server shaking hands with one that is gone.
        await wait_all_tasks_blocked()
    assert client._pool._places.value == PLACES
    assert not client._upkeep.deadlines.due
    assert not client._pool._ramp._young
    with trio.fail_after(60):
        while server.open_connections != len(client._pool.idle):  # noqa: ASYNC110 - nothing tells of it
            await trio.sleep(0.001)
        server.most_open = 0
        async with trio.open_nursery() as nursery:
            for _ in range(3 * PLACES):
                nursery.start_soon(client.send, post())
    assert server.most_open <= PLACES
    assert client._pool._places.value == PLACES
