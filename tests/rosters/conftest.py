"""The roster service inside the test: real Hypercorn on loopback, real Redis, and clients that send bytes."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import httpx
import pytest
import trio

from restbroker.app.services import RosterService, roster_service
from restbroker.config.roster import Roster
from restbroker.rosters.reader import RosterReader
from restbroker.rosters.refresh_target import RefreshTarget
from restbroker.rosters.rules import Contact, as_stored
from restbroker.serving.runner import Server
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.store.keys import RedisKeys
from restbroker.telemetry.events import Event, OperatorWarning
from tests.support.redis_server import RedisServer

PROSODY = b"Prosody XMPP Server"


@attrs.define(eq=False)
class Site:
    """A running service. `get` is a client that encodes addresses; `ask` sends them as they are, as Prosody does."""

    made: RosterService
    url: str
    events: list[Event]
    client: httpx.AsyncClient
    scope: trio.CancelScope

    async def get(self, path: str, **more: str) -> httpx.Response:
        return await self.client.get(f"{self.url}{path}", headers=more)

    async def ask(self, target: bytes, *headers: bytes, agent: bytes = PROSODY) -> tuple[int, bytes]:
        """The status, and the body; a new connection each time."""
        lines = [b"GET " + target + b" HTTP/1.1", b"ACCEPT: application/json, text/plain, */*", b"Host: 127.0.0.1"]
        if agent:
            lines.append(b"User-Agent: " + agent)
        received = b""
        async with await trio.open_tcp_stream("127.0.0.1", int(self.url.rpartition(":")[2])) as stream:
            await stream.send_all(b"\r\n".join([*lines, *headers, b"Connection: close", b"", b""]))
            async for part in stream:
                received += part
        head, _, body = received.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    def warnings(self) -> list[str]:
        """The codes of the warnings."""
        return [event.code for event in self.events if isinstance(event, OperatorWarning)]


Serve = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def serve() -> Serve:
    """Serves from this Redis; members of `Roster` may be given."""

    @asynccontextmanager
    async def opened(
        server: RedisServer, refreshing: RefreshTarget | None = None, **members: Any
    ) -> AsyncIterator[Site]:
        events: list[Event] = []
        config = attrs.evolve(Roster(("127.0.0.1", 0), "/roster/{user}", domain="example.org"), **members)

        def connected() -> Connection:
            return Connection(open_client(StoreSettings(server.url), 1.0))

        made = roster_service(config, connected, events.append, refreshing)
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client, trio.open_nursery() as nursery:
            for service in made.services:
                await nursery.start(service.run)
            (web,) = (service for service in made.services if isinstance(service, Server))
            yield Site(made, web.addresses[0], events, client, nursery.cancel_scope)
            nursery.cancel_scope.cancel()

    return opened


@asynccontextmanager
async def reading(
    server: RedisServer, events: list[Event] | None = None
) -> AsyncIterator[tuple[RosterReader, trio.Nursery]]:
    """A reader that is to run, or runs once it was started in the nursery."""
    reader = RosterReader(Connection(open_client(StoreSettings(server.url))), ([] if events is None else events).append)
    async with trio.open_nursery() as nursery:
        yield reader, nursery
        nursery.cancel_scope.cancel()


def put(server: RedisServer, **rosters: dict[str, Contact]) -> None:
    """Writes rosters as they lie in Redis."""
    client = open_client(StoreSettings(server.url))
    put_by(client, rosters)
    client.close()


def put_by(client: Client, rosters: dict[str, dict[str, Contact]]) -> None:
    commands = [
        (
            "HSET",
            RedisKeys().roster(user),
            *(part for jid, contact in roster.items() for part in (jid, as_stored(contact))),
        )
        for user, roster in rosters.items()
    ]
    client.commands(commands)
