"""Connections that the lean client lends for exchanges by events, as those of the broker's fast path are."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from restbroker.transport.connect_limit import START
from restbroker.transport.errors import MaybeSent
from restbroker.transport.idle import Connection, PartialExchange
from restbroker.transport.lean import LeanClient
from restbroker.transport.wire import PlainWire
from tests.support.recorder import Recorder
from tests.support.wait import until_async
from tests.transport.test_client import pair, post


@asynccontextmanager
async def lending(**changes: object) -> AsyncIterator[tuple[LeanClient, Recorder, Connection]]:
    """A client, and a connection that it lent after its first request."""
    async with pair(engine="lean", **changes) as (client, server), trio.open_nursery() as nursery:
        assert isinstance(client, LeanClient)
        client.expect_borrower()
        await nursery.start(client.run)
        await client.send(post())
        connection = client.lend(trio.current_time())
        assert connection is not None
        yield client, server, connection
        nursery.cancel_scope.cancel()


async def hang(_stream: trio.abc.Stream) -> bool:
    await trio.sleep_forever()


async def hang_up(stream: trio.abc.Stream) -> bool:
    await stream.aclose()
    return False


async def test_a_lent_connection_is_not_lent_again_while_others_wait_for_one_but_goes_to_the_first_of_them() -> None:
    concurrency = START + 5
    async with lending(concurrency=concurrency) as (client, server, connection), trio.open_nursery() as nursery:
        server.default = hang
        for _ in range(concurrency):
            nursery.start_soon(client.send, post())
        await until_async(lambda: client._ramp.waiting_count > 0, "some wait")  # noqa: SLF001 - nothing else shows it
        assert client.lend_again([connection], trio.current_time()) == []
        client.take_back(connection, trio.current_time(), fit=True)
        await until_async(lambda: [one.connection for one in server.requests].count(1) == 2, "one has it")
        nursery.cancel_scope.cancel()


async def test_what_was_begun_over_a_lent_connection_ends_at_its_deadline_though_it_is_sent_again_meanwhile() -> None:
    async with lending() as (client, server, connection):
        server.script += [hang_up, hang]
        request, now_s = post(repeatable=True, timeout_s=90.0), trio.current_time()
        message, due_s = client.message_of(request), now_s + 0.3
        client.watch(connection, due_s)
        assert isinstance(connection.wire, PlainWire)
        partial = PartialExchange(connection, message, connection.wire.send_now(message), now_s, due_s)
        with trio.fail_after(30), pytest.raises(MaybeSent) as caught:
            await client.resume(partial, request)
        assert caught.value.timed_out
        assert len(server.requests) == 3
