"""Whatever raises in a reader, wherever: it costs one event, or closes that source for a moment; all else goes on."""

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

import attrs
import httpx
import pytest
import trio

from restbroker.config.events import Events, EventSource
from restbroker.config.secret import Secret
from restbroker.errors import StoreUnavailable
from restbroker.events import deliver
from restbroker.events.amqp import connection as amqp
from restbroker.events.amqp import reader as rabbit
from restbroker.events.amqp.connection import Message
from restbroker.events.amqp.options import Options as RabbitOptions
from restbroker.servers import in_redis, reading
from restbroker.servers.component import connection, derive, stanzas
from restbroker.servers.component import reader as component
from restbroker.servers.component.options import Options as ComponentOptions
from restbroker.servers.findings import Problem
from restbroker.servers.openfire.stream import frames
from restbroker.servers.openfire.stream.options import Options as StreamOptions
from restbroker.servers.prosody.events import StanzaHook
from restbroker.store.connection import Connection
from restbroker.transport.stream import EventStream
from tests.events.amqp.conftest import CHAT
from tests.events.component.conftest import HOST, NAME, PASSWORD, Listener, message, wrapped
from tests.events.conftest import MESSAGE, PATH, QUEUE, SOURCE, ReadSource, taking
from tests.events.openfire_sse.conftest import say, target
from tests.support.openfire_chat.server import Openfire
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async

Send = Callable[[str], Awaitable[object]]
Kind = Literal["component", "rabbit", "openfire"]
BAD: Final = "spoilt"


class Fault(Exception):
    """What nobody foresaw."""


@attrs.define
class Thrown:
    """Throws when this is called, once it is `armed`: for the event with the text `BAD` each time, or else once."""

    owner: object
    name: str
    for_bad: bool = False
    armed: bool = False
    times: int = 0

    def put_into(self, patched: pytest.MonkeyPatch) -> None:
        real = getattr(self.owner, self.name)

        def called(*args: Any, **named: Any) -> Any:
            if self.armed and (BAD in repr(args) if self.for_bad else not self.times):
                self.times += 1
                raise Fault(args)
            return real(*args, **named)

        patched.setattr(self.owner, self.name, called)


@attrs.define
class FakeLink:
    """A connection to a RabbitMQ of one queue: what is not acknowledged comes again."""

    settings: RabbitOptions
    name: str
    on_message: Callable[[Message], None]
    on_open: Callable[[str], None]
    is_open: bool = False
    stopped: threading.Event = attrs.field(factory=threading.Event)
    queue: list[bytes] = attrs.field(factory=list)

    def run(self) -> None:
        self.on_open("rabbit")
        for tag, body in enumerate(self.queue, start=1):
            self.on_message(Message(tag, "chat_msg", "bob@localhost.chat_msg_recv", body, redelivered=False))
        self.is_open = True
        self.stopped.wait(30)

    def acknowledge(self, tag: int) -> None:
        del self.queue[:tag]

    def stop(self) -> None:
        self.stopped.set()


@asynccontextmanager
async def _component(tmp_path: Path, patched: pytest.MonkeyPatch) -> AsyncIterator[tuple[Any, Send]]:
    made = Listener()
    async with trio.open_nursery() as nursery:
        made._nursery = nursery  # noqa: SLF001  it is made here
        await made.start()
        options = ComponentOptions(
            ("127.0.0.1", made.port), name=NAME, hosts=(HOST,), password=Secret(PASSWORD), lease_s=5.0
        )

        async def send(text: str) -> None:
            await until_async(lambda: made.lines, "it is read", 30)
            ping = f"<iq type='get' from='ann@{HOST}/x' to='{NAME}' id='{text}'/>"
            await made.send(wrapped(message(text, text)), ping if text == BAD else "")

        yield {"kind": "ejabberd-component", "options": options, "window_s": 60.0}, send
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _rabbit(tmp_path: Path, patched: pytest.MonkeyPatch) -> AsyncIterator[tuple[Any, Send]]:
    links: list[FakeLink] = []
    queue: list[bytes] = []

    def link(*args: Any, **named: Any) -> FakeLink:
        links.append(FakeLink(*args, **named))
        links[-1].queue = queue
        return links[-1]

    patched.setattr(amqp, "RabbitLink", link)

    async def send(text: str) -> None:
        await until_async(lambda: links and links[-1].is_open and not links[-1].stopped.is_set(), "it is read", 30)
        body = f'{{"to_user_id": "bob@localhost", "from_user_id": "a@localhost", "message": "{text}"}}'.encode()
        queue.append(body)
        links[-1].on_message(Message(len(queue), "chat_msg", "bob@localhost.chat_msg_recv", body, redelivered=False))

    yield {"kind": "mongooseim-amqp", "options": RabbitOptions(exchanges=(CHAT,), queue="q"), "has_ids": False}, send


@asynccontextmanager
async def _openfire(tmp_path: Path, patched: pytest.MonkeyPatch) -> AsyncIterator[tuple[Any, Send]]:
    passwords = tmp_path / "passwords"
    passwords.write_text("ann:secret\n")
    passwords.chmod(0o600)
    with Openfire(heartbeat_s=0.2) as server:
        server.state.register("ann", "bob")
        server.state.befriend("ann", "bob")

        async def send(text: str) -> None:
            await until_async(lambda: list(server.state.open_readers), "it is read", 30)
            await trio.to_thread.run_sync(say, server, "bob", "ann", text)

        options = StreamOptions(users=("ann",), askers=(), passwords=Secret(path=passwords))
        yield {"kind": "openfire-sse", "options": options, "has_ids": False, "target": target(server)}, send


_READERS: Final = {"component": _component, "rabbit": _rabbit, "openfire": _openfire}


@asynccontextmanager
async def _opened(
    kind: Kind, redis: RedisServer, tmp_path: Path, patched: pytest.MonkeyPatch
) -> AsyncIterator[tuple[ReadSource, Send]]:
    """The source that is read, and beside it another one, to which a server posts."""
    redis.flush()

    async def wait(_: object) -> None:
        await trio.sleep(0.05)

    patched.setattr(reading.Backoff, "wait", wait)
    for module, name in ((component, "_BEAT_S"), (component, "_DRAIN_S"), (rabbit, "_GRACE_S")):
        patched.setattr(module, name, 0.1)
    async with _READERS[kind](tmp_path, patched) as (more, send):
        source = EventSource("read", path=None, queue=QUEUE, job_class="Event", **more)
        posted = attrs.evolve(SOURCE, queue="posted")
        async with taking(Events(("127.0.0.1", 0), (source, posted)), redis.url) as it:
            yield ReadSource(it.receiver, it.store, it.events, it.stop), send


def _said(found: ReadSource) -> list[str]:
    return [text for text in found.texts() if text]


async def _others_are_read(found: ReadSource) -> None:
    """What another source brings becomes a job."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{found.receiver.servers[0].addresses[0]}{PATH}", json=dict(MESSAGE))
    assert answer.status_code == 202
    assert len(found.jobs("posted")) == 1


@pytest.mark.promise
@pytest.mark.parametrize(
    ("kind", "thrown"),
    [
        ("component", Thrown(derive.Deriver, "event_of_copy", for_bad=True)),
        ("component", Thrown(reading.EventBuffer, "put", for_bad=True)),
        ("component", Thrown(deliver, "incoming_event", for_bad=True)),
        ("component", Thrown(Connection, "push_events", for_bad=True)),
        ("component", Thrown(component, "answer_to", for_bad=True)),
        ("rabbit", Thrown(rabbit, "read", for_bad=True)),
        ("rabbit", Thrown(rabbit, "dead_job", for_bad=True)),
        ("rabbit", Thrown(deliver, "incoming_event", for_bad=True)),
        ("rabbit", Thrown(Connection, "push_events", for_bad=True)),
        ("openfire", Thrown(frames.FrameReader, "read")),
        ("openfire", Thrown(reading.EventBuffer, "put", for_bad=True)),
        ("openfire", Thrown(deliver, "incoming_event", for_bad=True)),
    ],
    ids=lambda given: given if isinstance(given, str) else given.name,
)
async def test_what_raises_in_an_event_costs_that_event(
    kind: Kind, thrown: Thrown, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _opened(kind, redis_server, tmp_path, monkeypatch) as (found, send):
        await send("one")
        await until_async(lambda: "one" in _said(found), "one is a job", 30)
        thrown.put_into(monkeypatch)
        if thrown.name == "dead_job":
            Thrown(rabbit, "read", for_bad=True, armed=True).put_into(monkeypatch)
        thrown.armed = True
        await send(BAD)
        await send("two")
        await until_async(lambda: "two" in _said(found) and found.warnings(), "two is a job, one is none", 30)
        assert thrown.times
        # An answer is made behind the event of its stanza.
        assert _said(found) == (["one", BAD, "two"] if thrown.name == "answer_to" else ["one", "two"])
        assert found.outcomes().count("malformed") == 1
        assert {warning.code for warning in found.warnings()} == {
            "EventParked" if thrown.name == "read" and kind == "rabbit" else "EventMalformed"
        }
        assert BAD not in str(found.warnings())
        await _others_are_read(found)


@pytest.mark.promise
@pytest.mark.parametrize(
    ("kind", "thrown"),
    [
        ("component", Thrown(stanzas.StreamParser, "feed")),
        ("component", Thrown(connection.ComponentStream, "send")),
        ("component", Thrown(in_redis.ProgressInRedis, "put")),
        ("component", Thrown(in_redis.LeasesInRedis, "hold")),
        ("component", Thrown(reading.Offers, "push")),
        ("rabbit", Thrown(FakeLink, "acknowledge")),
        ("rabbit", Thrown(reading.Offers, "push")),
        ("openfire", Thrown(EventStream, "next")),
        ("openfire", Thrown(in_redis.LoginsInRedis, "call")),
        ("openfire", Thrown(reading.Offers, "push")),
    ],
    ids=lambda given: given if isinstance(given, str) else given.name,
)
async def test_what_raises_besides_closes_that_source_for_a_moment(
    kind: Kind, thrown: Thrown, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thrown.put_into(monkeypatch)
    async with _opened(kind, redis_server, tmp_path, monkeypatch) as (found, send):
        await send("one")
        await until_async(lambda: "one" in _said(found), "one is a job", 30)
        thrown.armed = True
        await send("meanwhile")
        await found.warning("SourceFailed")
        for number in range(100):
            await send(f"two {number}")
            with trio.move_on_after(0.5):
                await until_async(lambda: any("two" in text for text in _said(found)), "it is read again", 30)
                break
        assert any("two" in text for text in _said(found))
        assert len(found.warnings("SourceFailed")) == 1
        await _others_are_read(found)


@pytest.mark.parametrize("kind", ["component", "rabbit", "openfire"])
async def test_what_raises_at_the_end_ends_nothing_else(
    kind: Kind, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = (FakeLink, "stop") if kind == "rabbit" else (reading.Pusher, "finish")
    thrown = Thrown(owner, name)
    thrown.put_into(monkeypatch)
    async with _opened(kind, redis_server, tmp_path, monkeypatch) as (found, send):
        await send("one")
        await until_async(lambda: "one" in _said(found), "one is a job", 30)
        thrown.armed = True
    assert thrown.times == 1
    (failed,) = found.warnings("SourceFailed")
    assert "Fault" in failed.message


@pytest.mark.parametrize(
    ("owner", "name"), [(StanzaHook, "read"), (deliver, "incoming_event"), (Connection, "push_events")]
)
async def test_what_raises_in_a_post_costs_that_post(
    owner: object, name: str, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the kind of source: signed ones, and those whose events become commands, have the same way."""
    async with _opened("component", redis_server, tmp_path, monkeypatch) as (found, send):
        Thrown(owner, name, armed=True).put_into(monkeypatch)
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"{found.receiver.servers[0].addresses[0]}{PATH}"
            assert (await client.post(url, json=dict(MESSAGE))).status_code == 500
        assert found.outcomes() == ["failed"]
        await _others_are_read(found)
        await send("one")
        await until_async(lambda: "one" in _said(found), "one is a job", 30)


async def test_a_guard_lets_pass_what_is_not_about_the_event(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = reading.SourceReports("s", lambda _: None, component._TEXTS, "", attrs.field())  # noqa: SLF001
    for error in (Problem("C", "m", "h"), StoreUnavailable("x"), trio.Cancelled._create()):  # noqa: SLF001
        with pytest.raises(type(error)), reports.guard():
            raise error
