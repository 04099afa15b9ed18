"""Judges what the Redis server says of itself. Pure.

Called by `operate.check_store`. Always holds: what a managed Redis hides is a note, not a guess.
"""

from collections.abc import Iterator

import attrs

from restbroker.config.values import duration_text
from restbroker.servers.findings import Finding, Level, ok
from restbroker.store.server import NEWER_REDIS, TOO_OLD, ServerInfo, limit_name, mib, redis_problems

AREA = "redis"
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
    found = list(redis_problems(info))
    for one in found:
        level: Level = "problem" if one.is_grave else "warning"
        yield Finding(level, AREA, one.code, message=one.message, why=one.why, hint=one.hint)
    yield from _persistence(info)
    yield _policy(info)
    if not any(one.code in ("Full", "NearlyFull") for one in found):
        limit = info.maxmemory_bytes or info.total_memory_bytes
        yield ok(AREA, "Memory", f"Redis uses {mib(info.used_memory_bytes)} of {limit_name(info)} ({mib(limit)}).")
    yield _clock(offset_s)


def _persistence(info: ServerInfo) -> Iterator[Finding]:
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


def _clock(offset_s: float) -> Finding:
    if abs(offset_s) <= CLOCK_S:
        return ok(AREA, "Clock", "The clocks of Redis and of this machine agree.")
    side = "ahead of" if offset_s > 0 else "behind"
    message = f"Redis' clock is {duration_text(abs(offset_s))} {side} this machine's."
    why = "Jobs become due by Redis' clock, while producers and logs use their own: delays look wrong by that much."
    return Finding(
        "warning", AREA, "Clock", message=message, why=why, hint="Set both clocks by NTP (timedatectl set-ntp true)."
    )
