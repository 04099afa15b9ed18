"""What the Go original (go-workers) leaves in Redis: its lists of jobs in progress, its retry set, its connections.

Used by `operate.migrate`, and by `check` to warn of it. Always holds: a job is at its old place or at its new one,
never both, never neither, even if it stops half way. The original's keys and formats were measured on its last
revision (2017-12) with Redis 7.0.
"""

from collections.abc import Sequence

from restbroker.config.values import duration_text
from restbroker.job.crashes import with_uncertain_run
from restbroker.store.client import Client, integer, items, raw, text
from restbroker.store.survey import literal, scan

MOVE_BATCH = 200
"""Jobs per exchange: Redis serves no other client meanwhile."""
_SUFFIX = ":inprogress"
_FETCHING = "brpoplpush"


def process_ids(client: Client, queue: str) -> tuple[list[str], bool]:
    """Return the process ids under which jobs of a queue are in progress, and whether all keys were read.

    At most 500,000 are. Queue names and process ids may both hold colons: `queue:a:b:1:inprogress` may belong to `a` or
    to `a:b`. The part before the process id is taken from `queue`, and the caller judges ids with a colon. Raise
    `StoreUnavailable`.
    """
    prefix = client.keys.go_in_progress(queue, "").removesuffix(_SUFFIX)
    keys, complete = scan(client, f"{literal(prefix)}*{_SUFFIX}", "list")
    return sorted(key.removeprefix(prefix).removesuffix(_SUFFIX) for key in keys), complete


def states(client: Client, lists: Sequence[str]) -> list[tuple[int, bytes | None]]:
    """Return size and newest job of each list: one of them changes when a job is taken or acknowledged.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    replies = client.commands([command for key in lists for command in (("LLEN", key), ("LINDEX", key, 0))])
    pairs = zip(replies[::2], replies[1::2], strict=True)
    return [(integer(size), None if newest is None else raw(newest)) for size, newest in pairs]


def give_back(client: Client, source: str, queue: str) -> int:
    """Move all jobs in progress back to their queue, where the oldest is then the next to be taken; return how many.

    Each notes that it may have run: the original made no marks before it sent them. Raise `StoreUnavailable` or
    `StoreRefused`, perhaps half way: what was moved is moved.
    """
    keys, moved = [source, client.keys.queue(queue), client.keys.queues], 0
    while jobs := [raw(job) for job in items(client.command("LRANGE", source, 0, MOVE_BATCH - 1))]:
        changes = [part for job in jobs for part in (job, with_uncertain_run(job))]
        moved += integer(client.run("adopt", keys, [queue, *changes]))
    return moved


def retries(client: Client, skip: int) -> list[bytes]:
    """Return members of the original's retry set after the first `skip`, next due first; none at its end.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    return [raw(job) for job in items(client.command("ZRANGE", client.keys.go_retry, skip, skip + MOVE_BATCH - 1))]


def retry_count(client: Client) -> int:
    """Return how many jobs the original would try again. Raise `StoreUnavailable` or `StoreRefused`."""
    return integer(client.command("ZCARD", client.keys.go_retry))


def fetchers(client: Client) -> list[str]:
    """Return the connections that take jobs from lists of this database as go-workers does, with BRPOPLPUSH.

    Each is described for people. Programs that use BRPOPLPUSH for something else are among them. A connection keeps its
    last command, so a broker that is busy with all its jobs is seen too; one whose machine is gone is listed until
    Redis notices (tcp-keepalive, 300 s). Raise `StoreUnavailable`, or `StoreRefused` if CLIENT LIST is not allowed.
    """
    database = _connection(text(client.command("CLIENT", "INFO"))).get("db")
    others = [_connection(line) for line in text(client.command("CLIENT", "LIST")).splitlines()]
    return [
        f"{other.get('addr')} (idle for {duration_text(int(other.get('idle') or 0))})"
        for other in others
        if other.get("db") == database and other.get("cmd", "").lower() == _FETCHING
    ]


def _connection(line: str) -> dict[str, str]:
    # id=3 addr=127.0.0.1:40562 … db=0 … cmd=brpoplpush user=default …
    return dict(part.split("=", 1) for part in line.split() if "=" in part)
