"""What `check` finds where no RabbitMQ answers, and a smoke: what MongooseIM publishes to a real one becomes a job."""

import json
import socket
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from restbroker.config.events import EventSource
from restbroker.config.secret import Secret
from restbroker.errors import ConfigError
from restbroker.events import registry
from restbroker.events.amqp.options import INSTALL, Options, RabbitExchange, RabbitServer
from restbroker.events.amqp.reader import open_reader
from restbroker.servers.event_contract import ReaderPorts
from restbroker.servers.findings import Finding
from restbroker.store import paging
from restbroker.store.sources import SourceState
from restbroker.telemetry.events import SourceOpened
from tests.events.amqp.conftest import CHAT, RABBIT_QUEUE, RECEIVED, Read, chat
from tests.events.conftest import QUEUE
from tests.support.rabbitmq import RabbitMQ
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async


def source(url: str, *exchanges: RabbitExchange) -> EventSource:
    settings = Options(RabbitServer(Secret(url)), exchanges or (CHAT,), RABBIT_QUEUE)
    return EventSource("rabbit", "mongooseim-amqp", None, "events", "XmppEvent", options=settings)


def found(url: str, *exchanges: RabbitExchange, states: Sequence[SourceState] = ()) -> list[Finding]:
    return list(registry.check(source(url, *exchanges), states))


def state(code: str, message: str, process: str = "web1:7") -> SourceState:
    return SourceState("rabbit", "mongooseim-amqp", process, "", 1_795_368_605.0, code, message, "Do it.")


def test_problem_found_by_the_check_is_reported_once() -> None:
    away = [state("RabbitMQAway", "It is away.")]
    assert len(found("amqp://u:p@127.0.0.1:1", states=away)) == 1
    many = [state("RabbitMQDenied", "It is silent.", f"web{number}:7") for number in range(30)]
    findings = found("amqp://u:p@127.0.0.1:1", states=many)
    assert [finding.code for finding in findings] == ["RabbitMQAway", *["RabbitMQDenied"] * 10]
    assert findings[-1].message.endswith("UTC. The same applies to 20 more.")


def test_server_that_does_not_answer_is_reported() -> None:
    (one,) = found("amqp://u:p@127.0.0.1:1")
    assert (one.level, one.code, one.cause) == ("problem", "RabbitMQAway", "target")
    assert (
        one.message == "Source rabbit: restbroker cannot read from RabbitMQ at amqp://127.0.0.1:1: connection refused."
    )
    assert one.hint == "Check that RabbitMQ runs, and the source's URL. restbroker tries again."


def test_server_that_accepts_silently_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restbroker.events.amqp.connection._HANDSHAKE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        (one,) = found(f"amqp://u:p@127.0.0.1:{mute.getsockname()[1]}")
    assert (one.level, one.code, one.cause) == ("problem", "RabbitMQAway", "target")
    assert one.message.endswith(": it does not answer in time.")


def test_without_what_reads_from_rabbitmq_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pika", None)
    monkeypatch.delitem(sys.modules, "restbroker.events.amqp.connection", raising=False)
    (one,) = found("amqp://u:p@127.0.0.1:1")
    assert (one.code, one.hint) == ("NotInstalled", INSTALL)
    monkeypatch.setattr("restbroker.events.amqp.reader.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="reads from RabbitMQ, which needs an extra that is not installed") as caught:
        open_reader(source("amqp://h"), ReaderPorts(object(), print, *[object()] * 3))  # type: ignore[arg-type]
    assert INSTALL in str(caught.value.hint)


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
    opened = [event for event in found.events if isinstance(event, SourceOpened)]
    assert opened == [SourceOpened("rabbit", f"amqp://127.0.0.1:{rabbit.port}")]


async def test_malformed_event_dies_and_holds_up_nothing(reading: Read, rabbit: RabbitMQ) -> None:
    async with reading(CHAT) as found:
        rabbit.fill("chat_msg", [(RECEIVED, chat("1")), (RECEIVED, b"\xff{"), (RECEIVED, chat("2"))])
        await found.has(2)
        await found.warning("EventParked")
        assert found.texts() == ["1", "2"]
        ((raw, _),) = paging.piece(found.store, "dead", None, 10, newest_first=True).members
        assert sorted(found.outcomes()) == ["accepted", "accepted", "malformed"]
    dead: dict[str, Any] = json.loads(raw)
    assert (dead["class"], dead["queue"], dead["error_class"]) == ("XmppEvent", QUEUE, "MalformedEvent")
    assert dead["args"][0]["raw"] == {"exchange": "chat_msg", "routing_key": RECEIVED, "base64": "/3s="}
    await until_async(lambda: rabbit.depth(RABBIT_QUEUE) == 0, "all are acknowledged")


async def test_while_redis_is_silent_nothing_is_acknowledged(
    reading: Read, rabbit: RabbitMQ, redis_server: RedisServer
) -> None:
    async with reading(CHAT, prefetch=20, timeout_s=1.0) as found:
        redis_server.suspend()
        try:
            rabbit.fill("chat_msg", ((RECEIVED, chat(str(number))) for number in range(100)))
            await found.warning("EventsWait")
            # What a queue has ready is what nobody holds.
            await until_async(lambda: rabbit.depth(RABBIT_QUEUE) == 80, "20 are in progress", 60)
            assert found.outcomes() == []
        finally:
            redis_server.resume()
        await found.has(100)
        await until_async(lambda: len(found.outcomes()) == 100, "all are decided")
        assert list(dict.fromkeys(found.texts())) == [str(number) for number in range(100)]
