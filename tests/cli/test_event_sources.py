"""`restbroker events sources` says how each source stands, to people, in a pipe and as JSON."""

import json

from restbroker.store import sources
from restbroker.store.client import Client
from restbroker.store.sources import SourceState
from tests.cli.conftest import Shell

ANN = SourceState(
    "chat", "openfire-sse", "web1:7", "ann", 1_795_368_605.0, login="…877", opened_s=1_795_368_600.0, heartbeat_s=2e9
)
SILENT = SourceState(
    "mim", "mongooseim-amqp", "web1:7", "", 1_795_368_605.0, "RabbitMQSilent", "It is silent.", "Wait for it."
)


def test_each_source_and_stream_has_a_line_those_first_that_are_not_read(shell: Shell, store: Client) -> None:
    sources.write(store, [ANN, SILENT])
    lines = [line.split("\t") for line in shell("events", "sources").stdout.splitlines()]
    since = "2026-11-22T17:30:05Z"
    assert lines[0] == ["mim", "-", "web1:7", "RabbitMQSilent", since, "-", "-", "-", "-", "It is silent."]
    assert lines[1][:7] == ["chat", "ann", "web1:7", "read", since, "…877", "2026-11-22T17:30:00Z"]
    assert lines[1][7:] == ["-", "2033-05-18T03:33:20Z", "-"]
    silent, ann = json.loads(shell("events", "sources", "--json").stdout)
    assert (silent["code"], silent["hint"], silent["user"]) == ("RabbitMQSilent", "Wait for it.", None)
    assert (ann["login"], ann["code"], ann["event_s"], ann["heartbeat_s"]) == ("…877", None, None, 2e9)
