"""The rules of the example ask for what a real RabbitMQ tells of the queue that restbroker reads."""

import urllib.request
from pathlib import Path
from typing import Any, Final

import promql_parser
import yaml
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.events.amqp.conftest import KEPT, RABBIT_QUEUE, RECEIVED, chat
from tests.support.rabbitmq import RabbitMQ
from tests.support.wait import until
from tools.pages import ROOT

ALERTS: Final[dict[str, Any]] = yaml.safe_load((ROOT / "examples/mongooseim/rabbitmq-alerts.yml").read_text("utf-8"))
FAMILIES: Final = "family=queue_coarse_metrics&family=queue_consumer_count"
EVENTS: Final = 7


def test_each_rule_asks_for_what_rabbitmq_tells_of_a_queue(tmp_path: Path) -> None:
    server = RabbitMQ(tmp_path / "rabbit", tells_metrics=True).start()
    try:
        with server.channel() as channel:
            channel.exchange_declare("chat_msg", "topic", durable=True)
            channel.queue_declare(RABBIT_QUEUE, durable=True, arguments=KEPT)
            channel.queue_bind(RABBIT_QUEUE, "chat_msg", "#")
        server.fill("chat_msg", [(RECEIVED, chat("x"))] * EVENTS)

        def told() -> dict[str, float]:
            address = f"http://127.0.0.1:{server.metrics_port}/metrics/detailed?{FAMILIES}"
            with urllib.request.urlopen(address, timeout=20) as answer:
                families = list(parse(answer.read().decode()))
            samples = [sample for family in families for sample in family.samples]
            return {one.name: one.value for one in samples if one.labels.get("queue") == RABBIT_QUEUE}

        # It counts now and then.
        until(lambda: told().get("rabbitmq_detailed_queue_messages_ready") == EVENTS, "RabbitMQ has counted", 60)
        names = told()
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
