"""What `restbroker check` finds in a real RabbitMQ, and that it leaves it as it is."""

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
from restbroker.servers.findings import Finding, worst_cause
from restbroker.store.sources import SourceState
from tests.events.amqp.conftest import CHAT, KEPT, RABBIT_QUEUE
from tests.support.rabbitmq import LIMITED, RabbitMQ


def source(url: str, *exchanges: Exchange) -> EventSource:
    settings = Options(Server(Secret(url)), exchanges or (CHAT,), RABBIT_QUEUE)
    return EventSource("rabbit", "mongooseim-amqp", None, "events", "XmppEvent", options=settings)


def found(url: str, *exchanges: Exchange, states: Sequence[SourceState] = ()) -> list[Finding]:
    return list(registry.check(source(url, *exchanges), states))


def state(code: str, message: str, process: str = "web1:7") -> SourceState:
    return SourceState("rabbit", "mongooseim-amqp", process, "", 1_795_368_605.0, code, message, "Do it.")


def test_all_that_is_there_is_well(rabbit: RabbitMQ) -> None:
    rabbit.declare("chat_msg")
    with rabbit.channel() as channel:
        channel.queue_declare(RABBIT_QUEUE, durable=True, arguments=KEPT)
    findings = found(rabbit.url())
    assert [one.level for one in findings] == ["ok"] * 3 + ["note"]
    assert findings[1].message == "The exchange chat_msg exists as configured (topic, not durable)."
    assert findings[2].message == "The queue restbroker.rabbit exists (quorum)."
    assert (findings[3].code, findings[3].message) == (
        "RabbitMQUnread",
        "No process reads the queue restbroker.rabbit now.",
    )


def test_what_the_reader_says_is_told_in_the_place_of_nobody_reads(rabbit: RabbitMQ) -> None:
    rabbit.declare("chat_msg")
    with rabbit.channel() as channel:
        channel.queue_declare(RABBIT_QUEUE, durable=True, arguments=KEPT)
    findings = found(rabbit.url(), states=[state("RabbitMQSilent", "It is silent."), state("", "", "web2:8")])
    assert [one.code for one in findings] == ["RabbitMQ"] * 3 + ["RabbitMQSilent"]
    told = findings[-1]
    assert (told.level, told.cause, told.hint) == ("problem", "target", "Do it.")
    assert told.message == "Source rabbit: It is silent. web1:7 says so, since 2026-11-22 17:30:05 UTC."
    assert found(rabbit.url(), states=[state("", "")])[-1].code == "RabbitMQUnread"


def test_what_the_check_finds_itself_is_not_told_twice_and_of_many_that_say_it_a_few_are_named() -> None:
    away = [state("RabbitMQAway", "It is away.")]
    assert len(found("amqp://u:p@127.0.0.1:1", states=away)) == 1
    many = [state("RabbitMQSilent", "It is silent.", f"web{number}:7") for number in range(30)]
    findings = found("amqp://u:p@127.0.0.1:1", states=many)
    assert [one.code for one in findings] == ["RabbitMQAway", *["RabbitMQSilent"] * 10]
    assert findings[-1].message.endswith("UTC. The same applies to 20 more.")


def test_what_is_missing_is_told_and_not_made(rabbit: RabbitMQ) -> None:
    waits = Exchange("presence", "presence", ("#",), create=False)
    login, made, waited, queue = found(rabbit.url(), CHAT, waits)
    assert [one.level for one in (login, made, waited, queue)] == ["ok", "note", "problem", "ok"]
    assert "topic, not durable. With another type, MongooseIM then does not start" in str(made.why)
    assert (made.code, waited.code) == ("RabbitMQMissing", "RabbitMQMissing")
    assert not rabbit.exists("chat_msg")
    assert (
        found(rabbit.url())[2].message
        == queue.message
        == "restbroker creates the queue restbroker.rabbit when it runs."
    )


def test_an_exchange_and_a_queue_that_differ_are_problems_of_the_configuration(rabbit: RabbitMQ) -> None:
    rabbit.declare("chat_msg", durable=True)
    with rabbit.channel() as channel:
        channel.queue_declare(RABBIT_QUEUE, durable=True)
    findings = found(rabbit.url())
    assert [one.code for one in findings] == ["RabbitMQ", "RabbitMQDiffers", "RabbitMQDiffers"]
    assert "Its type has to be quorum" in str(findings[2].hint)
    assert worst_cause(findings) == "config"


def test_a_wrong_password_a_missing_virtual_host_and_a_missing_permission_are_told_apart_without_the_password(
    rabbit: RabbitMQ,
) -> None:
    (login,) = found(rabbit.url(password="wrong-password"))
    assert (login.level, login.code, login.cause) == ("problem", "RabbitMQDenied", "refused")
    assert "refuses the login of the user restbroker (ACCESS_REFUSED" in login.message
    assert "the password" in str(login.hint)
    assert "wrong-password" not in f"{login}"
    (place,) = found(rabbit.url().replace("%2F", "nowhere"))
    assert (place.code, place.cause) == ("RabbitMQDenied", "refused")
    assert "does not let the user restbroker into the virtual host nowhere (NOT_ALLOWED" in place.message
    assert "the password" not in str(place.hint)
    assert "rabbitmqctl add_vhost" in str(place.hint)
    rabbit.declare("chat_msg")
    assert "permission configure for chat_msg" in str(found(rabbit.url(user=LIMITED))[1].hint)


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
