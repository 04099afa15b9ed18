"""Brokers' parts for a target of kind `openfire-chat`: the connector alone, over a Redis. For tests.

Always holds: each has a connection of its own to the server, and nothing but Redis is common to them.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from restbroker.servers import registry
from restbroker.servers.contract import Ports
from restbroker.servers.in_redis import LoginsInRedis
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.store.logins import UserBase
from restbroker.transport.client import open_transport
from restbroker.transport.message import Transport
from tests.servers.sides import Side, target_of
from tests.support.link import Direct
from tests.support.openfire_chat.server import Openfire
from tests.support.redis_server import RedisServer

Open = Callable[..., AbstractAsyncContextManager[Sequence[Side]]]


async def restart(chat: Openfire, *sides: Side) -> None:
    """Restarts the server; no connection of before is used for a command, as brokers would try again."""
    chat.restart()
    for side in sides:
        assert (await side.probe()).ok


def sides_of(place: Path, redis: RedisServer, url: str) -> Open:
    """As many brokers as a test wants, over one Redis: `async with opened(2, Options=…) as (one, other)`."""
    settings = StoreSettings(f"redis://127.0.0.1:{redis.port}")

    @asynccontextmanager
    async def opened(count: int = 1, **members: Any) -> AsyncIterator[Sequence[Side]]:
        login = {"Basic": {"User": "admin", "Pass": "secret"}}
        entry = {"Kind": "openfire-chat", "URL": url, "Domain": "example.org", "Auth": login, **members}
        target = target_of(place, entry)
        ways: list[Transport] = []
        books: list[LoginsInRedis] = []
        found: list[Side] = []
        for _ in range(count):
            ways.append(http := open_transport(target))
            books.append(book := LoginsInRedis(UserBase("chat", "localhost"), Connection(open_client(settings))))
            ports = Ports(lambda _: None, lambda: 0.0, http, services={LoginsInRedis: book})
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
