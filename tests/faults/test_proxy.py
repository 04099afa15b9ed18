"""The judge of the fault tests is truthful: what a client concludes through it is what really happened."""

import contextlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from restbroker.config.target import Target, Url
from restbroker.transport.client import open_transport
from restbroker.transport.message import MaybeSent, Request, Response
from tests.support.counting_proxy import CountingProxy
from tests.support.recorder import recording, reset
from tests.support.wait import until, until_async

ASK = Request("POST", "/api/status", 5.0, body=b"{}", headers=(("traceparent", "job-1"),))


@contextmanager
def silent_server() -> Iterator[socket.socket]:
    """A listening port that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


async def send(port: int) -> Response:
    transport = open_transport(Target("t", "ejabberd", Url("http", "127.0.0.1", port), ("rest",)))
    try:
        return await transport.send(ASK)
    finally:
        await transport.aclose()


async def test_server_resetting_after_the_request_leaves_it_uncertain() -> None:
    async with recording() as server:
        server.script.append(reset())
        with CountingProxy(server.port) as proxy:
            await until_async(lambda: proxy.is_open, "the proxy listens")
            with pytest.raises(MaybeSent):
                await send(proxy.port)
            (exchange,) = proxy.of_jobs()["job-1"]
    assert (exchange.done, exchange.maybe_run) == (False, True)


def test_connection_accepted_before_known_death_is_not_forwarded() -> None:
    with silent_server() as server, CountingProxy(server.getsockname()[1]) as proxy:
        until(lambda: proxy.is_open, "the proxy listens")
        canary, _ = server.accept()
        server.close()  # the listener alone, as a graceful stop does first: the canary's connection is still there
        with canary, contextlib.closing(socket.create_connection(("127.0.0.1", proxy.port))) as client:
            client.settimeout(5)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            until(lambda: not proxy.is_open, "the proxy closes its door")
        assert proxy.exchanges == []
