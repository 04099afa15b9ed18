"""Facts about the Redis server itself.

Used by the reaper (is it still the same server?), at a start, by `check`, `migrate`, the stats and `verify`. Always
holds: a setting that a managed Redis hides (CONFIG) is None, not an error; where it hides INFO, its version comes of
HELLO.
"""

import re
from collections.abc import Iterator, Mapping

from restbroker.errors import StoreRefused
from restbroker.light import frozen
from restbroker.store.client import Client, integer, items, mapping, microseconds, text

OLDEST_REDIS = (7, 0)
OLDEST_VALKEY = (7, 2)
TOO_OLD = "An older one runs no scripts while its memory is full, so its queues could never be drained."
NEWER_REDIS = "Use Redis 7.0 or newer, or Valkey 7.2 or newer."
HEADROOM = 0.8
GRAVE_SHARE = 0.9
"""So much of the memory in use needs somebody now; from `HEADROOM` on it is worth knowing."""
_NO_WRITES = "It refuses writes, so that no job can be taken or settled."


@frozen
class ServerInfo:
    """The server's own description (INFO). `role` is master or slave.

    Sizes are bytes: `maxmemory_bytes` is 0 for no limit, `used_memory_bytes` is without what does not count towards it
    (buffers for replicas). `appendfsync` (always, everysec, no) and `save` (the rules for snapshots, "" for none) are
    None where CONFIG is not allowed. `disk_ok`: the last snapshot and the last write to the append-only file worked.
    `databases`: number of keys in each database that has any. `lacks_replicas`: fewer are connected than
    `min-replicas-to-write` asks for; False where CONFIG is not allowed.
    """

    run_id: str
    role: str
    version: str
    is_valkey: bool
    maxmemory_bytes: int
    used_memory_bytes: int
    policy: str
    aof_enabled: bool
    appendfsync: str | None
    cluster_enabled: bool
    save: str | None
    disk_ok: bool
    total_memory_bytes: int
    databases: Mapping[int, int]
    lacks_replicas: bool = False

    @property
    def is_supported(self) -> bool:
        """Whether it is new enough: Redis 7.0, Valkey 7.2 (scripts with flags, allow-oom)."""
        return _is_supported(self.version, is_valkey=self.is_valkey)

    @property
    def product(self) -> str:
        """Name and version, for people."""
        return _product(self.version, is_valkey=self.is_valkey)


def server(client: Client, *, with_settings: bool = True) -> ServerInfo:
    """Return the server's own description; without `with_settings`, `appendfsync` and `save` are None.

    Raise `StoreUnavailable`, or `StoreRefused` where INFO is not allowed.
    """
    fields = info(text(client.command("INFO")))
    version, is_valkey = _version(fields)
    return ServerInfo(
        run_id=fields.get("run_id", ""),
        role=fields.get("role", ""),
        version=version,
        is_valkey=is_valkey,
        maxmemory_bytes=_number(fields, "maxmemory"),
        used_memory_bytes=_number(fields, "used_memory") - _number(fields, "mem_not_counted_for_evict"),
        policy=fields.get("maxmemory_policy", ""),
        aof_enabled=fields.get("aof_enabled") == "1",
        appendfsync=read_setting(client, "appendfsync") if with_settings else None,
        cluster_enabled=fields.get("cluster_enabled") == "1",
        save=read_setting(client, "save") if with_settings else None,
        disk_ok="err" not in (fields.get("rdb_last_bgsave_status"), fields.get("aof_last_write_status")),
        total_memory_bytes=_number(fields, "total_system_memory"),
        databases=_databases(fields),
        lacks_replicas=_lacks_replicas(client, fields),
    )


@frozen
class RedisProblem:
    """Why Redis refuses writes, or may soon (`NearlyFull`). `check`, the log and the metrics use the same code.

    `grave`: it refuses them now, or is about to.
    """

    code: str
    message: str
    why: str
    hint: str
    grave: bool = True


def redis_problems(info: ServerInfo) -> Iterator[RedisProblem]:
    """Yield why this server refuses writes now, or may soon. Pure."""
    if info.role != "master":
        hint = "Let RedisURL name the master (on the replica, INFO replication tells which one it is)."
        yield RedisProblem("Replica", "This Redis is a replica.", _NO_WRITES, hint)
    if info.lacks_replicas:
        message = "Redis has fewer replicas than its setting min-replicas-to-write asks for."
        hint = "Check its replicas (redis-cli INFO replication), or lower the setting."
        yield RedisProblem("FewReplicas", message, _NO_WRITES, hint)
    if not info.disk_ok:
        why = "Redis then refuses every write (MISCONF) and loses everything at a restart."
        hint = "Check its log and the free space on its disk."
        yield RedisProblem("DiskFailed", "Redis could not write to its disk.", why, hint)
    limit, used = info.maxmemory_bytes or info.total_memory_bytes, info.used_memory_bytes
    if 0 < info.maxmemory_bytes <= used and info.policy == "noeviction":
        message = f"Redis is full: it uses {mib(used)}, and maxmemory is {mib(limit)}."
        why = "Producers cannot push; restbroker still settles existing jobs."
        hint = "Raise maxmemory, or free memory (redis-cli --bigkeys shows what fills Redis)."
        yield RedisProblem("Full", message, why, hint)
    elif limit and used > HEADROOM * limit:
        message = f"Redis uses {used / limit:.0%} of {limit_name(info)} ({mib(used)} of {mib(limit)})."
        why = "When it is full, producers cannot push; restbroker still settles existing jobs."
        hint = "Raise maxmemory, or find what fills Redis (redis-cli --bigkeys)."
        yield RedisProblem("NearlyFull", message, why, hint, grave=used > GRAVE_SHARE * limit)


def limit_name(info: ServerInfo) -> str:
    """Return what limits the memory of this Redis, for people."""
    return "maxmemory" if info.maxmemory_bytes else "the machine's memory"


def mib(size_bytes: int) -> str:
    """Return a size for people; one that is not known is 0."""
    return f"{size_bytes / 2**20:,.0f} MiB" if size_bytes else "unknown size"


def require_supported(client: Client) -> None:
    """Raise `StoreRefused` if this Redis, which it names, is too old to keep the promises; or `StoreUnavailable`."""
    version, is_valkey = _version(_of_server(client))
    if not _is_supported(version, is_valkey=is_valkey):
        product = _product(version, is_valkey=is_valkey)
        raise StoreRefused(f"{product} at {client.address} is too old. {TOO_OLD}", NEWER_REDIS)


def product(client: Client) -> str | None:
    """Return name and version, for people; None where neither is told. Raise `StoreUnavailable`."""
    try:
        version, is_valkey = _version(_of_server(client))
    except StoreRefused:
        return None
    return _product(version, is_valkey=is_valkey)


def time_s(client: Client) -> float:
    """Return the server's clock, epoch seconds. Raise `StoreUnavailable` or `StoreRefused`."""
    return microseconds(client.command("TIME")) / 1e6


def _of_server(client: Client) -> dict[str, str]:
    """Return INFO's lines on the server; where that is not allowed, its version as HELLO says it."""
    try:
        return info(text(client.command("INFO", "server")))
    except StoreRefused:
        _, name, _, version, *_ = items(client.command("HELLO"), 4)  # server NAME version VERSION …
        return {"valkey_version" if name == b"valkey" else "redis_version": text(version)}


def _version(fields: Mapping[str, str]) -> tuple[str, bool]:
    # Valkey still says redis_version:7.2.4 besides, for clients that compare it.
    valkey = fields.get("valkey_version")
    return valkey or fields.get("redis_version", ""), valkey is not None


def _is_supported(version: str, *, is_valkey: bool) -> bool:
    parts = [int(part) for part in version.split(".")[:2] if re.fullmatch(r"[0-9]{1,6}", part)]
    return tuple(parts) >= (OLDEST_VALKEY if is_valkey else OLDEST_REDIS)


def _product(version: str, *, is_valkey: bool) -> str:
    return f"{'Valkey' if is_valkey else 'Redis'} {version or 'of unknown version'}"


def read_setting(client: Client, name: str) -> str | None:
    """Return a setting of redis.conf; None where CONFIG is not allowed, or the setting is unknown.

    Raise `StoreUnavailable`.
    """
    try:
        value = mapping(client.command("CONFIG", "GET", name)).get(name)
    except StoreRefused:
        return None
    return None if value is None else text(value)


def _lacks_replicas(client: Client, fields: Mapping[str, str]) -> bool:
    # Redis tells the number only where it wants some.
    if "min_slaves_good_slaves" not in fields:
        return False
    wanted = read_setting(client, "min-replicas-to-write")
    return wanted is not None and _number(fields, "min_slaves_good_slaves") < integer(wanted.encode())


def _number(fields: Mapping[str, str], name: str) -> int:
    return integer(fields.get(name, "0").encode())


def _databases(fields: Mapping[str, str]) -> Mapping[int, int]:
    # A line such as db0:keys=4,expires=0,avg_ttl=0
    found = {name: re.match(r"keys=(\d+)", value) for name, value in fields.items() if re.fullmatch(r"db\d+", name)}
    return {int(name[2:]): int(match[1]) for name, match in found.items() if match}


def info(document: str) -> dict[str, str]:
    """Return the lines of an answer to INFO: name → value."""
    pairs = (line.split(":", 1) for line in document.splitlines() if ":" in line and not line.startswith("#"))
    return {name: value.strip() for name, value in pairs}
