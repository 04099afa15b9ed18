"""What `restbroker check` finds where no RabbitMQ answers."""

import socket
import sys
from collections.abc import Sequence

import pytest

from restbroker.config.events import EventSource
from restbroker.config.secret import Secret
from restbroker.errors import ConfigError
from restbroker.events import registry
from restbroker.events.amqp.options import INSTALL, Exchange, Options, Server
from restbroker.events.amqp.reader import open_reader
from restbroker.servers.event_contract import ReaderPorts
from restbroker.servers.findings import Finding
from restbroker.store.sources import SourceState
from tests.events.amqp.conftest import CHAT, RABBIT_QUEUE


def source(url: str, *exchanges: Exchange) -> EventSource:
    settings = Options(Server(Secret(url)), exchanges or (CHAT,), RABBIT_QUEUE)
    return EventSource("rabbit", "mongooseim-amqp", None, "events", "XmppEvent", options=settings)


def found(url: str, *exchanges: Exchange, states: Sequence[SourceState] = ()) -> list[Finding]:
    return list(registry.check(source(url, *exchanges), states))


def state(code: str, message: str, process: str = "web1:7") -> SourceState:
    return SourceState("rabbit", "mongooseim-amqp", process, "", 1_795_368_605.0, code, message, "Do it.")


def test_what_the_check_finds_itself_is_not_told_twice_and_of_many_that_say_it_a_few_are_named() -> None:
    away = [state("RabbitMQAway", "It is away.")]
    assert len(found("amqp://u:p@127.0.0.1:1", states=away)) == 1
    many = [state("RabbitMQSilent", "It is silent.", f"web{number}:7") for number in range(30)]
    findings = found("amqp://u:p@127.0.0.1:1", states=many)
    assert [one.code for one in findings] == ["RabbitMQAway", *["RabbitMQSilent"] * 10]
    assert findings[-1].message.endswith("UTC. The same applies to 20 more.")


def test_a_server_that_does_not_answer_is_told() -> None:
    (one,) = found("amqp://u:p@127.0.0.1:1")
    assert (one.level, one.code, one.cause) == ("problem", "RabbitMQAway", "target")
    assert (
        one.message == "Source rabbit: restbroker cannot read from RabbitMQ at amqp://127.0.0.1:1: connection refused."
    )
    assert one.hint == "Check that RabbitMQ runs, and the source's URL. restbroker tries again."


def test_a_server_that_takes_the_connection_and_says_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restbroker.events.amqp.blocking_connection._HANDSHAKE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        (one,) = found(f"amqp://u:p@127.0.0.1:{mute.getsockname()[1]}")
    assert (one.level, one.code, one.cause) == ("problem", "RabbitMQAway", "target")
    assert one.message.endswith(": it does not answer in time.")


def test_without_what_reads_from_rabbitmq_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pika", None)
    monkeypatch.delitem(sys.modules, "restbroker.events.amqp.blocking_connection", raising=False)
    (one,) = found("amqp://u:p@127.0.0.1:1")
    assert (one.code, one.hint) == ("NotInstalled", INSTALL)
    monkeypatch.setattr("restbroker.events.amqp.reader.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="reads from RabbitMQ, which needs an extra that is not installed") as caught:
        open_reader(source("amqp://h"), ReaderPorts(object(), print))  # type: ignore[arg-type]
    assert INSTALL in str(caught.value.hint)
