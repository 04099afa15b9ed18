"""A component's source inside the test: a stand-in for ejabberd's listener, a real Redis, and all between them."""

import hashlib
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Any, Final

import attrs
import pytest
import trio

from restbroker.config.events import Events, EventSource
from restbroker.config.secret import Secret
from restbroker.servers.component.options import Options
from tests.events.conftest import QUEUE, ReadSource, taking
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async

NAME: Final = "events.example.org"
HOST: Final = "example.org"
PASSWORD: Final = "component secret"
HEADER: Final = (
    "<?xml version='1.0'?><stream:stream id='{}' xml:lang='en' xmlns:stream='http://etherx.jabber.org/streams' "
    f"from='{NAME}' xmlns='jabber:component:accept'>"
)
_TO: Final = re.compile(rb"""\bto=["']([^"']*)["']""")
_HEARTBEAT: Final = re.compile(rb"<message from=\"([^\"]+)\" to=\"\1\" id=\"[^\"]*\"/>")


def epoch_s(text: str) -> float:
    """A time that a warning names."""
    return datetime.fromisoformat(text).timestamp()


def message(body: str, number: str | None = None, sender: str = "ann@example.org/phone", more: str = "") -> str:
    """A chat message to Bob, as a copy has it."""
    given = "" if number is None else f" id='{number}'"
    return (
        f"<message xml:lang='en' to='bob@example.org' from='{sender}' type='chat'{given} xmlns='jabber:client'>"
        f"{more}<body>{body}</body></message>"
    )


def wrapped(inner: str, host: str = HOST) -> str:
    return (
        f"<message to='{NAME}' from='{host}' id='1'><forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></message>"
    )


@attrs.define(eq=False)
class Listener:
    """ejabberd's listener for components: it takes `names`, and returns what a component sends itself."""

    port: int = attrs.field(factory=free_port)
    password: str = PASSWORD
    names: tuple[str, ...] = (NAME,)
    """Empty: any name, as with `password:` alone."""
    returns: bool = True
    """Whether the component's heartbeats come back."""
    context: ssl.SSLContext | None = None
    """As with `tls: true`."""
    greeting: str = ""
    """What each accepted component is sent at once."""
    lines: list[trio.abc.Stream] = attrs.field(factory=list)
    """The components that are accepted."""
    tried: int = 0
    """How many connections came."""
    received: bytes = b""
    """What came, with TLS what was in it."""
    accepted: int = 0
    heartbeats: int = 0
    said: bytes = b""
    """What the components said, without heartbeats."""
    _sending: trio.Lock = attrs.field(factory=trio.Lock)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _nursery: trio.Nursery | None = None

    async def start(self) -> None:
        """Listens again."""
        assert self._nursery is not None
        self._scope = trio.CancelScope()
        await self._nursery.start(self._listen)

    async def stop(self) -> None:
        """Ends all connections and refuses new ones."""
        self._scope.cancel()
        await self.drop()

    async def drop(self) -> None:
        lines, self.lines = self.lines, []
        for line in lines:
            await line.aclose()

    async def send(self, *stanzas: str, to: int = 0) -> None:
        """Sends these to the component that was accepted as number `to` of those that are there."""
        async with self._sending:
            await self.lines[to].send_all("".join(stanzas).encode())

    async def _listen(self, *, task_status: trio.TaskStatus[object]) -> None:
        with self._scope:
            await trio.serve_tcp(self._serve, self.port, host="127.0.0.1", task_status=task_status)

    async def _serve(self, plain: trio.SocketStream) -> None:
        self.tried += 1
        line: trio.abc.Stream = plain
        if self.context is not None:
            line = trio.SSLStream(plain, self.context, server_side=True, https_compatible=True)
        try:
            await self._talk(line)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            if line in self.lines:
                self.lines.remove(line)

    async def _talk(self, line: trio.abc.Stream) -> None:
        number, got, name = f"{self.accepted}7", b"", ""
        expected = hashlib.sha1(f"{number}{self.password}".encode(), usedforsecurity=False).hexdigest()
        async for data in line:
            got += data
            self.received += data
            if got.startswith(b"\x16"):
                # A TLS client's first byte. ejabberd answers so.
                await line.send_all(b"<?xml version='1.0'?>")
                return
            if b"<stream:stream" in got and (found := _TO.search(got)):
                name, got = found[1].decode(), b""
                await line.send_all(HEADER.format(number).encode())
            elif b"</handshake>" in got:
                if expected.encode() not in got or (self.names and name not in self.names):
                    fault = "<not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
                    await line.send_all(f"<stream:error>{fault}</stream:error></stream:stream>".encode())
                    return
                self.accepted += 1
                got = b""
                await line.send_all(b"<handshake/>" + self.greeting.encode())
                self.lines.append(line)
            elif line in self.lines:
                beats = [found[0] for found in _HEARTBEAT.finditer(got)]
                self.heartbeats += len(beats)
                if self.returns and beats:
                    async with self._sending:
                        await line.send_all(b"".join(beats))
                rest, got = _HEARTBEAT.sub(b"", got), b""
                self.said += rest
                if rest.endswith(b"</stream:stream>"):
                    await line.send_all(b"</stream:stream>")
                    return


@attrs.define(eq=False)
class Reading(ReadSource):
    """A source that is read."""

    listener: Listener

    async def counts(self, outcome: str, number: int = 1) -> None:
        await until_async(lambda: self.outcomes().count(outcome) == number, f"{number} {outcome}", 60)

    async def reads(self, accepted: int = 1) -> None:
        await until_async(lambda: self.listener.accepted >= accepted and self.listener.lines, "it is read", 60)

    async def is_beating(self) -> None:
        """Returns when another heartbeat came back, so that what was sent before is behind it."""
        before = self.listener.heartbeats
        await until_async(lambda: self.listener.heartbeats >= before + 2, "it beats", 60)


Read = Callable[..., AbstractAsyncContextManager[Reading]]


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    made = Listener()
    async with trio.open_nursery() as nursery:
        made._nursery = nursery  # noqa: SLF001  it is made here
        await made.start()
        yield made
        nursery.cancel_scope.cancel()


@pytest.fixture
def reading(redis_server: RedisServer, listener: Listener) -> Read:
    """Reads that listener into the run's Redis, which is empty then unless `goes_on`."""

    @asynccontextmanager
    async def opened(
        *, url: str | None = None, goes_on: bool = False, source: dict[str, Any] | None = None, **more: Any
    ) -> AsyncIterator[Reading]:
        if not goes_on:
            redis_server.flush()
        written: dict[str, Any] = {
            "address": ("127.0.0.1", listener.port),
            "name": NAME,
            "hosts": (HOST,),
            "password": Secret(PASSWORD),
            **more,
        }
        made = EventSource(
            "ejabberd",
            "ejabberd-component",
            None,
            QUEUE,
            "XmppEvent",
            **{"options": Options(**written), "window_s": 60.0, **(source or {})},
        )
        events = Events(("127.0.0.1", 0), (made,))
        async with taking(events, url or redis_server.url, 1.0 if url else 10.0, redis_server.url) as it:
            yield Reading(it.receiver, it.store, it.events, it.stop, listener)

    return opened
