"""Rarer ways in which a user is logged in again, or asks again, while the stream is read."""

import base64
import time
from functools import partial

import pytest

from restbroker.servers.openfire.stream import reader as sse_reader
from restbroker.servers.openfire.stream.listener import ListenerContext
from restbroker.store.logins import AskingOnly, LoggedIn
from tests.events.openfire_sse.conftest import Read, chat, say
from tests.events.openfire_sse.test_relogin import another_process, asks, logoffs
from tests.support.openfire_chat.server import Openfire
from tests.support.receiver import Kind
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async


async def test_late_events_of_an_abandoned_stream_end_no_gap(
    reading: Read, openfire: Openfire, redis_server: RedisServer
) -> None:
    async with reading(askers=("eve",), ready=False) as reader, another_process(openfire, redis_server) as logins:
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
        await until_async(lambda: any(until_s > left_s for _, _, until_s in reader.gaps()), "the gap is reported", 60)


@pytest.fixture
def soon_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream without events for a second is opened again."""
    monkeypatch.setattr(sse_reader, "ListenerContext", partial(ListenerContext, quiet_s=1.0))


@pytest.mark.usefixtures("soon_quiet")
async def test_events_lost_by_foreign_login_or_kick_are_reported_once(
    reading: Read, openfire: Openfire, redis_server: RedisServer
) -> None:
    async with reading("bob") as reader, another_process(openfire, redis_server) as logins:
        await reader.receives("bob")
        for number, ends in enumerate(("/logoff", "kick"), 1):
            known = await logins.read_state("bob")
            assert isinstance(known, LoggedIn)
            ended_s = time.time()
            if ends == "kick":
                chat(openfire, "DELETE", "/sessions/bob")
            else:
                chat(openfire, "POST", f"/chat/{known.stream}/logoff")
                chat(openfire, "POST", "/chat/bob/login")
            is_reported = partial(lambda count: len(reader.gaps()) == count, number)
            await until_async(is_reported, "the gap is reported", 60)
            user, since_s, until_s = reader.gaps()[-1]
            assert user == "bob"
            assert since_s <= ended_s <= until_s
            assert "the login ended" in reader.warnings("OpenfireGap")[-1].message
            assert await logins.read_state("bob") == LoggedIn(openfire.state.of_user["bob"].id)
            await reader.receives("bob")
    assert openfire.state.logins.count("bob") == 3


@pytest.mark.usefixtures("soon_quiet")
async def test_stream_reopened_after_silence_is_no_gap(reading: Read, openfire: Openfire) -> None:
    async with reading("bob") as reader:
        await reader.receives("bob")
        first = openfire.state.readers["bob"]
        await until_async(lambda: openfire.state.readers["bob"] is not first, "it is opened again", 60)
        second = openfire.state.readers["bob"]
        await until_async(lambda: openfire.state.readers["bob"] is not second, "and once more", 60)
        assert not reader.warnings()
    assert openfire.state.logins == ["bob"]
    assert logoffs(openfire) == 0


async def test_late_events_of_an_ended_session_leave_its_user_a_login(
    reading: Read, openfire: Openfire, redis_server: RedisServer
) -> None:
    async with reading("bob") as reader, another_process(openfire, redis_server) as logins:
        await reader.receives("bob")
        stream = openfire.state.readers["bob"]
        chat(openfire, "POST", f"/chat/{await logins.stream('bob')}/logoff")
        late = '<message to="bob@example.org" from="ann@example.org/ann" type="chat"><body>late</body></message>'
        stream.event("chatapi.xmpp", f'{{"xmpp": "{base64.b64encode(late.encode()).decode()}"}}')
        await until_async(lambda: "bob" in openfire.state.readers, "he is read by his new login", 60)


async def test_user_set_offline_keeps_his_login_and_is_read_on(reading: Read, openfire: Openfire) -> None:
    async with reading("bob") as reader:
        await reader.receives("bob")
        count = [post.path for post in openfire.requests].count("/sse/bob")
        login = chat(openfire, "POST", "/chat/bob/login")
        chat(openfire, "POST", f"/chat/{login}/presence?show=offline")
        await until_async(
            lambda: [post.path for post in openfire.requests].count("/sse/bob") > count, "it is looked", 60
        )
        await reader.reads("bob")
        say(openfire, "ann", "bob", "hello")
        await reader.has("hello")
        assert openfire.state.logins.count("bob") == 1
        assert not reader.warnings()


async def test_answer_to_an_askers_second_question_comes(
    reading: Read, openfire: Openfire, redis_server: RedisServer
) -> None:
    async with reading(askers=("eve",), ready=False) as reader, another_process(openfire, redis_server) as logins:
        for number in (1, 2, 3):
            claim = await asks(logins, "eve")
            with openfire.state.lock:
                openfire.state.connected("eve")
            await until_async(lambda: "eve" in openfire.state.readers, "his question is listened to", 60)
            openfire.state.emit("eve", "chatapi.ask", f'{{"type":"update-queue", "position":{number}}}')
            wanted = partial(lambda count: len(reader.jobs()) == count, number)
            await until_async(wanted, "his event is a job", 60)
            with openfire.state.lock:
                openfire.state.disconnected("eve")
            await logins.end("eve", claim)
    assert not openfire.state.logins


async def test_question_asked_while_another_ends_reopens_the_stream(
    reading: Read, openfire: Openfire, redis_server: RedisServer
) -> None:
    async with reading(askers=("eve",), ready=False) as reader, another_process(openfire, redis_server) as logins:
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


async def test_login_ending_before_its_stream_opens_is_no_server_fault(
    reading: Read, openfire: Openfire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server still counts as one that gives streams."""
    served = iter([False, False])
    monkeypatch.setattr(type(openfire.state), "is_served", lambda _, user: next(served, user == "bob"))
    async with reading("bob") as reader:
        await reader.receives("bob")
        assert not reader.warnings("OpenfireJammed")
