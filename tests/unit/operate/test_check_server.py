"""What `check` says about a Redis server that describes itself like this."""

import attrs

from restbroker.operate.check.redis import check_redis
from restbroker.servers.findings import Finding, Level
from restbroker.store.server import ServerInfo

GOOD = ServerInfo(
    run_id="r",
    role="master",
    version="7.0.15",
    is_valkey=False,
    maxmemory_bytes=2**30,
    used_memory_bytes=2**20,
    policy="noeviction",
    aof_enabled=True,
    appendfsync="always",
    cluster_enabled=False,
    save="",
    disk_ok=True,
    total_memory_bytes=2**33,
    databases={0: 1},
)


def judged(offset_s: float = 0.0, **changes: object) -> dict[str, Finding]:
    facts = attrs.evolve(GOOD, **changes)  # type: ignore[arg-type]  # the tests name real fields
    found = {finding.code: finding for finding in check_redis(facts, "h:1", offset_s)}
    assert all(finding.level == "ok" or finding.why for finding in found.values())
    return found


def test_a_server_that_is_as_it_should_be_has_nothing_but_ok() -> None:
    assert {finding.level for finding in judged().values()} == {"ok"}


def test_dangers_to_jobs_are_found_with_their_weight() -> None:
    rows: list[tuple[dict[str, object], str, Level]] = [
        ({"version": "6.2.14"}, "TooOld", "problem"),
        ({"version": "7.0.4", "is_valkey": True}, "TooOld", "problem"),
        ({"version": ""}, "TooOld", "problem"),
        ({"cluster_enabled": True}, "Cluster", "problem"),
        ({"role": "slave"}, "Replica", "problem"),
        ({"disk_ok": False}, "DiskFailed", "problem"),
        ({"lacks_replicas": True}, "FewReplicas", "problem"),
        ({"appendfsync": "everysec"}, "SavedEachSecond", "note"),
        ({"appendfsync": "no"}, "SavedSometime", "warning"),
        ({"appendfsync": None}, "Unknown", "note"),
        ({"aof_enabled": False, "save": "3600 1"}, "SnapshotsOnly", "warning"),
        ({"aof_enabled": False, "save": ""}, "NotSaved", "warning"),
        ({"aof_enabled": False, "save": None}, "Unknown", "note"),
        ({"policy": "allkeys-lru"}, "Eviction", "problem"),
        ({"policy": "allkeys-lru", "maxmemory_bytes": 0}, "Eviction", "warning"),
        ({"policy": "volatile-ttl"}, "Eviction", "warning"),
        ({"used_memory_bytes": 2**30 * 9 // 10}, "NearlyFull", "warning"),
        ({"used_memory_bytes": 2**30 - 1}, "NearlyFull", "problem"),
        ({"used_memory_bytes": 2**30}, "Full", "problem"),
        ({"used_memory_bytes": 2**30, "policy": "volatile-lru"}, "NearlyFull", "problem"),
        ({"used_memory_bytes": 2**33 * 9 // 10, "maxmemory_bytes": 0}, "NearlyFull", "warning"),
        ({"offset_s": 5.0}, "Clock", "warning"),
        ({"offset_s": -5.0}, "Clock", "warning"),
    ]
    for changes, code, level in rows:
        found = judged(**changes)  # type: ignore[arg-type]  # offset_s is the one float among them
        assert found[code].level == level
        assert found[code].hint


def test_a_version_as_old_as_allowed_or_newer_is_accepted() -> None:
    for version, is_valkey in (("7.0.0", False), ("8.0", False), ("7.2.4", True), ("10.0.1", True)):
        found = judged(version=version, is_valkey=is_valkey)["Version"]
        assert (found.level, found.message.split()[:2]) == ("ok", ["Valkey" if is_valkey else "Redis", version])
