"""What is shown of a user's stream: of a login's id too little to act as its user, and that there is none."""

from typing import cast

import pytest

from restbroker.events import states
from restbroker.servers.event_contract import StreamInfo
from restbroker.servers.openfire.stream.attributes import StreamAttributes
from restbroker.store import sources
from restbroker.transport.stream import EventStream
from tests.events.openfire_sse.conftest import Read
from tests.events.openfire_sse.test_relogin import another_process, asks, logs_off
from tests.support.openfire_chat.server import Openfire
from tests.support.redis_server import RedisServer
from tests.support.rows import rows
from tests.support.wait import until_async


class Stream:
    heartbeat_s = 7.0


@rows(("login", "shown"), [("ofchat-491368877", "…877"), ("ofchat-7", "…-7"), ("ofchat", "…"), ("x", "…"), ("", "")])
def test_of_an_id_the_end_is_shown_and_never_most_of_it(login: str, shown: str) -> None:
    facts = StreamAttributes()
    assert facts() == StreamInfo()
    facts.note_opened(cast("EventStream", Stream()), login, 5.0)
    facts.event_s = 6.0
    assert facts() == StreamInfo(shown, 5.0, 6.0, 7.0)
    facts.note_ended()
    assert facts() == StreamInfo("", 0.0, 6.0, 0.0)


async def test_who_is_logged_off_or_asks_nothing_is_not_shown_as_read(
    reading: Read, openfire: Openfire, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "_LEAST_S", 0.05)
    async with (
        reading("bob", askers=("eve",), ready=False) as reader,
        another_process(openfire, redis_server) as logins,
    ):

        async def shown(bob: str, eve: str) -> None:
            def is_so() -> bool:
                found = {one.user: one for one in sources.read_states(reader.store)}
                return {user: (one.code, one.message) for user, one in found.items()} == {
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
