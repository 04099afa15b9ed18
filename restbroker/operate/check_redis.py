"""Judges what the Redis server says of itself. Pure.

Called by `operate.check_store`. Always holds: what a managed Redis hides is a note, not a guess.
"""

from collections.abc import Iterator

import attrs

from restbroker.config.values import duration_text
from restbroker.servers.findings import Finding, ok
from restbroker.store.server import NEWER_REDIS, TOO_OLD, ServerInfo

AREA = "redis"
HEADROOM = 0.8
CLOCK_S = 1.0


def check_redis(info: ServerInfo, address: str, offset_s: float) -> Iterator[Finding]:
    """Yield the findings about this server. `address`: what messages call it.

    `offset_s`: how many seconds its clock is ahead of ours.
    """
    if info.is_supported:
        yield ok(AREA, "Version", f"{info.product} answers at {address}.")
    else:
        message = f"{info.product} at {address} is too old."
        yield Finding("problem", AREA, "TooOld", message=message, why=TOO_OLD, hint=NEWER_REDIS)
    if info.cluster_enabled:
        yield Finding(
            "problem",
            AREA,
            "Cluster",
            message="This is Redis Cluster.",
            why="It spreads Sidekiq's keys (queues, retry, schedule, dead) over its nodes, and cannot move a job from"
            " one node to another in one step. Sidekiq refuses it, too.",
            hint="Use one Redis with replicas (cluster-enabled no), one for each datacentre.",
        )
        return
    if info.role != "master":
        yield Finding(
            "problem",
            AREA,
            "Replica",
            message="This Redis is a replica.",
            why="It refuses writes, so that no job can be taken or settled.",
            hint="Let RedisURL name the master (on the replica, INFO replication tells which one it is).",
        )
    yield from _persistence(info)
    yield _policy(info)
    yield _headroom(info)
    yield _clock(offset_s)


def _persistence(info: ServerInfo) -> Iterator[Finding]:
    if not info.disk_ok:
        why = "Redis then refuses every write (MISCONF) and loses everything at a restart."
        hint = "Check its log and the free space on its disk."
        yield Finding("problem", AREA, "DiskFailed", message="Redis could not write to its disk.", why=why, hint=hint)
    if info.aof_enabled:
        yield _append_only(info.appendfsync)
    elif info.save is None:
        message = "Redis has no append-only file, and does not say whether it saves snapshots."
        why = "Jobs since the last snapshot are lost when it crashes."
        yield Finding(
            "note", AREA, "Unknown", message=message, why=why, hint="Turn on persistence where this Redis is managed."
        )
    else:
        kind = f"only snapshots ({info.save})" if info.save else "nothing"
        lost = "every job since the last snapshot" if info.save else "every job"
        yield Finding(
            "warning",
            AREA,
            "SnapshotsOnly" if info.save else "NotSaved",
            message=f"Redis saves {kind}.",
            why=f"When it crashes, {lost} is lost.",
            hint="In redis.conf:\nappendonly yes\nappendfsync always",
        )


def _append_only(appendfsync: str | None) -> Finding:
    always = "To lose nothing, set appendfsync always in redis.conf; it is slower."
    match appendfsync:
        case "always":
            return ok(AREA, "Saved", "Redis saves each job before it answers (appendfsync always).")
        case "everysec":
            message = "Redis saves each second (appendfsync everysec)."
            return Finding(
                "note",
                AREA,
                "SavedEachSecond",
                message=message,
                why="A crash may lose about the last second.",
                hint=always,
            )
        case "no":
            message = "Redis lets the operating system save (appendfsync no)."
            why = "A crash of the machine may lose the last 30 seconds or more."
            return Finding(
                "warning", AREA, "SavedSometime", message=message, why=why, hint="In redis.conf: appendfsync everysec"
            )
        case _:
            message = "Redis has an append-only file but does not say how often it saves it."
            return Finding(
                "note",
                AREA,
                "Unknown",
                message=message,
                why="With everysec, a crash may lose the last second.",
                hint=always,
            )


def _policy(info: ServerInfo) -> Finding:
    if info.policy == "noeviction":
        return ok(AREA, "Policy", "Redis never removes jobs to free memory (maxmemory-policy noeviction).")
    found = Finding(
        "warning",
        AREA,
        "Eviction",
        message=f"Redis may remove keys to free memory (maxmemory-policy {info.policy}).",
        why="At maxmemory it removes keys with an expiry, including answers that a caller waits for.",
        hint="In redis.conf: maxmemory-policy noeviction",
    )
    if not info.policy.startswith("allkeys"):
        return found
    why = "At maxmemory it removes any key: a whole queue, the retry set, the jobs in progress."
    if info.maxmemory_bytes == 0:
        return attrs.evolve(found, why=f"{why} There is no maxmemory now.")
    return attrs.evolve(found, level="problem", why=why)


def _headroom(info: ServerInfo) -> Finding:
    limit = info.maxmemory_bytes or info.total_memory_bytes
    name = "maxmemory" if info.maxmemory_bytes else "the machine's memory"
    if 0 < info.maxmemory_bytes <= info.used_memory_bytes and info.policy == "noeviction":
        message = f"Redis is full: it uses {_mib(info.used_memory_bytes)}, and maxmemory is {_mib(limit)}."
        why = "Producers cannot push; restbroker still settles existing jobs."
        hint = "Raise maxmemory, or free memory (redis-cli --bigkeys shows what fills Redis)."
        return Finding("problem", AREA, "Full", message=message, why=why, hint=hint)
    if limit and info.used_memory_bytes > HEADROOM * limit:
        share = f"{info.used_memory_bytes / limit:.0%} of {name} ({_mib(info.used_memory_bytes)} of {_mib(limit)})"
        why = "When it is full, producers cannot push; restbroker still settles existing jobs."
        hint = "Raise maxmemory, or find what fills Redis (redis-cli --bigkeys)."
        return Finding("warning", AREA, "NearlyFull", message=f"Redis uses {share}.", why=why, hint=hint)
    return ok(AREA, "Memory", f"Redis uses {_mib(info.used_memory_bytes)} of {name} ({_mib(limit)}).")


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f} MiB" if size_bytes else "unknown size"


def _clock(offset_s: float) -> Finding:
    if abs(offset_s) <= CLOCK_S:
        return ok(AREA, "Clock", "The clocks of Redis and of this machine agree.")
    side = "ahead of" if offset_s > 0 else "behind"
    message = f"Redis' clock is {duration_text(abs(offset_s))} {side} this machine's."
    why = "Jobs become due by Redis' clock, while producers and logs use their own: delays look wrong by that much."
    return Finding(
        "warning", AREA, "Clock", message=message, why=why, hint="Set both clocks by NTP (timedatectl set-ntp true)."
    )
