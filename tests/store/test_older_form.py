"""Jobs in a form that has gone: their keys are named, and those of others are not."""

import pytest

from restbroker.errors import StoreRefused
from restbroker.store import older_form
from restbroker.store.client import Client
from tests.store.pools import Server

TARGETS = {"t": ["a", "b"], "other": ["c"]}


def test_each_key_of_a_form_that_has_gone_is_named(client: Client, server: Server) -> None:
    raw = server.raw
    for name in ("restbroker:order:hold:t", "restbroker:fair:wait:b", "restbroker:order:due:c"):
        raw.hset(f"ns:{name}", "1000:k", "{}")
    for place, pool in (("beats", "h:1:n:t"), ("dying", "h:2:n:x")):
        raw.hset(f"ns:restbroker:{place}", pool, 1)
        raw.hset(f"ns:restbroker:info:{pool}", "fairness", '{"by":["user"]}')
    pools = ["ns:restbroker:info:h:1:n:t", "ns:restbroker:info:h:2:n:x"]
    waiting = ["order:hold:t", "fair:wait:b", "order:due:c"]
    assert older_form.find(client, TARGETS) == [*(f"ns:restbroker:{name}" for name in waiting), *pools]
    assert older_form.find(client, {"unserved": ["d"]}) == pools
    with pytest.raises(StoreRefused, match="ns:restbroker:fair:wait:b, ns:restbroker:order:due:c, "):
        older_form.require_none(client, TARGETS)


def test_nothing_is_named_where_all_has_todays_form(client: Client, server: Server) -> None:
    older_form.require_none(client, {})
    server.raw.hset("ns:restbroker:beats", "h:1:n:t", 1)
    server.raw.hset("ns:restbroker:info:h:1:n:t", "groups", '{"by":["user"]}')
    older_form.require_none(client, TARGETS)
