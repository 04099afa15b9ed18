"""Deleting what waits in a queue, batch by batch."""

import pytest

from restbroker.errors import StoreRefused
from restbroker.store import queues
from restbroker.store.client import Client
from tests.store.pools import Server


def test_what_is_pushed_meanwhile_stays_and_what_is_taken_meanwhile_costs_no_other_job(
    client: Client, server: Server
) -> None:
    queues.push(client, "a", [b"1", b"2", b"3", b"4"])
    assert (queues.newest(client, "a"), queues.newest(client, "b")) == (b"4", None)
    queues.push(client, "a", [b"later"])
    assert server.raw.rpop("ns:queue:a") == b"1"
    assert queues.clear(client, "a", b"4", 2) == (2, 1, [])
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"later", b"4"], "what would be taken next goes first"
    assert queues.clear(client, "a", b"4", 10) == (1, 0, [])
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"later"]


def test_once_the_newest_job_that_is_meant_was_taken_nothing_is_deleted(client: Client, server: Server) -> None:
    queues.push(client, "a", [b"1", b"2"])
    queues.push(client, "a", [b"later"])
    assert server.raw.rpop("ns:queue:a", 2) == [b"1", b"2"]
    assert queues.clear(client, "a", b"2", 10) == (0, 0, [])
    assert server.raw.lrange("ns:queue:a", 0, -1) == [b"later"]


def test_what_is_no_list_is_refused(client: Client, server: Server) -> None:
    server.raw.set("ns:queue:a", "precious")
    with pytest.raises(StoreRefused):
        queues.clear(client, "a", b"1", 10)
    assert server.raw.get("ns:queue:a") == b"precious"
