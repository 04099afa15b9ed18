"""What reads streams of events from a player of Openfire's Chat API, inside the test: the way into a real Redis."""

import base64
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from urllib.request import Request, urlopen

import attrs
import pytest

from restbroker.config.events import Events, EventSource
from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Target, Url
from restbroker.servers.openfire.chat.options import Options as ChatOptions
from restbroker.servers.openfire.stream.options import Options
from tests.events.conftest import QUEUE, ReadSource, taking
from tests.servers.openfire_talk import Gap, gaps_in
from tests.support.openfire_chat.server import Openfire
from tests.support.openfire_chat.state import DOMAIN
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async

PASSWORD: Final = "secret"


@pytest.fixture
def openfire() -> Iterator[Openfire]:
    """With three users, all friends."""
    with Openfire(heartbeat_s=0.2) as server:
        server.state.register("ann", "bob", "eve")
        server.state.befriend("ann", "bob")
        yield server


def chat(server: Openfire, method: str, path: str, body: str = "") -> str:
    login = base64.b64encode(b"admin:secret").decode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": "text/plain", "Accept": "application/json"}
    if path.endswith("/login"):
        headers["Accept"] = "application/json, text/plain;q=0.9"
    request = Request(f"{server.url}/restapi/v1{path}", body.encode() or None, headers, method=method)  # noqa: S310
    with urlopen(request, timeout=10) as answer:  # noqa: S310  a URL of the test's own
        text: str = answer.read().decode()
    return text


def say(server: Openfire, sender: str, receiver: str, text: str) -> None:
    stream = chat(server, "POST", f"/chat/{sender}/login")
    chat(server, "POST", f"/chat/{quote(stream)}/messages/{receiver}@{DOMAIN}", text)


def target(server: Openfire) -> Target:
    url = Url("http", "127.0.0.1", server.port, "/rest/api")
    login = Basic("admin", Secret("secret"))
    return Target("chat", "openfire-chat", url, ("chat",), credentials=login, options=ChatOptions(), timeout_s=5.0)


@attrs.define(eq=False)
class Reading(ReadSource):
    """A source that is read."""

    server: Openfire

    def texts(self) -> list[str]:
        return [job["body"] for job in self.jobs() if job["type"] == "message"]

    def gaps(self) -> list[Gap]:
        return gaps_in("\n".join(warning.message for warning in self.warnings("OpenfireGap")))

    async def reads(self, *users: str, count: int = 1) -> None:
        def have() -> bool:
            found = [reader.username for reader in list(self.server.state.open_readers)]
            return all(found.count(user) == count for user in users)

        await until_async(have, f"{users} are read", 60)

    async def receives(self, *users: str) -> None:
        """Return when the events of these become jobs: a stream that the server has opened may not be read yet."""
        for user in users:
            self.server.state.emit(user, "chatapi.notify", f'{{"type": "notify", "data": "to {user}"}}')

        def have() -> bool:
            return set(users) <= {job["raw"]["user"] for job in self.jobs() if job["type"] == "notify"}

        await until_async(have, f"the events of {users} come", 60)


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
        written: dict[str, Any] = {"users": users, "askers": (), "passwords": Secret(path=passwords), **more}
        fixed: dict[str, Any] = {"options": Options(**written), "has_ids": False, "target": target(openfire)}
        made = EventSource("openfire", "openfire-sse", None, QUEUE, "XmppEvent", **(fixed | (source or {})))

        events = Events(("127.0.0.1", 0), (made,))
        async with taking(events, url or redis_server.url, 1.0 if url else 10.0, redis_server.url) as it:
            found = Reading(it.receiver, it.store, it.events, it.stop, openfire)
            if ready:
                await found.reads(*users)
            yield found

    return opened
