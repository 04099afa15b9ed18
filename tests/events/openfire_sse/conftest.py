"""What reads streams of events from the stand-in of Openfire, inside the test: the way into a real Redis."""

import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from urllib.request import Request, urlopen

import attrs
import pytest
import trio

from restbroker.app.events import event_services
from restbroker.config.events import Events, EventSource
from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Target, Url
from restbroker.events.receiver import Receiver
from restbroker.servers.openfire.chat.options import Settings as ChatSettings
from restbroker.servers.openfire.stream.settings import Settings
from restbroker.store import queues
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Event, EventHandled, Warned
from tests.servers.openfire_talk import Gap, gaps_in
from tests.support.openfire.server import Openfire
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async

QUEUE: Final = "xmpp_events"
PASSWORD: Final = "secret"


@pytest.fixture
def openfire() -> Iterator[Openfire]:
    """With three users, all friends."""
    with Openfire(heartbeat_s=0.2) as server:
        server.world.register("ann", "bob", "eve")
        server.world.befriend("ann", "bob")
        yield server


def chat(server: Openfire, method: str, path: str, body: str = "") -> str:
    login = base64.b64encode(b"admin:secret").decode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": "text/plain", "Accept": "application/json"}
    if path.endswith("/login"):
        headers["Accept"] = "application/json, text/plain;q=0.9"
    request = Request(f"{server.chat_url}/restapi/v1{path}", body.encode() or None, headers, method=method)  # noqa: S310
    with urlopen(request, timeout=10) as answer:  # noqa: S310  a URL of the test's own
        text: str = answer.read().decode()
    return text


def say(server: Openfire, sender: str, receiver: str, text: str) -> None:
    stream = chat(server, "POST", f"/chat/{sender}/login")
    chat(server, "POST", f"/chat/{quote(stream)}/messages/{receiver}@{server.world.domain}", text)


def target(server: Openfire) -> Target:
    url = Url("http", "127.0.0.1", server.chat_port, "/rest/api")
    login = Basic("admin", Secret("secret"))
    return Target("chat", "openfire-chat", url, ("chat",), credentials=login, options=ChatSettings(), timeout_s=5.0)


@attrs.define(eq=False)
class Reading:
    """A source that is read, with a client that looks into Redis."""

    server: Openfire
    store: Client
    events: list[Event]
    stop: Callable[[], None]

    def jobs(self) -> list[dict[str, Any]]:
        found: list[bytes] = []
        while page := queues.listed(self.store, QUEUE, len(found), 100_000):
            found += page
        return [json.loads(job)["args"][0] for job in found]

    def texts(self) -> list[str]:
        return [job["body"] for job in self.jobs() if job["type"] == "message"]

    def outcomes(self) -> list[str]:
        return [event.outcome for event in self.events if isinstance(event, EventHandled)]

    def warnings(self, code: str = "") -> list[Warned]:
        return [event for event in self.events if isinstance(event, Warned) and event.code.startswith(code)]

    def gaps(self) -> list[Gap]:
        return gaps_in("\n".join(warning.message for warning in self.warnings("OpenfireGap")))

    async def reads(self, *users: str, count: int = 1) -> None:
        def have() -> bool:
            found = [one.username for one in list(self.server.world.open_readers)]
            return all(found.count(user) == count for user in users)

        await until_async(have, f"{users} are read", 60)

    async def hears(self, *users: str) -> None:
        """Returns when what these are told becomes jobs: a stream that the server has opened may not be read yet."""
        for user in users:
            self.server.world.tell(user, "chatapi.notify", f'{{"type": "notify", "data": "to {user}"}}')

        def have() -> bool:
            return set(users) <= {job["raw"]["user"] for job in self.jobs() if job["type"] == "notify"}

        await until_async(have, f"{users} are heard", 60)

    async def has(self, *texts: str) -> None:
        await until_async(lambda: self.texts() == list(texts), f"{texts} are jobs", 60)

    async def tells(self, code: str) -> Warned:
        return (await until_async(lambda: self.warnings(code), f"{code} is told", 60))[0]


Read = Callable[..., AbstractAsyncContextManager[Reading]]


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    path = tmp_path / "passwords"
    path.write_text("".join(f"{user}:{PASSWORD}\n" for user in ("ann", "bob", "eve")))
    path.chmod(0o600)
    return path


@pytest.fixture
def reading(redis_server: RedisServer, openfire: Openfire, passwords: Path) -> Read:
    """Reads the streams of these users into the run's Redis; `ready`: returns when they are open."""

    @asynccontextmanager
    async def opened(
        *users: str, ready: bool = True, url: str | None = None, source: dict[str, Any] | None = None, **more: Any
    ) -> AsyncIterator[Reading]:
        told: list[Event] = []
        written: dict[str, Any] = {"users": users, "askers": (), "passwords": Secret(path=passwords), **more}
        fixed: dict[str, Any] = {"options": Settings(**written), "has_ids": False, "target": target(openfire)}
        made = EventSource("openfire", "openfire-sse", None, QUEUE, "XmppEvent", **(fixed | (source or {})))

        def connection() -> Connection:
            return Connection(open_client(StoreSettings(url or redis_server.url), 1.0 if url else 10.0))

        (receiver,) = event_services(Events(("127.0.0.1", 0), (made,)), connection, told.append)
        assert isinstance(receiver, Receiver)
        store = open_client(StoreSettings(redis_server.url))
        scope = trio.CancelScope()

        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            with scope:
                await receiver.run(task_status=task_status)

        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            found = Reading(openfire, store, told, scope.cancel)
            if ready:
                await found.reads(*users)
            yield found
            scope.cancel()
        store.close()

    return opened
