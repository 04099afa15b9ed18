"""What `restbroker check` finds in a real RabbitMQ, and that it leaves it as it is."""

from restbroker.events.amqp.options import Exchange
from restbroker.servers.findings import worst_cause
from tests.events.amqp.conftest import CHAT, KEPT, RABBIT_QUEUE
from tests.events.amqp.test_check import found, state
from tests.support.rabbitmq import LIMITED, RabbitMQ


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
