"""What is kept in Redis of how sources are read: soon, for as long as the process lives, and in nobody's way."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from restbroker.config.events import Events, EventSource, Handover, Route
from restbroker.operate.events import outcomes_text, source_rows
from restbroker.operate.summary import Cause
from restbroker.servers import in_redis
from restbroker.servers.findings import Problem
from restbroker.servers.in_redis import StatesInRedis, StreamInfo
from restbroker.store import sources
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.store.sources import SourceState
from restbroker.telemetry.events import EventHandled
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async

SOURCE = EventSource("mim", "mongooseim-amqp", None, "q", "C")


def trouble(code: str = "RabbitMQAway", message: str = "It is silent.", hint: str = "Wait for it.") -> Problem:
    return Problem(code, message, hint)


@asynccontextmanager
async def kept(redis_server: RedisServer, now_s: Callable[[], float] = lambda: 5.0) -> AsyncIterator[StatesInRedis]:
    settings = StoreSettings(redis_server.url)
    states = StatesInRedis(lambda: Connection(open_client(settings, 1.0)), "web1:7", now_s)
    async with trio.open_nursery() as nursery:
        await nursery.start(states.run)
        yield states
        nursery.cancel_scope.cancel()


async def shows(client: Client, *states: SourceState) -> None:
    await until_async(lambda: sources.read_states(client) == list(states), f"{states} are there")


async def test_events_are_counted_once_for_each_source(redis_server: RedisServer, client: Client) -> None:
    async with kept(redis_server) as states:
        for outcome in ("accepted", "unauthorized", "accepted"):
            states.count(EventHandled("mim", outcome))
        states.count(EventHandled("hook", "unauthorized"))
        states.put(SourceState("hook", "webhook", "web1:7"))
        for user in ("ann", "bob"):
            states.for_source(SOURCE).put(None, user)
        ann = SourceState("mim", "mongooseim-amqp", "web1:7", "ann", 5.0)
        counted = attrs.evolve(ann, event_s=5.0, outcomes={"accepted": 2, "unauthorized": 1})
        hook = SourceState("hook", "webhook", "web1:7", outcomes={"unauthorized": 1})
        await shows(client, hook, counted, attrs.evolve(ann, user="bob"))


def test_each_source_of_the_file_has_a_row_with_the_sums() -> None:
    ann = SourceState("mim", "mongooseim-amqp", "web1:7", outcomes={"accepted": 2})
    bob = attrs.evolve(ann, process="web2:7", outcomes={"accepted": 1, "busy": 4})
    hook = EventSource("hook", "webhook", "/h", "q", "C")
    rows = source_rows([ann, bob], Events(sources=(SOURCE, hook)))
    assert [(row.source, row.process, row.message, outcomes_text(row)) for row in rows] == [
        ("mim", "web1:7", "", "accepted 3, busy 4"),
        ("mim", "web2:7", "", None),
        ("hook", "", "no process", None),
    ]
    assert source_rows([], None) == []


def test_a_row_has_the_dead_jobs_of_its_commands() -> None:
    """Those of its target; of a source with two such routes, too, and each command once."""
    said = [Handover("chat", name, {"body": text}) for name, text in (("send_message", "a"), ("send_stanza", "b"))]
    said.append(Handover("chat", "send_message", {"body": "c"}))
    hook = EventSource("hook", "webhook", "/h", "q", "C", routes=tuple(Route(handover=one) for one in said))
    causes = [("chat", "send_message", 2), ("chat", "send_message", 1), ("web", "send_message", 9), ("chat", "kick", 9)]
    dead = [Cause("g", "k", None, target, command, "Refused", "no", jobs) for target, command, jobs in causes]
    rows = source_rows([], Events(sources=(SOURCE, hook)), dead)
    assert {row.source: outcomes_text(row) for row in rows} == {"mim": None, "hook": "dead send_message 3"}


@pytest.mark.slow  # a process that starts and ends
async def test_a_state_goes_with_its_process(redis_server: RedisServer, client: Client) -> None:
    moments = iter([5.0, 6.0, 7.0, 8.0])
    silent = SourceState("mim", "mongooseim-amqp", "web1:7", "", 5.0, "RabbitMQAway", "It is silent.", "Wait for it.")
    async with kept(redis_server, lambda: next(moments)) as states:
        mine = states.for_source(SOURCE)
        mine.put(trouble())
        await shows(client, silent)
        mine.put(trouble(message="It is silent still."))
        await shows(client, attrs.evolve(silent, message="It is silent still."))
        mine.put(None)
        await shows(client, SourceState("mim", "mongooseim-amqp", "web1:7", since_s=7.0))
        mine.put(None, "ann")
        ann = SourceState("mim", "mongooseim-amqp", "web1:7", "ann", 8.0)
        await shows(client, SourceState("mim", "mongooseim-amqp", "web1:7", since_s=7.0), ann)
        mine.end("")
        await shows(client, ann)
    assert sources.read_states(client) == []


async def test_nothing_to_read_has_a_beginning_of_its_own(redis_server: RedisServer, client: Client) -> None:
    moments = iter([5.0, 6.0, 7.0, 8.0])
    well = SourceState("mim", "mongooseim-amqp", "web1:7", "ann", 5.0)
    async with kept(redis_server, lambda: next(moments)) as states:
        mine = states.for_source(SOURCE)
        mine.put(None, "ann")
        await shows(client, well)
        mine.put(trouble("", "no login", ""), "ann")
        mine.put(trouble("", "no login", ""), "ann")
        await shows(client, attrs.evolve(well, message="no login", since_s=6.0))
        mine.put(None, "ann")
        await shows(client, attrs.evolve(well, since_s=8.0))


async def test_facts_of_a_stream_are_written_until_it_ends(
    redis_server: RedisServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_redis, "REFRESH_S", 0.05)
    monkeypatch.setattr(in_redis, "_LEAST_S", 0.01)
    facts = StreamInfo("…123", 3.0)
    ann = SourceState("mim", "mongooseim-amqp", "web1:7", "ann", 5.0, login="…123", opened_s=3.0)
    async with kept(redis_server) as states:
        mine = states.for_source(SOURCE)
        mine.watch("ann", lambda: facts)
        mine.put(None, "ann")
        await shows(client, ann)
        facts = StreamInfo("…123", 3.0, 8.0, 9.0)
        await shows(client, attrs.evolve(ann, event_s=8.0, heartbeat_s=9.0))
        # It is written again before it counts no more.
        client.command("DEL", client.keys.sources)
        await shows(client, attrs.evolve(ann, event_s=8.0, heartbeat_s=9.0))
        mine.end("ann")
        mine.put(None, "ann")
        await shows(client, SourceState("mim", "mongooseim-amqp", "web1:7", "ann", 5.0))


async def test_no_event_waits_while_redis_takes_no_states(redis_server: RedisServer, client: Client) -> None:
    async with kept(redis_server) as states:
        redis_server.suspend()
        try:
            states.for_source(SOURCE).put(trouble())
            # Longer than an answer may take.
            await trio.sleep(1.2)
            states.for_source(SOURCE).put(None)
        finally:
            redis_server.resume()
        await shows(client, SourceState("mim", "mongooseim-amqp", "web1:7", since_s=5.0))
