"""A real ejabberd, whose backlog is short, is connected to slowly enough."""

import ssl
from pathlib import Path

import pytest
import trio

from restbroker.config.target import Target, Url
from restbroker.transport.client import open_transport
from restbroker.transport.connect import AT_ONCE, dial
from restbroker.transport.message import Request
from restbroker.transport.wire import Wire
from tests.support.ejabberd import Ejabberd


async def test_few_of_two_hundred_at_once_wait_for_the_backlog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    took_s: list[float] = []

    async def timed(target: Target, tls: ssl.SSLContext, timeout_s: float) -> Wire:
        began_s = trio.current_time()
        try:
            return await dial(target, tls, timeout_s)
        finally:
            took_s.append(trio.current_time() - began_s)

    monkeypatch.setattr("restbroker.transport.pool.dial", timed)
    server = Ejabberd(tmp_path).start()
    try:
        url = Url("http", "127.0.0.1", server.port, "/api")
        transport = open_transport(Target("t", "ejabberd", url, ("rest",), concurrency=200))
        request = Request("POST", "/api/status", 30.0, headers=(("Authorization", server.authorization()),), body=b"{}")
        statuses: list[int] = []

        async def work() -> None:
            statuses.extend([(await transport.send(request)).status for _ in range(5)])

        # As a pool does: its probe comes first, and makes the server load its code.
        await transport.send(request)
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(work)
        await transport.aclose()
    finally:
        server.kill()
    assert statuses == [200] * 1000
    assert len(took_s) > AT_ONCE
    # TCP tries again after 1 s. A server that gets no processor for a moment takes no connection then, fast or slow.
    assert sum(each_s > 0.9 for each_s in took_s) <= len(took_s) / 4
