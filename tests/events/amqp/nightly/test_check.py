"""A real RabbitMQ: what `check` finds, what a publisher may write beside the body, what the example's alerts ask."""

import struct
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import promql_parser
import pytest
import yaml
from pika import BasicProperties
from prometheus_client.parser import text_string_to_metric_families as parse

from dev.tools.pages import ROOT
from restbroker.events.amqp.options import RabbitExchange
from restbroker.servers.findings import worst_cause
from tests.events.amqp.conftest import CHAT, KEPT, RABBIT_QUEUE, RECEIVED, Read, chat
from tests.events.amqp.test_check import found, state
from tests.support.rabbitmq import LIMITED, RabbitMQ, as_bytes
from tests.support.rows import rows
from tests.support.wait import until


@pytest.fixture
def declared(rabbit: RabbitMQ) -> RabbitMQ:
    """With the exchange and the queue."""
    rabbit.declare("chat_msg")
    with rabbit.channel() as channel:
        channel.queue_declare(RABBIT_QUEUE, durable=True, arguments=KEPT)
    return rabbit


def test_all_that_is_there_is_well(declared: RabbitMQ) -> None:
    findings = found(declared.url())
    assert [finding.level for finding in findings] == ["ok"] * 3
    assert findings[1].message == "The exchange chat_msg exists as configured (topic, not durable)."
    assert findings[2].message == "The queue restbroker.rabbit exists (quorum)."


def test_a_readers_problem_is_a_finding(declared: RabbitMQ) -> None:
    findings = found(declared.url(), states=[state("RabbitMQAway", "It is silent."), state("", "", "web2:8")])
    assert [finding.code for finding in findings] == ["RabbitMQ"] * 3 + ["RabbitMQAway"]
    finding = findings[-1]
    assert (finding.level, finding.cause, finding.hint) == ("problem", "target", "Do it.")
    assert finding.message == "Source rabbit: It is silent. web1:7 says so, since 2026-11-22 17:30:05 UTC."


def test_missing_parts_are_reported_and_not_created(rabbit: RabbitMQ) -> None:
    waits = RabbitExchange("presence", "presence", ("#",), create=False)
    login, made, waited, queue = found(rabbit.url(), CHAT, waits)
    assert [finding.level for finding in (login, made, waited, queue)] == ["ok", "note", "problem", "ok"]
    assert "topic, not durable. With another type, MongooseIM then does not start" in str(made.why)
    assert (made.code, waited.code) == ("RabbitMQMissing", "RabbitMQMissing")
    assert not rabbit.exists("chat_msg")
    assert (
        found(rabbit.url())[2].message
        == queue.message
        == "restbroker creates the queue restbroker.rabbit when it runs."
    )


def test_an_exchange_or_a_queue_that_differs_is_a_problem(rabbit: RabbitMQ) -> None:
    rabbit.declare("chat_msg", durable=True)
    with rabbit.channel() as channel:
        channel.queue_declare(RABBIT_QUEUE, durable=True)
    findings = found(rabbit.url())
    assert [finding.code for finding in findings] == ["RabbitMQ", "RabbitMQDiffers", "RabbitMQDiffers"]
    assert "inequivalent arg 'x-queue-type' for queue 'restbroker.rabbit'" in findings[2].message
    assert worst_cause(findings) == "config"


def test_refusals_are_distinguished_without_the_password(
    rabbit: RabbitMQ,
) -> None:
    (login,) = found(rabbit.url(password="wrong-password"))
    assert (login.level, login.code, login.cause) == ("problem", "RabbitMQDenied", "refused")
    assert "403 ACCESS_REFUSED - Login was refused" in login.message
    assert "the password" in str(login.hint)
    assert "wrong-password" not in f"{login}"
    (place,) = found(rabbit.url().replace("%2F", "nowhere"))
    assert (place.code, place.cause) == ("RabbitMQDenied", "refused")
    assert "530 NOT_ALLOWED - vhost nowhere not found" in place.message
    assert "the password" not in str(place.hint)
    assert "rabbitmqctl add_vhost" in str(place.hint)
    rabbit.declare("chat_msg")
    assert "403 ACCESS_REFUSED - access to exchange 'chat_msg'" in found(rabbit.url(user=LIMITED))[1].message


class Raw(BasicProperties):
    """Properties of which only the headers are there, as these bytes."""

    def __init__(self, table: bytes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.table = table

    def encode(self) -> Sequence[bytes]:
        return [struct.pack(">H", self.FLAG_HEADERS), struct.pack(">I", len(self.table)), self.table]


def a_time_of_no_calendar() -> bytes:
    return b"\x02atT" + b"\xff" * 8


def tables_in_tables() -> bytes:
    table = b"\x01xV"
    for _ in range(1500):
        table = b"\x01xF" + struct.pack(">I", len(table)) + table
    return table


@rows("table", [a_time_of_no_calendar, tables_in_tables])
async def test_a_header_that_cannot_be_decoded_holds_up_nothing(
    reading: Read, rabbit: RabbitMQ, table: Callable[[], bytes]
) -> None:
    async with reading(CHAT) as found:
        with rabbit.channel() as channel:
            channel.confirm_delivery()
            channel.basic_publish("chat_msg", RECEIVED, as_bytes(chat("odd")), Raw(table()))
        rabbit.publish("chat_msg", RECEIVED, chat("next"))
        await found.has(2)
        assert found.texts() == ["odd", "next"]
        assert found.warnings() == []


ALERTS: Final[dict[str, Any]] = yaml.safe_load((ROOT / "examples/mongooseim/rabbitmq-alerts.yml").read_text("utf-8"))
FAMILIES: Final = "family=queue_coarse_metrics&family=queue_consumer_count"
EVENTS: Final = 7


def test_each_rule_reads_what_rabbitmq_reports_of_a_queue(tmp_path: Path) -> None:
    server = RabbitMQ(tmp_path / "rabbit", has_metrics=True).start()
    try:
        with server.channel() as channel:
            channel.exchange_declare("chat_msg", "topic", durable=True)
            channel.queue_declare(RABBIT_QUEUE, durable=True, arguments=KEPT)
            channel.queue_bind(RABBIT_QUEUE, "chat_msg", "#")
        server.fill("chat_msg", [(RECEIVED, chat("x"))] * EVENTS)

        def metrics() -> dict[str, float]:
            address = f"http://127.0.0.1:{server.metrics_port}/metrics/detailed?{FAMILIES}"
            with urllib.request.urlopen(address, timeout=20) as answer:
                families = list(parse(answer.read().decode()))
            samples = [sample for family in families for sample in family.samples]
            return {sample.name: sample.value for sample in samples if sample.labels.get("queue") == RABBIT_QUEUE}

        # It counts now and then.
        until(lambda: metrics().get("rabbitmq_detailed_queue_messages_ready") == EVENTS, "RabbitMQ has counted", 60)
        names = metrics()
    finally:
        server.kill()
    rules = [rule for group in ALERTS["groups"] for rule in group["rules"]]
    for rule in rules:
        promql_parser.parse(rule["expr"])
        assert 'queue=~"restbroker[.].*"' in rule["expr"]
    assert sorted(name for name in names if any(f"({name}{{" in rule["expr"] for rule in rules)) == [
        "rabbitmq_detailed_queue_consumers",
        "rabbitmq_detailed_queue_messages_ready",
    ]
