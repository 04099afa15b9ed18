"""What takes events in, inside the test: real Hypercorn on loopback, real Redis, httpx as the server that posts."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import attrs
import httpx
import pytest
import trio

from restbroker.app.events import event_services
from restbroker.config.events import Events, EventSource
from restbroker.config.target import CertFiles
from restbroker.events.receiver import Receiver
from restbroker.job.event import ServerEvent
from restbroker.store import queues
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Event, EventHandled, Warned
from tests.support.redis_server import RedisServer

PATH: Final = "/events/prosody"
QUEUE: Final = "xmpp_events"
SOURCE: Final = EventSource("prosody", "prosody-rest", PATH, QUEUE, "XmppEvent")
MESSAGE: Final[Mapping[str, Any]] = {
    "kind": "message", "type": "chat", "from": "ann@example.org/phone", "to": "bot@bots.example.org", "id": "m1",
    "body": "a text that nobody else may see",
}  # fmt: skip

EVENT: Final = ServerEvent("message", "a@b/c", "bot@d", "m1", "a text", None, "d", "prosody", 1000.5, {})


@attrs.define(eq=False)
class Hall:
    """Where events come in, with a client that posts there, and one that looks into Redis."""

    redis: RedisServer
    store: Client
    receiver: Receiver
    client: httpx.AsyncClient
    stop: Callable[[], None]
    events: list[Event]

    @property
    def url(self) -> str:
        assert self.receiver.server is not None
        return self.receiver.server.addresses[0]

    async def post(self, body: object = MESSAGE, path: str = PATH, **headers: str) -> httpx.Response:
        """The answer to an event: bytes, or what becomes JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.client.post(
            f"{self.url}{path}", content=content, headers={"Content-Type": "application/json", **headers}
        )

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", int(self.url.rpartition(":")[2]))

    def jobs(self, queue: str = QUEUE) -> list[dict[str, Any]]:
        return [json.loads(job) for job in queues.listed(self.store, queue, 0, 100_000)]

    def outcomes(self) -> list[str]:
        return [event.outcome for event in self.events if isinstance(event, EventHandled)]

    def warnings(self) -> list[Warned]:
        return [event for event in self.events if isinstance(event, Warned)]


Open = Callable[..., AbstractAsyncContextManager[Hall]]


@pytest.fixture
def hall(redis_server: RedisServer) -> Open:
    """Opens one for these sources on the run's Redis, which is empty then, and ends it at the end of the block.

    `hurried`: it waits for Redis no longer than a process does. On a busy machine Redis may take its time.
    """

    @asynccontextmanager
    async def opened(*sources: EventSource, hurried: bool = False, tls: CertFiles | None = None) -> AsyncIterator[Hall]:
        redis_server.flush()
        told: list[Event] = []
        timeout_s = 1.0 if hurried else 10.0

        def connection() -> Connection:
            return Connection(open_client(StoreSettings(redis_server.url), timeout_s))

        (receiver,) = event_services(Events(("127.0.0.1", 0), sources or (SOURCE,), tls), connection, told.append)
        assert isinstance(receiver, Receiver)
        if not hurried:
            receiver.deliverer.patience_s = 20.0
        store = open_client(StoreSettings(redis_server.url))
        scope = trio.CancelScope()

        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            with scope:
                await receiver.run(task_status=task_status)

        # A connection of its own for each request, as Prosody makes one.
        once = httpx.Limits(max_keepalive_connections=0)
        async with (
            httpx.AsyncClient(timeout=60, trust_env=False, limits=once) as client,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(serve)
            yield Hall(redis_server, store, receiver, client, scope.cancel, told)
            scope.cancel()
        store.close()

    return opened


def sent(body: bytes, *, path: str = PATH, length: int | None = None, **headers: str) -> bytes:
    """A request as bytes; `length`: what it says of its body."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
