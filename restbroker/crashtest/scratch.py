"""The namespace of one run in the user's Redis: refused where it would do harm, filled, read, removed.

Used by `crashtest.run` and `crashtest.faults`. Always holds: no key outside of the namespace is written, and `sweep`
removes nothing else; it reads every key's name (SCAN), as nothing else can prove that none remains.
"""

import json
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from restbroker.config.values import duration_text
from restbroker.crashtest.workload import QUEUE
from restbroker.errors import StoreUnavailable, UsageError
from restbroker.store import identities, jobs
from restbroker.store.client import Client
from restbroker.store.replies import integer, items, raw
from restbroker.store.server import NEWER_REDIS, TOO_OLD, server

PREFIX: Final = "restbroker-verify-"
_COPIES: Final = 4
_SCAN_COUNT: Final = 1000
_SWEEP_TIMEOUT_S: Final = 120.0


def new_namespace() -> str:
    """Return a new namespace: hexadecimal digits and hyphens, so nothing that a pattern could misread."""
    return f"{PREFIX}{secrets.token_hex(8)}"


def require_usable(client: Client, jobs_count: int, payload_bytes: int) -> None:
    """Raise `UsageError` if Redis is unfit for a run: too old, a replica, part of a cluster, or short of memory.

    The run has `jobs_count` jobs of `payload_bytes` each. Raise `StoreUnavailable` if Redis does not answer.
    """
    facts = server(client)
    where = f"{facts.product} at {client.address}"
    if not facts.is_supported:
        raise UsageError(f"{where} is too old. {TOO_OLD}", NEWER_REDIS)
    if facts.role != "master":
        raise UsageError(f"{where} is a replica, which takes no writes.", "Name its master.")
    if facts.cluster_enabled:
        raise UsageError(f"{where} is part of a cluster, which cannot hold Sidekiq queues.", "Name a single Redis.")
    needed = jobs_count * payload_bytes * _COPIES
    free = facts.maxmemory_bytes - facts.used_memory_bytes
    if facts.maxmemory_bytes and free < needed:
        raise UsageError(
            f"{where} has {max(0, free)} bytes left of maxmemory, and {jobs_count} jobs may need {needed}.",
            "Use fewer --jobs, raise maxmemory, or name another Redis.",
        )


def jobs_in_progress(client: Client, pid: int | None = None) -> Mapping[str, Sequence[str]]:
    """Return identity → ids of its jobs in progress, for all identities or those of the process `pid`."""
    known = sorted({*identities.live_identities(client), *identities.fenced_identities(client)})
    mine = [name for name in known if pid is None or name.split(":")[-3] == str(pid)]
    return {name: [_jid(job) for job in jobs.read_jobs(client, name).jobs.values()] for name in mine}


def is_requeued(client: Client, fenced: Sequence[str]) -> bool:
    """Tell whether none of these identities exists any more."""
    known = {*identities.live_identities(client), *identities.fenced_identities(client)}
    return known.isdisjoint(fenced)


def live_identities(client: Client, pid: int) -> frozenset[str]:
    """Return the identities under which a process sends heartbeats; none while it starts or changes them."""
    return frozenset(name for name in identities.live_identities(client) if name.split(":")[-3] == str(pid))


def count_unfinished(client: Client) -> int:
    """Return how many jobs are neither finished nor dead, all counted in one moment."""
    keys = client.keys
    known = sorted({*identities.live_identities(client), *identities.fenced_identities(client)})
    counted = [("LLEN", keys.queue(QUEUE)), ("HLEN", keys.lines(QUEUE))]
    counted += [("ZCARD", keys.sorted_set("retry")), ("ZCARD", keys.sorted_set("schedule"))]
    held = [("HKEYS", keys.in_progress(identity)) for identity in known]
    replies = client.transaction([*counted, *held])
    waiting = sum(integer(reply) for reply in replies[: len(counted)])
    return waiting + sum(field not in (b"last", b"hwm") for reply in replies[len(counted) :] for field in items(reply))


def count_locations(client: Client) -> Counter[str]:
    """Return in how many places of Redis each job is; a job that is nowhere is not listed. Only while nothing moves."""
    keys = client.keys
    found = Counter(_jid(raw(job)) for job in items(client.command("LRANGE", keys.queue(QUEUE), 0, -1)))
    found.update(_jid(raw(job)) for job in items(client.command("HVALS", keys.lines(QUEUE))))
    for zset in ("retry", "schedule", "dead"):
        found.update(_jid(raw(job)) for job in items(client.command("ZRANGE", keys.sorted_set(zset), 0, -1)))
    for held in jobs_in_progress(client).values():
        found.update(held)
    return found


def dead_jobs(client: Client) -> Mapping[str, str]:
    """Return the ids of the dead jobs, each with the class of its error."""
    found = [json.loads(raw(job)) for job in items(client.command("ZRANGE", client.keys.sorted_set("dead"), 0, -1))]
    return {job["jid"]: job["error_class"] for job in found}


def sweep(client: Client) -> None:
    """Remove every key of the client's namespace, until a last search finds none.

    What a killed broker had sent may reach Redis after the first search. Raise `StoreUnavailable` if Redis does not
    answer or has too many keys, and ValueError for a namespace that is not a run's.
    """
    own = f"{client.keys.namespace}:".encode()
    if not own.startswith(PREFIX.encode()):
        raise ValueError(f"{client.keys.namespace!r} is not the namespace of a run")
    deadline_s = time.monotonic() + _SWEEP_TIMEOUT_S
    try:
        while _sweep_once(client, own, deadline_s):
            pass
    except StoreUnavailable as error:
        hint = f"Remove them:  redis-cli --scan --pattern '{client.keys.namespace}:*' | xargs -r redis-cli unlink"
        raise StoreUnavailable(f"The keys of the run remain: {error.message}", hint) from error


def _sweep_once(client: Client, own: bytes, deadline_s: float) -> int:
    """Search all keys once, remove those of the namespace, and return how many these were."""
    removed, cursor = 0, b"0"
    while time.monotonic() < deadline_s:
        reply = items(client.command("SCAN", cursor, "MATCH", own + b"*", "COUNT", _SCAN_COUNT))
        cursor = raw(reply[0])
        found = [key for key in map(raw, items(reply[1])) if key.startswith(own)]
        removed += integer(client.command("UNLINK", *found)) if found else 0
        if cursor == b"0":
            return removed
    raise StoreUnavailable(f"Looking for them took longer than {duration_text(_SWEEP_TIMEOUT_S)}.")


def _jid(payload: bytes) -> str:
    return str(json.loads(payload)["jid"])
