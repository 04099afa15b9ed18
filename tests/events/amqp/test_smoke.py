"""What MongooseIM publishes to a real RabbitMQ becomes a job, and is acknowledged only then: a smoke."""

import json
from typing import Any

from restbroker.store import sets
from restbroker.telemetry.events import SourceOpened
from tests.events.amqp.conftest import CHAT, RABBIT_QUEUE, RECEIVED, Read, chat
from tests.events.conftest import QUEUE
from tests.support.rabbitmq import RabbitMQ
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async


async def test_a_message_that_is_published_is_a_job(reading: Read, rabbit: RabbitMQ) -> None:
    async with reading(CHAT) as found:
        rabbit.publish("chat_msg", RECEIVED, chat("hello"))
        await found.has(1)
    (job,) = found.jobs()
    assert (job["class"], job["queue"], job["retry"]) == ("XmppEvent", QUEUE, True)
    (event,) = job["args"]
    assert (event["type"], event["from"], event["to"]) == ("message", "alice@localhost", "bob@localhost")
    assert (event["body"], event["source"], event["server"]) == ("hello", "rabbit", "localhost")
    assert event["raw"]["payload"] == chat("hello")
    assert found.outcomes() == ["accepted"]
    # Once, and without the login.
    opened = [one for one in found.events if isinstance(one, SourceOpened)]
    assert opened == [SourceOpened("rabbit", f"amqp://127.0.0.1:{rabbit.port}")]


async def test_what_is_no_event_is_dead_and_holds_up_nothing(reading: Read, rabbit: RabbitMQ) -> None:
    async with reading(CHAT) as found:
        rabbit.fill("chat_msg", [(RECEIVED, chat("1")), (RECEIVED, b"\xff{"), (RECEIVED, chat("2"))])
        await found.has(2)
        await found.tells("EventParked")
        assert found.texts() == ["1", "2"]
        ((raw, _),) = sets.list_members(found.store, "dead", 0, 10, newest_first=True)
        assert sorted(found.outcomes()) == ["accepted", "accepted", "malformed"]
    parked: dict[str, Any] = json.loads(raw)
    assert (parked["class"], parked["queue"], parked["error_class"]) == ("XmppEvent", QUEUE, "MalformedEvent")
    assert parked["args"][0]["raw"] == {"exchange": "chat_msg", "routing_key": RECEIVED, "base64": "/3s="}
    await until_async(lambda: rabbit.depth(RABBIT_QUEUE) == 0, "all are acknowledged")


async def test_while_redis_is_silent_nothing_is_acknowledged(
    reading: Read, rabbit: RabbitMQ, redis_server: RedisServer
) -> None:
    async with reading(CHAT, prefetch=20, timeout_s=1.0) as found:
        redis_server.suspend()
        try:
            rabbit.fill("chat_msg", ((RECEIVED, chat(str(number))) for number in range(100)))
            await found.tells("EventsWait")
            # What a queue has ready is what nobody holds.
            await until_async(lambda: rabbit.depth(RABBIT_QUEUE) == 80, "20 are in progress", 60)
            assert found.outcomes() == []
        finally:
            redis_server.resume()
        await found.has(100)
        await until_async(lambda: len(found.outcomes()) == 100, "all are decided")
        assert list(dict.fromkeys(found.texts())) == [str(number) for number in range(100)]
