"""A user who is logged in again is read on: the server ends no stream with its login, and announces no new one."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import attrs
import pytest
import trio

from restbroker.servers import in_redis
from restbroker.servers.contract import Ports
from restbroker.servers.in_redis import LoginsInRedis
from restbroker.servers.openfire.chat.logins import LogoffResult, SharedLogins, shared_logins
from restbroker.store import sources
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.store.logins import AskingOnly, LoggedIn, UserBase
from restbroker.transport.client import open_transport
from restbroker.transport.message import Response
from tests.events.openfire_sse.conftest import Read, chat, say, target
from tests.support.openfire_chat.server import Openfire
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async

ROUNDS: Final = 4
_SOON_S: Final = 2.0
_TURN_S: Final = 0.05


@attrs.define
class Turns:
    """A clock that stands still when the machine does: how often this thread had a turn after a twentieth of a second.

    The reader, the process that logs in and the server run in this process too: what holds them up holds it up.
    """

    count: int = 0

    async def run(self) -> None:
        while True:
            await trio.sleep(_TURN_S)
            self.count += 1


@asynccontextmanager
async def another_process(openfire: Openfire, redis: RedisServer) -> AsyncIterator[SharedLogins]:
    book = LoginsInRedis(UserBase("chat", "localhost"), Connection(open_client(StoreSettings(redis.url))))
    http = open_transport(target(openfire))
    logins = shared_logins(target(openfire), Ports(lambda _: None, time.time, http, services={LoginsInRedis: book}))
    try:
        yield logins
    finally:
        with trio.CancelScope(shield=True):
            await logins.aclose()
            await http.aclose()


async def logs_off(logins: SharedLogins, openfire: Openfire, user: str) -> None:
    """As the job `chat_logoff`."""

    async def send(stream: str) -> Response:
        await trio.to_thread.run_sync(chat, openfire, "POST", f"/chat/{stream}/logoff")
        return Response(200, {}, b"", 0.0)

    assert isinstance(await logins.log_off(user, send), LogoffResult)


async def asks(logins: SharedLogins, user: str) -> AskingOnly:
    """As the job `ask`, as soon as the server has made the connection."""

    async def send() -> Response:
        return Response(200, {}, b"", 0.0)

    claim = await logins.ask(user)
    await logins.send_question(user, claim, send)
    return claim


@pytest.mark.slow  # two processes, one after the other
async def test_stream_elsewhere_follows_a_login_within_two_seconds(
    reading: Read, openfire: Openfire, redis_server: RedisServer
) -> None:
    async with (
        reading("bob") as reader,
        another_process(openfire, redis_server) as logins,
        trio.open_nursery() as nursery,
    ):
        clock = Turns()
        nursery.start_soon(clock.run)
        await reader.receives("bob")
        for number in range(ROUNDS):
            await logs_off(logins, openfire, "bob")
            await reader.reads("bob", count=0)
            await logins.login("bob")
            began = clock.count
            await until_async(lambda: "bob" in openfire.state.readers, "he is read by his new login", 60)
            assert clock.count - began <= _SOON_S / _TURN_S, number
            say(openfire, "ann", "bob", f"hello {number}")
            await reader.has(*(f"hello {number}" for number in range(number + 1)))
        await until_async(lambda: len(reader.gaps()) == ROUNDS, "each gap is reported", 60)
        nursery.cancel_scope.cancel()
    assert not reader.warnings("OpenfireAway")
    assert openfire.state.logins.count("bob") == 1 + ROUNDS


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/sessions/bob"), ("POST", "/chat/{}/logoff")], ids=["kicked", "logged off"]
)
async def test_user_whose_session_others_ended_is_logged_in_again(
    reading: Read, openfire: Openfire, redis_server: RedisServer, method: str, path: str
) -> None:
    async with reading("bob") as reader, another_process(openfire, redis_server) as logins:
        await reader.receives("bob")
        old = await logins.stream("bob")
        chat(openfire, method, path.format(old))
        await until_async(lambda: "bob" in openfire.state.readers, "he is read by his new login", 60)
        assert await logins.read_state("bob") != LoggedIn(old)
        say(openfire, "ann", "bob", "hello")
        await reader.has("hello")
        await until_async(lambda: len(reader.gaps()) == 1, "the gap is reported", 60)
    assert openfire.state.logins.count("bob") == 2
    assert not openfire.state.is_jammed


async def test_time_between_a_login_and_its_first_stream_is_a_gap(
    reading: Read, openfire: Openfire, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_redis, "_LEAST_S", 0.05)
    async with another_process(openfire, redis_server) as logins:
        await logins.stream("bob")
        await logs_off(logins, openfire, "bob")
        async with reading("bob", ready=False) as reader:
            rests = partial(sources.read_states, reader.store)
            await until_async(lambda: [state.message for state in rests()] == ["no login"], "he has no stream", 60)
            assert not reader.warnings()
            await logins.login("bob")
            say(openfire, "ann", "bob", "hello")
            said_s = time.time()
            ((user, since_s, until_s),) = await until_async(reader.gaps, "the gap is reported", 60)
            assert user == "bob"
            assert since_s <= said_s
            assert reader.texts() or said_s <= until_s


def logoffs(openfire: Openfire) -> int:
    return sum(request.path.endswith("/logoff") for request in list(openfire.requests))


async def test_login_left_behind_by_a_kick_is_logged_off_once(
    reading: Read, openfire: Openfire, redis_server: RedisServer
) -> None:
    async with another_process(openfire, redis_server) as logins:
        old = await logins.stream("bob")
        chat(openfire, "DELETE", "/sessions/bob")
        assert chat(openfire, "POST", "/chat/bob/login") == old, "it leads nowhere, and stays"
        async with reading("bob") as reader:
            say(openfire, "ann", "bob", "hello")
            await reader.has("hello")
            assert logoffs(openfire) == 1
            assert await logins.renew("bob", old) != old
        assert not reader.warnings()


async def test_stream_of_a_user_kicked_by_a_job_is_checked(
    reading: Read, openfire: Openfire, redis_server: RedisServer
) -> None:
    async with reading("bob") as reader, another_process(openfire, redis_server) as logins:
        chat(openfire, "DELETE", "/sessions/bob")
        await logins.log_off_kicked("bob")
        await until_async(lambda: "bob" in openfire.state.readers, "he is read by his new login", 60)
        say(openfire, "ann", "bob", "hello")
        await reader.has("hello")
        chat(openfire, "POST", "/lockouts/bob")
        await logins.log_off_kicked("bob")
        denied = await reader.warning("OpenfireDenied")
        assert "does not let bob read their events (401)" in denied.message
        chat(openfire, "DELETE", "/lockouts/bob")
        await reader.warning("OpenfireBack")
        await until_async(lambda: len(reader.gaps()) == 2, "both gaps are reported", 60)


async def test_server_without_new_streams_is_reported_once(reading: Read, openfire: Openfire) -> None:
    """Nobody is logged in again and again."""
    openfire.state.is_jammed = True
    async with reading("ann", "bob", ready=False) as reader:
        jammed = await reader.warning("OpenfireJammed")
        assert jammed.hint is not None
        assert jammed.hint.startswith("Restart Openfire: two logins, logoffs, questions or uploads at one moment")

        def tries() -> int:
            return sum(request.path.startswith("/sse/") for request in list(openfire.requests))

        await until_async(lambda: tries() >= 9, "it is tried again", 60)
        assert logoffs(openfire) == 2, "each was logged in afresh once"
        assert len(reader.warnings("OpenfireJammed")) == 1
        await trio.to_thread.run_sync(openfire.restart)
        await reader.reads("ann", "bob")
        await reader.warning("OpenfireBack")


async def test_logins_are_looked_at_again_when_redis_is_back(
    reading: Read, openfire: Openfire, redis_server: RedisServer
) -> None:
    async with reading("bob", url=redis_server.url) as reader, another_process(openfire, redis_server) as logins:
        old = await logins.stream("bob")
        redis_server.suspend()
        try:
            chat(openfire, "POST", f"/chat/{old}/logoff")
            await trio.sleep(1.5)
        finally:
            redis_server.resume()
        await logins.renew("bob", old)
        await until_async(lambda: "bob" in openfire.state.readers, "he is read by his new login", 60)
        say(openfire, "ann", "bob", "hello")
        await reader.has("hello")
