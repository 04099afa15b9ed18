"""What `check` and stats show of the streams of a source: of a login's id too little to act as its user."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast

import attrs
import pytest
import trio

from restbroker.config.events import EventSource
from restbroker.config.secret import Secret
from restbroker.config.target import Engine, Url
from restbroker.errors import ConfigError
from restbroker.servers import in_redis
from restbroker.servers.event_contract import ReaderPorts
from restbroker.servers.findings import Finding
from restbroker.servers.in_redis import StreamInfo
from restbroker.servers.openfire.stream.check import check
from restbroker.servers.openfire.stream.open_stream import StreamAttributes
from restbroker.servers.openfire.stream.options import Options
from restbroker.servers.openfire.stream.reader import open_reader
from restbroker.store import sources
from restbroker.transport.stream import EventStream
from tests.events.openfire_sse.conftest import Read, target
from tests.events.openfire_sse.test_relogin import another_process, asks, logs_off
from tests.support.openfire_chat.server import Openfire
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.rows import rows
from tests.support.wait import until_async


def source(server: Openfire, passwords: Path, *users: str) -> EventSource:
    settings = Options(users, (), Secret(path=passwords))
    return EventSource("o", "openfire-sse", None, "q", "C", options=settings, target=target(server), has_ids=False)


async def looked_at(made: EventSource) -> list[Finding]:
    """In a thread, as `check` runs a loop of its own."""
    return await trio.to_thread.run_sync(lambda: list(check(made)))


async def test_a_stream_that_is_read_stays_with_its_reader(reading: Read, openfire: Openfire, passwords: Path) -> None:
    async with reading("ann"):
        before = openfire.state.readers["ann"]
        (finding,) = await looked_at(source(openfire, passwords, "ann", "bob"))
        assert (finding.level, finding.code) == ("ok", "Streams")
        assert "ann, bob" in finding.message
        assert openfire.state.readers["ann"] is before


def test_report_of_a_reading_process_is_a_finding(openfire: Openfire, passwords: Path) -> None:
    silent = sources.SourceState("o", "openfire-sse", "h:1", "ann", code="OpenfireAway", message="Silent.")
    assert [said.code for said in check(source(openfire, passwords, "ann"), [silent])] == ["Streams", "OpenfireAway"]


def test_wrong_missing_and_unreadable_passwords_are_problems(openfire: Openfire, passwords: Path) -> None:
    passwords.write_text("ann:wrong-password\nbob:secret\n")
    found = list(check(source(openfire, passwords, "ann", "bob", "eve")))
    assert [(finding.level, finding.code) for finding in found] == [
        ("problem", "OpenfireDenied"), ("problem", "OpenfireDenied"), ("ok", "Streams"),
    ]  # fmt: skip
    assert "does not let ann read their events (401)" in found[0].message
    assert "no password for eve" in found[1].message
    assert "wrong-password" not in str(found)
    passwords.unlink()
    (gone,) = check(source(openfire, passwords, "ann"))
    assert "cannot be read" in gone.message


def test_server_that_does_not_answer_is_reported_once(openfire: Openfire, passwords: Path) -> None:
    made = source(openfire, passwords, "ann", "bob")
    away = attrs.evolve(target(openfire), url=Url("http", "127.0.0.1", free_port(), "/rest/api"))
    (finding,) = check(attrs.evolve(made, target=away))
    assert (finding.level, finding.code) == ("problem", "OpenfireAway")


@pytest.mark.parametrize("engine", ["lean", "httpx"])
async def test_server_behind_a_unix_socket_is_reached_there(
    openfire: Openfire, passwords: Path, tmp_path: Path, engine: Engine
) -> None:
    made, nowhere = source(openfire, passwords, "ann", "bob"), free_port()
    there = Url("http", "127.0.0.1", nowhere, "/rest/api", socket=str(tmp_path / "s"))
    made = attrs.evolve(made, target=attrs.evolve(target(openfire), url=there, engine=engine))
    async with passed_on(tmp_path / "s", openfire.port):
        assert [finding.code for finding in await looked_at(made)] == ["Streams"]
    # A server at the URL's host and port is not the one whose streams are read.
    beside = attrs.evolve(there, port=openfire.port)
    made = attrs.evolve(made, target=attrs.evolve(target(openfire), url=beside, engine=engine))
    (away,) = await looked_at(made)
    assert (away.level, away.code) == ("problem", "OpenfireAway")


@asynccontextmanager
async def passed_on(path: Path, port: int) -> AsyncIterator[None]:
    """What comes at the socket goes to this port, and back."""

    async def serve(client: trio.abc.Stream) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", port) as server, trio.open_nursery() as nursery:
            nursery.start_soon(pour, client, server)
            await pour(server, client)
            nursery.cancel_scope.cancel()

    with trio.socket.socket(trio.socket.AF_UNIX) as listening:
        await listening.bind(path)
        listening.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.serve_listeners, serve, [trio.SocketListener(listening)]))
            yield
            nursery.cancel_scope.cancel()


async def pour(out_of: trio.abc.ReceiveStream, into: trio.abc.SendStream) -> None:
    async for piece in out_of:
        await into.send_all(piece)


def test_a_reader_is_not_opened_without_what_it_needs(openfire: Openfire, passwords: Path) -> None:
    with pytest.raises(ConfigError, match="needs its target"):
        open_reader(source(openfire, passwords, "ann"), ReaderPorts(object(), print, *[object()] * 3))  # type: ignore[arg-type]


class Came:
    heartbeat_s = 7.0


class Stream:
    came = Came()


@rows(("login", "shown"), [("ofchat-491368877", "…877"), ("ofchat-7", "…-7"), ("ofchat", "…"), ("x", "…"), ("", "")])
def test_id_shows_its_end_and_never_most_of_it(login: str, shown: str) -> None:
    facts = StreamAttributes()
    assert facts() == StreamInfo()
    facts.record_opened(cast("EventStream", Stream()), login, 5.0)
    facts.event_s = 6.0
    assert facts() == StreamInfo(shown, 5.0, 6.0, 7.0)
    facts.record_ended()
    assert facts() == StreamInfo("", 0.0, 6.0, 0.0)


async def test_logged_off_or_silent_user_is_not_shown_as_read(
    reading: Read, openfire: Openfire, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_redis, "_LEAST_S", 0.05)
    async with (
        reading("bob", askers=("eve",), ready=False) as reader,
        another_process(openfire, redis_server) as logins,
    ):

        async def shown(bob: str, eve: str) -> None:
            def is_so() -> bool:
                found = {state.user: state for state in sources.read_states(reader.store)}
                return {user: (state.code, state.message) for user, state in found.items()} == {
                    "bob": ("", bob),
                    "eve": ("", eve),
                } and bool(found["bob"].login) == (not bob)

            await until_async(is_so, f"bob is shown as {bob or 'read'}, and eve as {eve or 'read'}", 60)

        await shown("", "no question")
        await logs_off(logins, openfire, "bob")
        await shown("no login", "no question")
        claim = await asks(logins, "eve")
        with openfire.state.lock:
            openfire.state.connected("eve")
        await shown("no login", "")
        await logins.login("bob")
        with openfire.state.lock:
            openfire.state.disconnected("eve")
        await logins.end("eve", claim)
        await shown("", "no question")
    assert not reader.warnings("OpenfireAway")
