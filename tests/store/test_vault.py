"""Secrets that processes share: they end, they are replaced and dropped in order, and nothing shows them."""

import traceback
from collections.abc import Callable

import pytest

from restbroker.config.secret import Secret
from restbroker.errors import StoreRefused
from restbroker.store import vault
from restbroker.store.client import Client, StoreSettings, open_client
from tests.store.lanes import Server
from tests.support.redis_server import RedisServer
from tests.support.wait import until

SESSION = Secret("hunter2 ✓")


def test_a_secret_is_kept_for_a_while(client: Client, server: Server) -> None:
    assert vault.get(client, "n") is None
    vault.put(client, "n", SESSION, 60)
    assert vault.get(client, "n") == SESSION
    assert 30_000 < server.raw.pttl("ns:restbroker:vault:n") <= 60_000
    vault.put(client, "n", SESSION, 0.05)
    until(lambda: vault.get(client, "n") is None, "the secret ends")


def test_a_secret_of_no_use_is_dropped_and_a_fresh_one_of_another_process_stays(client: Client) -> None:
    vault.put(client, "n", SESSION, 60)
    vault.put(client, "n", Secret("fresh"), 60)
    vault.drop(client, "n", SESSION)
    assert vault.get(client, "n") == Secret("fresh")
    vault.drop(client, "n", Secret("fresh"))
    assert vault.get(client, "n") is None


def test_a_full_redis_still_keeps_a_secret(client: Client, server: Server) -> None:
    server.raw.config_set("maxmemory", 1)
    vault.put(client, "n", SESSION, 60)
    assert vault.get(client, "n") == SESSION
    vault.drop(client, "n", SESSION)


def test_too_long_a_secret_is_refused_without_showing_it(client: Client) -> None:
    with pytest.raises(ValueError, match="too long") as caught:
        vault.put(client, "n", Secret("hunter2" * vault.LONGEST_BYTES), 60)
    assert "hunter2" not in str(caught.value)


def test_a_redis_that_repeats_what_it_does_not_know_shows_no_secret(make_redis: Callable[..., RedisServer]) -> None:
    own = make_redis(rename_command="EVALSHA NEVER")
    client = open_client(StoreSettings(own.url))
    with pytest.raises(StoreRefused, match="unknown command 'EVALSHA'") as caught:
        vault.put(client, "n", SESSION, 60)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    client.close()
