"""Where events die in great number, their queue is paused, and no other."""

import attrs
import trio
import trio.testing

from restbroker.app.dead_events import DeadEvents
from restbroker.config.events import Events, Handover
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.connection import Connection
from restbroker.store.pauses import paused_queues
from restbroker.telemetry.events import Event, JobFinished, OperatorWarning
from tests.events.conftest import SOURCE
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async


def finished(queue: str = "hook", command: str = "event", fate: str = "dead") -> JobFinished:
    return JobFinished("hook", queue, command, "j", "rejected", fate, 1, 0.1)


async def test_a_queue_whose_events_die_is_paused(redis_server: RedisServer, store: Client) -> None:
    handed = attrs.evolve(SOURCE, queue="hook", handover=Handover("hook", "event"))
    told: list[Event] = []
    connection = Connection(open_client(StoreSettings(redis_server.url)))
    guard = DeadEvents(Events(sources=(SOURCE, handed)), connection, told.append, most=3)
    for other in (finished("rest"), finished(command="other"), finished(fate="retry"), *[finished()] * 2):
        guard.note(other)
    async with trio.open_nursery() as nursery:
        await nursery.start(guard.run)
        await trio.testing.wait_all_tasks_blocked()
        assert paused_queues(store) == {}
        guard.note(finished())
        await until_async(lambda: told, "it is told")
        (pause,) = paused_queues(store).values()
        assert (pause.who, pause.why) == ("restbroker", "3 events that became event are dead")
        assert [*paused_queues(store)] == ["hook"]
        nursery.cancel_scope.cancel()
    (warned,) = told
    assert isinstance(warned, OperatorWarning)
    assert "The queue hook is paused" in warned.message
