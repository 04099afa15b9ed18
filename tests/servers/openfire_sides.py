"""Brokers' parts for a target of kind `openfire-chat`: the connector alone, over a Redis and a stand-in. For tests.

Always holds: each has a connection of its own to the server, and nothing but Redis is common to them.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from restbroker.app.logins import LoginsInRedis
from restbroker.config.load import load
from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Outcome
from restbroker.servers import registry
from restbroker.servers.contract import Connector, Ports
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.transport.client import open_transport
from restbroker.transport.message import Transport
from tests.support.link import Direct
from tests.support.openfire.server import Openfire
from tests.support.redis_server import RedisServer


@attrs.define(eq=False)
class Side:
    """A broker's part, for one target."""

    connector: Connector
    link: Direct

    async def call(self, command: str, given: Mapping[str, Json] | None = None, **how: Any) -> Outcome:
        """Delivers a command."""
        return await self.connector.deliver(Call(Command(command, given or {}), **how), self.link)

    async def done(self, command: str, given: Mapping[str, Json] | None = None, **how: Any) -> Delivered:
        """Delivers a command that is done."""
        outcome = await self.call(command, given, **how)
        assert isinstance(outcome, Delivered), outcome
        return outcome


Open = Callable[..., AbstractAsyncContextManager[Sequence[Side]]]


async def restart(chat: Openfire, *sides: Side) -> None:
    """Restarts the server; no connection of before is used for a command, as brokers would try anew."""
    chat.restart()
    for side in sides:
        assert (await side.connector.probe(side.link)).ok


def sides_of(place: Path, redis: RedisServer, chat: Openfire) -> Open:
    """As many brokers as a test wants, over one Redis: `async with opened(2, Options=…) as (one, other)`."""
    settings = StoreSettings(f"redis://127.0.0.1:{redis.port}")

    @asynccontextmanager
    async def opened(count: int = 1, **members: Any) -> AsyncIterator[Sequence[Side]]:
        entry = {
            "Kind": "openfire-chat",
            "URL": chat.chat_url,
            "Domain": "example.org",
            "Auth": {"Basic": {"User": "admin", "Pass": "secret"}},
            "Queues": ["chat"],
            **members,
        }
        file = place / "target.json"
        file.write_text(json.dumps({"Token": "t", "Targets": {"chat": entry}}))
        target = load(file, {}, {}, registry.kinds()).config.targets[0]
        ways: list[Transport] = []
        books: list[LoginsInRedis] = []
        found: list[Side] = []
        for _ in range(count):
            ways.append(http := open_transport(target))
            books.append(book := LoginsInRedis("chat", lambda: Connection(open_client(settings))))
            ports = Ports(lambda _: None, lambda: 0.0, http, logins=book)
            found.append(Side(registry.open_connector(target, ports), Direct(http)))
        try:
            with trio.fail_after(60):
                yield found
        finally:
            with trio.CancelScope(shield=True):
                for way, book in zip(ways, books, strict=True):
                    await way.aclose()
                    await book.aclose()

    return opened
