"""What a server says of itself, also what no Redis at hand says; and answers of a wrong shape."""

import pytest

from restbroker.errors import StoreRefused
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.server import ServerInfo, require_supported, server
from tests.support.fake_redis import fake_redis

FULL = """# Server
redis_version:7.4.1
run_id:abc
executable:/usr/bin/redis:server
# Memory:of this
maxmemory:100
used_memory:90
mem_not_counted_for_evict:20
maxmemory_policy:noeviction
total_system_memory:5000
aof_enabled:1
cluster_enabled:1
role:slave
db0:keys=4,expires=0,avg_ttl=0
db12:keys=1,expires=0,avg_ttl=0
dbx:keys=9
"""


def facts_of(info: str) -> ServerInfo:
    with fake_redis(info.replace("\n", "\r\n")) as url:
        client = open_client(StoreSettings(url))
        facts = server(client)
        client.close()
    return facts


def test_each_fact_is_read_from_its_own_line() -> None:
    facts = facts_of(FULL)
    assert (facts.run_id, facts.role, facts.version, facts.is_valkey) == ("abc", "slave", "7.4.1", False)
    assert (facts.maxmemory_bytes, facts.used_memory_bytes, facts.total_memory_bytes) == (100, 70, 5000)
    assert (facts.policy, facts.aof_enabled, facts.cluster_enabled, facts.disk_ok) == ("noeviction", True, True, True)
    assert facts.databases == {0: 4, 12: 1}
    assert facts.product == "Redis 7.4.1"


def test_missing_facts_are_empty() -> None:
    facts = facts_of("")
    assert (facts.run_id, facts.role, facts.version, facts.policy) == ("", "", "", "")
    assert (facts.maxmemory_bytes, facts.used_memory_bytes, facts.total_memory_bytes) == (0, 0, 0)
    assert (facts.aof_enabled, facts.cluster_enabled, facts.databases) == (False, False, {})
    assert facts.product == "Redis of unknown version"
    assert not facts.is_supported


def test_other_product_is_named_with_its_own_version() -> None:
    facts = facts_of("redis_version:7.2.4\nvalkey_version:9.0.1")
    assert (facts.product, facts.is_valkey, facts.is_supported) == ("Valkey 9.0.1", True, True)


def test_a_disk_that_refused_the_last_write_is_not_well() -> None:
    for line in ("rdb_last_bgsave_status:err", "aof_last_write_status:err"):
        assert not facts_of(line).disk_ok
        assert facts_of(line.replace("err", "ok")).disk_ok


def test_a_server_that_is_too_old_is_refused_by_name() -> None:
    with fake_redis("redis_version:7.2.4\r\nvalkey_version:7.0.0") as url:
        client = open_client(StoreSettings(url))
        with pytest.raises(StoreRefused, match="too old") as caught:
            require_supported(client)
        client.close()
    assert caught.value.message.startswith("Valkey 7.0.0 at 127.0.0.1:")
    assert "Redis 7.0 or newer" in (caught.value.hint or "")
