"""How the reading of sources stands: it counts while its process goes on saying so, and never longer."""

import orjson

from restbroker.store import sources
from restbroker.store.client import Client
from restbroker.store.server import time_s
from restbroker.store.sources import SourceState

WELL = SourceState("mim", "mongooseim-amqp", "web1:7", since_s=1000.0)
SILENT = SourceState("mim", "mongooseim-amqp", "web2:8", "", 2000.0, "RabbitMQAway", "It is silent.", "Wait for it.")
ANN = SourceState(
    "chat", "openfire-sse", "web1:7", "ann", 3000.0, login="…123", opened_s=2999.0, event_s=0.0, heartbeat_s=3010.5
)


def make_old(client: Client, state: SourceState) -> None:
    """As if its process had written it the last time a minute ago."""
    field = "\n".join(state.key)
    entry = client.command("HGET", client.keys.sources, field)
    assert isinstance(entry, bytes)
    over = {**orjson.loads(entry), "until_s": time_s(client) - 1}
    client.command("HSET", client.keys.sources, field, orjson.dumps(over))


def test_each_process_and_user_has_a_state_unread_ones_first(client: Client) -> None:
    sources.write(client, [WELL, ANN])
    sources.write(client, [SILENT])
    assert sources.read_states(client) == [SILENT, ANN, WELL]
    sources.write(client, [WELL], [ANN.key])
    assert sources.read_states(client) == [SILENT, WELL]


def test_a_write_that_is_sent_twice_is_as_one(client: Client) -> None:
    for _ in range(2):
        sources.write(client, [WELL], [SILENT.key])
    assert sources.read_states(client) == [WELL]
    sources.write(client, (), [WELL.key])
    sources.write(client, (), [WELL.key])
    assert client.command("EXISTS", client.keys.sources) == 0


def test_state_of_a_dead_process_ends_and_is_removed_by_another(client: Client) -> None:
    sources.write(client, [SILENT, WELL])
    make_old(client, SILENT)
    assert sources.read_states(client) == [WELL]
    assert client.command("HLEN", client.keys.sources) == 2
    sources.write(client, [WELL])
    assert client.command("HLEN", client.keys.sources) == 1
    left_s = client.command("TTL", client.keys.sources)
    assert isinstance(left_s, int)
    assert 0 < left_s <= sources.TTL_S


def test_texts_are_bounded_and_none_can_stop_a_write(client: Client) -> None:
    odd = SourceState("mim", "k", "web1:7", "", 1.0, "C", "a\ud800b\x1b\n" + "x" * 5000, "y" * 5000)
    sources.write(client, [odd])
    (found,) = sources.read_states(client)
    assert found.message.startswith("a b  xx")
    assert (len(found.message), len(found.hint)) == (600, 600)


def test_foreign_text_counts_as_nothing(client: Client) -> None:
    odd = (b"\xff", b"[]", b'{"until_s": "soon"}', b'{"until_s": 1e400}', b'{"until_s": %d}' % 10**400, b"\xff\xfe{")
    for number, entry in enumerate(odd):
        client.command("HSET", client.keys.sources, b"\xff%d" % number, entry)
    assert sources.read_states(client) == []
    client.command("HSET", client.keys.sources, "a", b'{"until_s": 99999999999, "source": 7, "code": null}')
    assert sources.read_states(client) == [SourceState("", "", "")]
    sources.write(client, [WELL])
    assert sources.read_states(client) == [SourceState("", "", ""), WELL]
