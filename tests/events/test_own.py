"""What this broker sends does not come back as an event, and what cannot be remembered is sent all the same."""

from contextlib import closing
from typing import Any

import attrs
import trio

from restbroker.config.events import Events
from restbroker.config.target import Target, Url
from restbroker.events.deliver import Deliverer
from restbroker.job.event import mark_of_sent
from restbroker.servers.in_redis import SentMessagesInRedis, sent_messages_of
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.telemetry.events import Event, OperatorWarning
from tests.events.conftest import EVENT, SOURCE
from tests.support.redis_server import RedisServer

GUARDED = attrs.evolve(SOURCE, own_s=60.0)
ECHO = attrs.evolve(EVENT, sender="Bot@a.example/x", receiver="bob", body="hello")


async def test_a_message_that_was_sent_is_dropped_as_an_event(redis_server: RedisServer, deliverer: Deliverer) -> None:
    def opened() -> Connection:
        return Connection(open_client(StoreSettings(redis_server.url)))

    own = sent_messages_of(Events(("127.0.0.1", 0), (SOURCE, GUARDED)), _target("mongooseim"), opened, _ignore)
    assert own is not None
    await own.remember("bot@a.example", "bob@b.example", "hello")
    async with trio.open_nursery() as nursery:
        await nursery.start(deliverer.run)

        for _ in range(2):
            assert (await deliverer.deliver(GUARDED, ECHO)).verdict == "own"
        assert (await deliverer.deliver(GUARDED, attrs.evolve(ECHO, body="Hello"))).verdict == "accepted"
        assert (await deliverer.deliver(GUARDED, attrs.evolve(ECHO, sender="ann@a.example"))).verdict == "accepted"
        assert (await deliverer.deliver(SOURCE, ECHO)).verdict == "accepted"
        nursery.cancel_scope.cancel()
    await own.aclose()


def test_without_a_source_that_asks_for_it_nothing_is_remembered() -> None:
    for events in (None, Events(("127.0.0.1", 0), (SOURCE,))):
        assert sent_messages_of(events, _target("mongooseim"), _connection, _ignore) is None


def test_source_with_target_drops_only_what_that_target_sent() -> None:
    named = attrs.evolve(GUARDED, kind="ejabberd-component", target_name="one")
    events = Events(("127.0.0.1", 0), (named,))
    for name, kind, is_kept in (("one", "ejabberd", True), ("two", "ejabberd", False), ("two", "mongooseim", False)):
        found = sent_messages_of(events, _target(kind, name), _connection, _ignore)
        assert (found is not None) is is_kept
    others = Events(("127.0.0.1", 0), (GUARDED,))
    assert sent_messages_of(others, _target("ejabberd"), _connection, _ignore) is None


async def test_messages_of_one_moment_are_recorded_together(redis_server: RedisServer) -> None:
    calls: list[int] = []

    class Counting(Connection):
        async def call(self, function: Any, *given: Any, **named: Any) -> Any:
            calls.append(len(given[0]))
            return await super().call(function, *given, **named)

    with closing(open_client(StoreSettings(redis_server.url))) as client:
        own = SentMessagesInRedis(60.0, Counting(client), _ignore)
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(own.remember, "bot@a.example", "bob@b.example", f"hello {number}")
        assert sum(calls) == 50
        assert len(calls) <= 3
        marks = [mark_of_sent("bot@a.example", "bob@b.example", f"hello {number}") for number in range(50)]
        assert all(client.command("GET", client.keys.event(mark)) == b"60000" for mark in marks)


async def test_without_redis_a_message_is_sent_with_a_warning() -> None:
    log: list[Event] = []
    connection = Connection(open_client(StoreSettings("redis://127.0.0.1:1"), 0.5))
    own = SentMessagesInRedis(60.0, connection, log.append)
    with trio.fail_after(20):
        await own.remember("bot@a.example", "bob@b.example", "a text that nobody else may see")
    await own.aclose()
    (warned,) = log
    assert isinstance(warned, OperatorWarning)
    assert warned.code == "OwnNotRemembered"
    assert "a text" not in repr(warned)


def _connection() -> Connection:
    return Connection(open_client(StoreSettings("redis://127.0.0.1:1")))


def _target(kind: str, name: str = "one") -> Target:
    return Target(name, kind, Url("http", "127.0.0.1", 1, "/api"), (name,))


def _ignore(_event: Event) -> None:
    pass
