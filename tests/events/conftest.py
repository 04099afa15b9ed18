"""What takes events in, inside the test: real Hypercorn on loopback, real Redis, httpx as the server that posts."""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

import attrs
import httpx
import pytest
import trio

from restbroker.app.events import event_services
from restbroker.config.events import Events, EventSource
from restbroker.config.target import CertFiles
from restbroker.events.deliver import Deliverer, Receiver
from restbroker.job.event import ServerEvent
from restbroker.operate.handovers import CommandJobs
from restbroker.store import queues
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Event, EventHandled, OperatorWarning
from restbroker.transport.room import Room
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async
from tests.transport.authority import Authority, authority

PATH: Final = "/events/prosody"
QUEUE: Final = "xmpp_events"
SOURCE: Final = EventSource("prosody", "prosody-rest", PATH, QUEUE, "XmppEvent")
MESSAGE: Final[Mapping[str, Any]] = {
    "kind": "message", "type": "chat", "from": "ann@example.org/phone", "to": "bot@bots.example.org", "id": "m1",
    "body": "a text that nobody else may see",
}  # fmt: skip

EVENT: Final = ServerEvent("message", "a@b/c", "bot@d", "m1", "a text", None, "d", "prosody", 1000.5, {})


@attrs.define(eq=False)
class Taking:
    """What takes events in, with a client that looks into Redis."""

    receiver: Receiver
    store: Client
    events: list[Event]
    stop: Callable[[], None]

    def jobs(self, queue: str = QUEUE) -> list[dict[str, Any]]:
        return jobs_in(self.store, queue)

    def texts(self) -> list[str]:
        return [job["args"][0]["body"] for job in self.jobs()]

    def outcomes(self) -> list[str]:
        return [event.outcome for event in self.events if isinstance(event, EventHandled)]

    def warnings(self, code: str = "") -> list[OperatorWarning]:
        return [event for event in self.events if isinstance(event, OperatorWarning) and event.code.startswith(code)]

    async def warning(self, code: str) -> OperatorWarning:
        """The first warning of this code, when it comes."""
        return (await until_async(lambda: self.warnings(code), f"{code} is reported", 60))[0]


@attrs.define(eq=False)
class ReadSource(Taking):
    """A source that is read: its jobs are shown as their events."""

    def jobs(self, queue: str = QUEUE) -> list[dict[str, Any]]:
        return [job["args"][0] for job in super().jobs(queue)]

    def texts(self) -> list[str]:
        return [job["body"] for job in self.jobs()]

    async def has(self, *texts: str) -> None:
        await until_async(lambda: self.texts() == list(texts), f"{texts} are jobs", 60)


@asynccontextmanager
async def taking(
    events: Events, url: str, timeout_s: float = 10.0, looked_at: str = "", commands: CommandJobs | None = None
) -> AsyncIterator[Taking]:
    """Takes events in until the end of the block; `looked_at`: where Redis is for the test, if elsewhere."""
    log: list[Event] = []

    def connection() -> Connection:
        return Connection(open_client(StoreSettings(url), timeout_s))

    *_, receiver = event_services(events, connection, log.append, Room(), commands)
    assert isinstance(receiver, Receiver)
    scope = trio.CancelScope()

    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        with scope:
            await receiver.run(task_status=task_status)

    with closing(open_client(StoreSettings(looked_at or url))) as store:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            yield Taking(receiver, store, log, scope.cancel)
            scope.cancel()


@attrs.define(eq=False)
class Hall(Taking):
    """Where events are posted, with a client that does so."""

    redis: RedisServer
    client: httpx.AsyncClient

    @property
    def url(self) -> str:
        return self.receiver.servers[0].addresses[0]

    async def post(self, body: object = MESSAGE, path: str = PATH, **headers: str) -> httpx.Response:
        """The answer to an event: bytes, or what becomes JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.client.post(
            f"{self.url}{path}", content=content, headers={"Content-Type": "application/json", **headers}
        )

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", int(self.url.rpartition(":")[2]))


Open = Callable[..., AbstractAsyncContextManager[Hall]]


@pytest.fixture
def hall(redis_server: RedisServer) -> Open:
    """Opens one for these sources on the run's Redis, which is empty then, and ends it at the end of the block.

    `hurried`: it waits for Redis no longer than a process does. On a busy machine Redis may take its time. `commands`:
    what makes the jobs of those with a target.
    """

    @asynccontextmanager
    async def opened(
        *sources: EventSource,
        hurried: bool = False,
        tls: CertFiles | None = None,
        commands: CommandJobs | None = None,
    ) -> AsyncIterator[Hall]:
        redis_server.flush()
        events = Events(("127.0.0.1", 0), sources or (SOURCE,), tls)
        # A connection of its own for each request, as Prosody makes one.
        once = httpx.Limits(max_keepalive_connections=0)
        async with (
            httpx.AsyncClient(timeout=60, trust_env=False, limits=once) as client,
            taking(events, redis_server.url, 1.0 if hurried else 10.0, commands=commands) as it,
        ):
            if not hurried:
                it.receiver.deliverer.patience_s = 20.0
            yield Hall(it.receiver, it.store, it.events, it.stop, redis_server, client)

    return opened


def written(place: Path, redis_url: str, events: Mapping[str, Any], **more: Any) -> None:
    """Writes env.json with these `Events`, whose sources have the usual queue and class. `more`: its other keys."""
    usual = {"Queue": QUEUE, "Class": "XmppEvent"}
    sources = {name: usual | source for name, source in events["Sources"].items()}
    document = {"RedisURL": redis_url, "RestURL": "http://127.0.0.1:1/api", "RestQueue": "rest", "Token": "t"}
    (place / "env.json").write_text(json.dumps({**document, "Events": {**events, "Sources": sources}, **more}))


@pytest.fixture
async def deliverer(redis_server: RedisServer) -> AsyncIterator[Deliverer]:
    """What pushes events, not running yet."""
    connection = Connection(open_client(StoreSettings(redis_server.url)))
    yield Deliverer(connection, patience_s=60)
    await connection.aclose()


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[Client]:
    with closing(open_client(StoreSettings(redis_server.url))) as client:
        yield client


def jobs_in(store: Client, queue: str = QUEUE) -> list[dict[str, Any]]:
    """The first that came first."""
    found: list[bytes] = []
    while page := queues.peek(store, queue, len(found), 100_000):
        found += page
    return [json.loads(job) for job in found]


def events_in(store: Client, queue: str = QUEUE) -> list[dict[str, Any]]:
    return [job["args"][0] for job in jobs_in(store, queue)]


def sent(body: bytes, *, path: str = PATH, length: int | None = None, **headers: str) -> bytes:
    """A request as bytes; `length`: what it says of its body."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("authority"))
