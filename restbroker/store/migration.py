"""What the Go original (go-workers) leaves in Redis, and moving it to where restbroker and Sidekiq look.

Used by `operate.migrate`, and by `check` to warn of it. Always holds: a job is at its old place or at its new one,
never both, never neither, even if it stops half way; what was moved already is not moved again. The original's keys and
formats were measured on its last revision (2017-12) with Redis 7.0.
"""

from collections.abc import Sequence

import attrs

from restbroker.config.values import duration_text
from restbroker.errors import StoreRefused
from restbroker.store.client import Client
from restbroker.store.codes import Code, as_code
from restbroker.store.replies import Argument, as_score, integer, items, names, pair, raw, text
from restbroker.store.scan import literal, scan
from restbroker.store.server import time_s

MOVE_BATCH = 200
"""Jobs per script call: Redis serves no other client meanwhile."""
_SUFFIX = ":inprogress"
_FETCHING = "brpoplpush"


@attrs.frozen
class ProcessIds:
    """The process ids under which the original has jobs of a queue in progress. `complete`: every key was read."""

    ids: tuple[str, ...]
    complete: bool


@attrs.frozen
class State:
    """The size and the newest job of a list: any job that is taken or acknowledged changes one of them."""

    size: int
    newest: bytes | None


@attrs.frozen
class GiveBackResult:
    """How many jobs went back to their queue, and Redis' error if it refused the others, which are where they were."""

    moved: int
    refused: str | None


@attrs.frozen
class Transfer:
    """One member of the original's retry set, and what it becomes. With `dead_score` (epoch seconds) it is dead."""

    old: bytes
    new: bytes
    dead_score: float | None = None


def process_ids(client: Client, queue: str) -> ProcessIds:
    """Return the process ids of a queue by searching at most 500,000 keys. Raise `StoreUnavailable`.

    Queue names and process ids may both hold colons: `queue:a:b:1:inprogress` may belong to `a` or to `a:b`. The part
    before the process id is taken from `queue`, and the caller judges ids with a colon.
    """
    prefix = client.keys.go_in_progress(queue, "").removesuffix(_SUFFIX)
    keys, complete = scan(client, f"{literal(prefix)}*{_SUFFIX}", "list")
    return ProcessIds(tuple(sorted(key.removeprefix(prefix).removesuffix(_SUFFIX) for key in keys)), complete)


def queue_names(client: Client) -> frozenset[str]:
    """Return every queue that is in the set of queues. Raise `StoreUnavailable` or `StoreRefused`."""
    return names(client.command("SMEMBERS", client.keys.queues))


def states(client: Client, lists: Sequence[tuple[str, str]]) -> list[State]:
    """Return the state of each of the original's lists; each is (queue, process id). Raise `StoreUnavailable`."""
    keys = [client.keys.go_in_progress(queue, process_id) for queue, process_id in lists]
    replies = client.commands([command for key in keys for command in (("LLEN", key), ("LINDEX", key, 0))])
    pairs = zip(replies[::2], replies[1::2], strict=True)
    return [State(integer(size), None if newest is None else raw(newest)) for size, newest in pairs]


def in_progress(client: Client, queue: str, process_id: str, skip: int, limit: int) -> list[bytes]:
    """Return `limit` jobs that the original has in progress, newest first, after the first `skip`.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    key = client.keys.go_in_progress(queue, process_id)
    return [raw(job) for job in items(client.command("LRANGE", key, skip, skip + limit - 1))]


def give_back(client: Client, queue: str, process_id: str, most: int) -> GiveBackResult:
    """Move up to `most` jobs in progress back to their queue, where the oldest is the next to be taken.

    They are recorded as having perhaps run. Raise `StoreUnavailable` half way: what was moved is moved, call it again.
    """
    keys = client.keys
    source = keys.go_in_progress(queue, process_id)
    fixed = [source, keys.queue(queue), keys.queues, keys.recoveries(time_s(client)), keys.recoveries_version]
    moved = 0
    while moved < most:
        wanted = min(most - moved, MOVE_BATCH)
        count, why = pair(client.run("migrate_list", fixed, [queue, wanted, f"go-workers:{queue}:{process_id}"]))
        moved += integer(count)
        if why:
            return GiveBackResult(moved, text(why))
        if integer(count) < wanted:
            break
    return GiveBackResult(moved, None)


def retries(client: Client, skip: int, limit: int) -> list[bytes]:
    """Return `limit` members of the original's retry set after the first `skip`, next due first.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    return [raw(job) for job in items(client.command("ZRANGE", client.keys.go_retry, skip, skip + limit - 1))]


def retry_count(client: Client) -> int:
    """Return how many jobs the original would try again. Raise `StoreUnavailable` or `StoreRefused`."""
    return integer(client.command("ZCARD", client.keys.go_retry))


def transfer(client: Client, transfers: Sequence[Transfer]) -> list[Code]:
    """Move each member by itself, those for `retry` with their scores, and return one code for each.

    Raise `StoreUnavailable`: call it again, `Gone` is then fine.
    """
    keys = client.keys
    fixed = [keys.go_retry, keys.sorted_set("retry"), keys.sorted_set("dead"), keys.dead_copies]
    codes: list[Code] = []
    for start in range(0, len(transfers), MOVE_BATCH):
        arguments: list[Argument] = []
        for one in transfers[start : start + MOVE_BATCH]:
            arguments += [one.old, one.new, "" if one.dead_score is None else as_score(one.dead_score)]
        codes += [as_code(code) for code in items(client.run("migrate_set", fixed, arguments))]
    return codes


def fetchers(client: Client) -> tuple[str, ...] | None:
    """Return the connections that take jobs from lists of this database as go-workers does, with BRPOPLPUSH.

    None: Redis does not allow the question. Each is described for people. Programs that use BRPOPLPUSH for something
    else are among them. A connection keeps its last command, so a broker that is busy with all its jobs is seen too;
    one whose machine is gone is listed until Redis notices (tcp-keepalive, 300 s). Raise `StoreUnavailable`.
    """
    try:
        own = _connection(text(client.command("CLIENT", "INFO")))
        others = [_connection(line) for line in text(client.command("CLIENT", "LIST")).splitlines()]
    except StoreRefused:
        return None
    return tuple(
        f"{one.get('addr')} (idle for {duration_text(int(one.get('idle') or 0))})"
        for one in others
        if one.get("db") == own.get("db") and one.get("cmd", "").lower() == _FETCHING
    )


def _connection(line: str) -> dict[str, str]:
    # id=3 addr=127.0.0.1:40562 … db=0 … cmd=brpoplpush user=default …
    return dict(part.split("=", 1) for part in line.split() if "=" in part)
