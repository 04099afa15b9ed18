"""A user who is logged in anew is read on: the server ends no stream with its login, and tells nobody of the new."""

import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import attrs
import pytest
import trio

from restbroker.events import states
from restbroker.servers.contract import Ports
from restbroker.servers.logins import LoginsInRedis
from restbroker.servers.openfire.chat.logins import LogoffResult, SharedLogins, shared_logins
from restbroker.servers.openfire.stream import reader as sse_reader
from restbroker.servers.openfire.stream.context import ListenerContext
from restbroker.store import sources
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.store.logins import AskingOnly, LoggedIn, UserBase
from restbroker.transport.client import open_transport
from restbroker.transport.message import Response
from tests.events.openfire_sse.conftest import Read, chat, say, target
from tests.support.openfire_chat.faults import Kind
from tests.support.openfire_chat.server import Openfire
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async

_ROUNDS: Final = 4
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
    book = LoginsInRedis(UserBase("chat", "localhost"), lambda: Connection(open_client(StoreSettings(redis.url))))
    http = open_transport(target(openfire))
    logins = shared_logins(target(openfire), Ports(lambda _: None, time.time, http, logins=book))
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


async def test_a_login_in_one_process_is_followed_by_the_stream_in_another_within_two_seconds(
    reading: Read, openfire: Openfire, redis_server: RedisServer
) -> None:
    async with (
        reading("bob") as reader,
        another_process(openfire, redis_server) as logins,
        trio.open_nursery() as nursery,
    ):
        clock = Turns()
        nursery.start_soon(clock.run)
        await reader.hears("bob")
        for number in range(_ROUNDS):
            await logs_off(logins, openfire, "bob")
            await reader.reads("bob", count=0)
            await logins.login("bob")
            began = clock.count
            await until_async(lambda: "bob" in openfire.state.readers, "he is read by his new login", 60)
            assert clock.count - began <= _SOON_S / _TURN_S, number
            say(openfire, "ann", "bob", f"hello {number}")
            await reader.has(*(f"hello {one}" for one in range(number + 1)))
        await until_async(lambda: len(reader.gaps()) == _ROUNDS, "each gap is told", 60)
        nursery.cancel_scope.cancel()
    assert not reader.warnings("OpenfireAway")
    assert openfire.state.logins.count("bob") == 1 + _ROUNDS


async def test_what_a_stream_still_brings_that_was_left_ends_no_gap(
    reading: Read, openfire: Openfire, redis_server: RedisServer
) -> None:
    async with (
        reading(askers=("eve",), ready=False) as reader,
        another_process(openfire, redis_server) as logins,
    ):
        await asks(logins, "eve")
        with openfire.state.lock:
            openfire.state.connected("eve")
        await reader.reads("eve")
        left = openfire.state.readers["eve"]
        opening = openfire.faults.add(Kind.HANG, "GET /sse/eve")
        await asks(logins, "eve")
        await until_async(opening.reached.is_set, "another stream is being opened", 60)
        left_s = time.time()
        left.event("chatapi.ask", '{"type": "update-queue", "position": 1}')
        await until_async(reader.jobs, "it is a job", 60)
        opening.release.set()
        await until_async(lambda: any(until_s > left_s for _, _, until_s in reader.gaps()), "the gap is told", 60)


async def test_a_user_whom_somebody_else_logged_off_is_read_on_once_a_job_had_him_logged_in(
    reading: Read, openfire: Openfire, redis_server: RedisServer
) -> None:
    async with reading("bob") as reader, another_process(openfire, redis_server) as logins:
        await reader.hears("bob")
        old = await logins.stream("bob")
        chat(openfire, "POST", f"/chat/{old}/logoff")
        renewed_s = time.time()
        assert await logins.renew("bob", old) != old
        await until_async(lambda: "bob" in openfire.state.readers, "he is read by his new login", 60)
        say(openfire, "ann", "bob", "hello")
        await reader.has("hello")
        ((user, since_s, until_s),) = await until_async(reader.gaps, "the gap is told", 60)
        assert user == "bob"
        assert since_s <= renewed_s <= until_s
        assert str(await logins.read_state("bob")) not in str(reader.warnings())
        await reader.reads("bob")


@pytest.fixture
def soon_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What told nothing for a second is opened anew."""
    monkeypatch.setattr(sse_reader, "ListenerContext", partial(ListenerContext, quiet_s=1.0))


@pytest.mark.usefixtures("soon_quiet")
async def test_what_is_lost_by_a_login_or_a_kick_of_somebody_elses_is_told_once_it_is_noticed(
    reading: Read, openfire: Openfire, redis_server: RedisServer
) -> None:
    async with reading("bob") as reader, another_process(openfire, redis_server) as logins:
        await reader.hears("bob")
        for number, ends in enumerate(("/logoff", "kick"), 1):
            known = await logins.read_state("bob")
            assert isinstance(known, LoggedIn)
            ended_s = time.time()
            if ends == "kick":
                chat(openfire, "DELETE", "/sessions/bob")
            else:
                chat(openfire, "POST", f"/chat/{known.stream}/logoff")
                chat(openfire, "POST", "/chat/bob/login")
            told = partial(lambda count: len(reader.gaps()) == count, number)
            await until_async(told, "the gap is told", 60)
            user, since_s, until_s = reader.gaps()[-1]
            assert user == "bob"
            assert since_s <= ended_s <= until_s
            assert "the login ended" in reader.warnings("OpenfireGap")[-1].message
            assert await logins.read_state("bob") == LoggedIn(openfire.state.of_user["bob"].id)
            await reader.hears("bob")
    assert openfire.state.logins.count("bob") == 3


@pytest.mark.usefixtures("soon_quiet")
async def test_a_stream_that_is_opened_anew_because_nothing_came_is_no_gap(reading: Read, openfire: Openfire) -> None:
    async with reading("bob") as reader:
        await reader.hears("bob")
        first = openfire.state.readers["bob"]
        await until_async(lambda: openfire.state.readers["bob"] is not first, "it is opened anew", 60)
        second = openfire.state.readers["bob"]
        await until_async(lambda: openfire.state.readers["bob"] is not second, "and once more", 60)
        assert not reader.warnings()
    assert openfire.state.logins == ["bob"]
    assert logoffs(openfire) == 0


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/sessions/bob"), ("POST", "/chat/{}/logoff")], ids=["kicked", "logged off"]
)
async def test_a_user_whose_session_somebody_else_ended_is_logged_in_again_since_his_stream_says_so(
    reading: Read, openfire: Openfire, redis_server: RedisServer, method: str, path: str
) -> None:
    async with reading("bob") as reader, another_process(openfire, redis_server) as logins:
        await reader.hears("bob")
        old = await logins.stream("bob")
        chat(openfire, method, path.format(old))
        await until_async(lambda: "bob" in openfire.state.readers, "he is read by his new login", 60)
        assert await logins.read_state("bob") != LoggedIn(old)
        say(openfire, "ann", "bob", "hello")
        await reader.has("hello")
        await until_async(lambda: len(reader.gaps()) == 1, "the gap is told", 60)
    assert openfire.state.logins.count("bob") == 2
    assert not openfire.state.is_jammed


async def test_what_was_on_its_way_behind_the_end_of_a_session_does_not_keep_its_user_logged_off(
    reading: Read, openfire: Openfire, redis_server: RedisServer
) -> None:
    async with reading("bob") as reader, another_process(openfire, redis_server) as logins:
        await reader.hears("bob")
        stream = openfire.state.readers["bob"]
        chat(openfire, "POST", f"/chat/{await logins.stream('bob')}/logoff")
        late = '<message to="bob@example.org" from="ann@example.org/ann" type="chat"><body>late</body></message>'
        stream.event("chatapi.xmpp", f'{{"xmpp": "{base64.b64encode(late.encode()).decode()}"}}')
        await until_async(lambda: "bob" in openfire.state.readers, "he is read by his new login", 60)


async def test_what_comes_between_a_login_and_the_first_stream_of_who_was_logged_off_is_in_a_gap(
    reading: Read, openfire: Openfire, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "_LEAST_S", 0.05)
    async with another_process(openfire, redis_server) as logins:
        await logins.stream("bob")
        await logs_off(logins, openfire, "bob")
        async with reading("bob", ready=False) as reader:
            rests = partial(sources.read_states, reader.store)
            await until_async(lambda: [one.message for one in rests()] == ["no login"], "he has no stream", 60)
            assert not reader.warnings()
            await logins.login("bob")
            say(openfire, "ann", "bob", "hello")
            said_s = time.time()
            ((user, since_s, until_s),) = await until_async(reader.gaps, "the gap is told", 60)
            assert user == "bob"
            assert since_s <= said_s
            assert reader.texts() or said_s <= until_s


async def test_what_came_under_a_login_that_was_over_before_it_was_seen_is_in_a_gap(
    reading: Read, openfire: Openfire, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "_LEAST_S", 0.05)
    async with reading("bob") as reader, another_process(openfire, redis_server) as logins:
        await reader.hears("bob")
        rests = partial(sources.read_states, reader.store)
        said_s: list[float] = []
        await logs_off(logins, openfire, "bob")
        for number in range(_ROUNDS):
            await until_async(lambda: [one.message for one in rests()] == ["no login"], "he has no stream", 60)
            await logins.login("bob")
            say(openfire, "ann", "bob", f"hello {number}")
            said_s.append(time.time())
            await logs_off(logins, openfire, "bob")

        def accounted(number: int) -> bool:
            in_gap = any(since_s <= said_s[number] <= until_s for _, since_s, until_s in reader.gaps())
            return in_gap or f"hello {number}" in reader.texts()

        await until_async(lambda: all(map(accounted, range(_ROUNDS))), "each was read, or is in a gap", 60)


async def test_while_a_user_is_logged_off_there_is_no_gap(
    reading: Read, openfire: Openfire, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "_LEAST_S", 0.05)
    async with reading("bob") as reader, another_process(openfire, redis_server) as logins:
        await reader.hears("bob")
        await logs_off(logins, openfire, "bob")
        off_s = time.time()
        await until_async(
            lambda: [one.message for one in sources.read_states(reader.store)] == ["no login"], "he has no stream", 60
        )
        await logins.login("bob")
        ((_, since_s, _),) = await until_async(reader.gaps, "the gap is told", 60)
        assert since_s >= off_s


async def test_a_user_who_is_set_offline_keeps_his_login_and_is_read_on(reading: Read, openfire: Openfire) -> None:
    async with reading("bob") as reader:
        await reader.hears("bob")
        asked = [one.path for one in openfire.requests].count("/sse/bob")
        login = chat(openfire, "POST", "/chat/bob/login")
        chat(openfire, "POST", f"/chat/{login}/presence?show=offline")
        await until_async(lambda: [one.path for one in openfire.requests].count("/sse/bob") > asked, "it is looked", 60)
        await reader.reads("bob")
        say(openfire, "ann", "bob", "hello")
        await reader.has("hello")
        assert openfire.state.logins.count("bob") == 1
        assert not reader.warnings()


async def test_what_an_asker_is_told_of_his_second_question_comes(
    reading: Read, openfire: Openfire, redis_server: RedisServer
) -> None:
    async with (
        reading(askers=("eve",), ready=False) as reader,
        another_process(openfire, redis_server) as logins,
    ):
        for number in (1, 2, 3):
            claim = await asks(logins, "eve")
            with openfire.state.lock:
                openfire.state.connected("eve")
            await until_async(lambda: "eve" in openfire.state.readers, "his question is listened to", 60)
            openfire.state.tell("eve", "chatapi.ask", f'{{"type":"update-queue", "position":{number}}}')
            wanted = partial(lambda count: len(reader.jobs()) == count, number)
            await until_async(wanted, "what he is told is a job", 60)
            with openfire.state.lock:
                openfire.state.disconnected("eve")
            await logins.end("eve", claim)
    assert not openfire.state.logins


async def test_a_question_that_is_asked_while_another_one_ends_has_the_stream_opened_again(
    reading: Read, openfire: Openfire, redis_server: RedisServer
) -> None:
    async with (
        reading(askers=("eve",), ready=False) as reader,
        another_process(openfire, redis_server) as logins,
    ):
        first = await asks(logins, "eve")
        openfire.state.connected("eve")
        await reader.reads("eve")
        await asks(logins, "eve")
        await logins.end("eve", first)
        with openfire.state.lock:
            openfire.state.disconnected("eve")
            openfire.state.connected("eve")
        known = await logins.read_state("eve")
        assert isinstance(known, AskingOnly)
        assert known != first
        await until_async(lambda: "eve" in openfire.state.readers, "it is opened again", 60)
        await until_async(lambda: len(openfire.state.open_readers) == 1, "the old one is left", 60)


def logoffs(openfire: Openfire) -> int:
    return sum(asked.path.endswith("/logoff") for asked in list(openfire.requests))


async def test_a_login_that_a_kick_left_behind_is_logged_off_once_and_the_user_is_read(
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


async def test_the_stream_of_a_user_whom_a_job_kicked_or_locked_out_is_looked_at(
    reading: Read, openfire: Openfire, redis_server: RedisServer
) -> None:
    async with reading("bob") as reader, another_process(openfire, redis_server) as logins:
        chat(openfire, "DELETE", "/sessions/bob")
        await logins.note_kicked("bob")
        await until_async(lambda: "bob" in openfire.state.readers, "he is read by his new login", 60)
        say(openfire, "ann", "bob", "hello")
        await reader.has("hello")
        chat(openfire, "POST", "/lockouts/bob")
        await logins.note_kicked("bob")
        denied = await reader.tells("OpenfireDenied")
        assert "does not let bob read their events (401)" in denied.message
        chat(openfire, "DELETE", "/lockouts/bob")
        await reader.tells("OpenfireBack")
        await until_async(lambda: len(reader.gaps()) == 2, "both gaps are told", 60)


async def test_a_server_that_gives_no_new_streams_is_named_once_and_nobody_is_logged_in_again_and_again(
    reading: Read, openfire: Openfire
) -> None:
    openfire.state.is_jammed = True
    async with reading("ann", "bob", ready=False) as reader:
        jammed = await reader.tells("OpenfireJammed")
        assert jammed.hint is not None
        assert jammed.hint.startswith("Restart Openfire: two logins, logoffs, questions or uploads at one moment")

        def tries() -> int:
            return sum(asked.path.startswith("/sse/") for asked in list(openfire.requests))

        await until_async(lambda: tries() >= 9, "it is tried again", 60)
        assert logoffs(openfire) == 2, "each was logged in afresh once"
        assert len(reader.warnings("OpenfireJammed")) == 1
        await trio.to_thread.run_sync(openfire.restart)
        await reader.reads("ann", "bob")
        await reader.tells("OpenfireBack")


async def test_a_login_that_ends_right_before_its_stream_is_opened_is_no_server_that_gives_no_streams(
    reading: Read, openfire: Openfire, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = iter([False, False])
    monkeypatch.setattr(type(openfire.state), "is_served", lambda _, user: next(served, user == "bob"))
    async with reading("bob") as reader:
        await reader.hears("bob")
        assert not reader.warnings("OpenfireJammed")


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
