"""When tokens were last used, for all processes."""

import pytest

from restbroker.errors import StoreRefused
from restbroker.store.client import Client
from restbroker.store.tokens import last_uses, remember
from tests.store.pools import Server


def test_the_last_use_of_each_token_is_known_to_all(client: Client, server: Server) -> None:
    assert last_uses(client) == {}
    remember(client, {"app": 5.9, "shop": 6.0})
    remember(client, {"app": 7.5})
    remember(client, {})
    assert last_uses(client) == {"app": 7.0, "shop": 6.0}


def test_what_is_no_time_is_refused_with_the_key_to_look_at(client: Client, server: Server) -> None:
    server.raw.hset("ns:restbroker:tokens", "app", "yesterday")
    with pytest.raises(StoreRefused, match="ns:restbroker:tokens has values that are not times") as caught:
        last_uses(client)
    assert "may delete it" in (caught.value.hint or "")
