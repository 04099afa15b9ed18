"""Facts about the Redis server itself. Used by the reaper (is it still the same server?) and `check`.

Always holds: what a managed Redis hides (CONFIG) is None, not an error.
"""

import attrs

from restbroker.errors import StoreRefused
from restbroker.store.client import Client
from restbroker.store.replies import integer, items, mapping, text

OLDEST_REDIS = (7, 0)
OLDEST_VALKEY = (7, 2)


@attrs.frozen
class ServerFacts:
    """`role` is master or slave; sizes are bytes, `maxmemory_bytes` 0 for no limit; `time_s` is the server's clock.

    `appendfsync` (always, everysec, no) is None where CONFIG is not allowed.
    """

    run_id: str
    role: str
    version: str
    is_valkey: bool
    time_s: float
    maxmemory_bytes: int
    used_memory_bytes: int
    policy: str
    aof_enabled: bool
    appendfsync: str | None
    connected_replicas: int
    cluster_enabled: bool

    @property
    def supported(self) -> bool:
        """Whether it is new enough: Redis 7.0, Valkey 7.2 (scripts with flags, allow-oom)."""
        parts = [int(part) for part in self.version.split(".")[:2] if part.isdigit()]
        return tuple(parts) >= (OLDEST_VALKEY if self.is_valkey else OLDEST_REDIS)


def server(client: Client) -> ServerFacts:
    """Asks the server about itself."""
    fields = _info(text(client.command("INFO")))
    # Valkey still says redis_version:7.2.4 besides, for clients that compare it.
    valkey = fields.get("valkey_version")
    return ServerFacts(
        run_id=fields.get("run_id", ""),
        role=fields.get("role", ""),
        version=valkey or fields.get("redis_version", ""),
        is_valkey=valkey is not None,
        time_s=time_s(client),
        maxmemory_bytes=int(fields.get("maxmemory", "0")),
        used_memory_bytes=int(fields.get("used_memory", "0")),
        policy=fields.get("maxmemory_policy", ""),
        aof_enabled=fields.get("aof_enabled") == "1",
        appendfsync=_appendfsync(client),
        connected_replicas=int(fields.get("connected_slaves", "0")),
        cluster_enabled=fields.get("cluster_enabled") == "1",
    )


def time_s(client: Client) -> float:
    """The server's clock, epoch seconds."""
    seconds, micros = items(client.command("TIME"))
    return integer(seconds) + integer(micros) / 1e6


def _appendfsync(client: Client) -> str | None:
    try:
        value = mapping(client.command("CONFIG", "GET", "appendfsync")).get("appendfsync")
    except StoreRefused:
        return None
    return None if value is None else value.decode()


def _info(document: str) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in document.splitlines() if ":" in line and not line.startswith("#"))
    return {name: value.strip() for name, value in pairs}
