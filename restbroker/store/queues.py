"""Pushing jobs, sizes of queues, and waiting for an answer. Used by `operate`, `rosters` and the pages.

Always holds: a queue's name is in the set of queues before or together with its first job, or Sidekiq Web would not
show it. Whoever looks at the jobs of a queue counts them first (`waiting_of`), or calls `empty_hands`: what lies in its
hand is in the list then.
"""

import math
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import orjson

from restbroker.errors import StoreRefused
from restbroker.job import expiry
from restbroker.job.claims import KEY_FIELD, LOCK_FIELD, Lock
from restbroker.job.fairness import BEFORE_ORDER
from restbroker.job.rubyjson import object_of
from restbroker.light import frozen
from restbroker.store.client import LONGEST_BLOCK_S, Argument, Client, Reply, as_score, integer, items, pair, raw, text
from restbroker.store.client import names as texts
from restbroker.store.key_types import types
from restbroker.store.keys import QueueName, RedisKeys
from restbroker.store.tickets import MAX_BYTES


@frozen
class HeldLock:
    """The lock that another job holds. `is_stale`: it is so old that this job may have been deleted by now."""

    value: str
    is_stale: bool


@frozen
class QueueSize:
    """How many jobs wait in a queue's list, and in its lines."""

    in_list: int
    in_lines: int

    @property
    def total(self) -> int:
        """How many wait in both."""
        return self.in_list + self.in_lines


LEAST_MILLISECONDS = 100_000_000_000
"""The least number that is read as milliseconds, as version 8 of Sidekiq writes times; older ones write seconds."""


_HEADS: Final = 50
STOPPED: Final = 1e12
"""A key that stopped has this, and the time at which it did, in place of the time at which it is due."""
IN_PROGRESS: Final = 2e12
"""Likewise a key of which a job is in progress (both: `scripts/parts/states.lua`)."""
_REMEMBERED_S: Final = 60.0
"""For how long a push is remembered, so that it can be repeated: longer than anyone repeats one, and waits for it."""


def push(client: Client, queue: str, payloads: Sequence[bytes]) -> int:
    """Push complete jobs in their order, all or none, and return the queue's size after it.

    Raise `StoreUnavailable`: they may have been pushed. Raise `StoreRefused` if Redis refuses it.
    """
    keys = client.keys
    if not payloads:
        return integer(client.command("LLEN", keys.queue(queue)))
    replies = client.transaction([("SADD", keys.queues, queue), ("LPUSH", keys.queue(queue), *payloads)])
    return integer(replies[1])


def push_once(
    client: Client, queue: str, jid: str, payload: bytes, *, at_s: float | None, lock: Lock | None, over: str = ""
) -> HeldLock | None:
    """Push a complete job, or schedule it, and take its lock; return None, or the lock if another job holds it.

    `over`: the value with which it is taken over, since the job that holds it is nowhere (`store.holders`).

    May be called again, with the same arguments, within a minute after `StoreUnavailable`: it is pushed once. Raise
    `StoreRefused`: it was not pushed.
    """
    keys = client.keys
    place = keys.queue(queue) if at_s is None else keys.sorted_set("schedule")
    names = [keys.push_note(jid), keys.queues, place]
    arguments: list[Argument] = [jid, round(_REMEMBERED_S * 1000), queue, "" if at_s is None else as_score(at_s)]
    arguments.append(payload)
    if lock is not None:
        names.append(keys.lock(lock.name))
        arguments += [round(lock.keep_s * 1000), over]
    reply = client.run("push", names, arguments)
    if isinstance(reply, bytes):
        raise StoreRefused(f"Redis refuses it: {text(reply)}", "Check that key, and find out who wrote it.")
    if not isinstance(reply, list):
        return None
    value, is_stale = pair(reply)
    return HeldLock(text(value), is_stale == 1)


def schedule(client: Client, payload: bytes, at_s: float) -> bool:
    """Put a job (with its `queue`, without `at`) into the schedule set, due at `at_s` (epoch seconds).

    False: it is there already. Raise `StoreUnavailable` or `StoreRefused`.
    """
    key = client.keys.sorted_set("schedule")
    return client.command("ZADD", key, "NX", as_score(at_s), payload) == 1


def empty_hands(client: Client, queues: Collection[str]) -> None:
    """Put back what lies in the hands of queues: jobs that woke a fetch which did not run, as its process had died.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    hands = [client.keys.hand(queue) for queue in queues]
    if hands and client.command("EXISTS", *hands) != 0:
        client.run("empty_hands", [*hands, *map(client.keys.queue, queues)], [])


def sizes(client: Client, queues: Sequence[str]) -> Mapping[str, int | None]:
    """Return how many jobs wait in each queue; None for one whose key is no list.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    return sizes_of(client, {queue: client.keys.queue(queue) for queue in queues})


def size(client: Client, queue: QueueName) -> int | None:
    """Return how many jobs wait in a queue, whose name may be no UTF-8; None: its key is no list.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    shown = queue if isinstance(queue, str) else text(queue)
    return sizes_of(client, {shown: client.keys.queue_of(queue)})[shown]


def sizes_of(client: Client, lists: Mapping[str, QueueName]) -> Mapping[str, int | None]:
    """Return how many jobs wait in each list (queue → key) and its lines; None for a key that is no list.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    return {queue: None if size is None else size.total for queue, size in waiting_of(client, lists).items()}


def waiting_of(client: Client, lists: Mapping[str, QueueName]) -> Mapping[str, QueueSize | None]:
    """Return how many jobs wait in each list (queue → key) and in its lines; None for a key that is no list.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    empty_hands(client, lists)
    of_lines = {queue: client.keys.key_queue(queue) for queue in lists}
    found: dict[QueueName, str] = {**types(client, [*lists.values(), *of_lines.values()])}
    known = {queue: key for queue, key in lists.items() if found.get(key, "list") == "list"}
    with_lines = {queue: of_lines[queue] for queue in known if found.get(of_lines[queue]) == "string"}
    commands = [*(("LLEN", key) for key in known.values()), *(("GET", key) for key in with_lines.values())]
    replies = [integer(reply or 0) for reply in client.commands(commands)]
    in_lines = dict(zip(with_lines, replies[len(known) :], strict=True))
    counted = {queue: QueueSize(jobs, in_lines.get(queue, 0)) for queue, jobs in zip(known, replies, strict=False)}
    return {queue: counted.get(queue) for queue in lists}


def keys_of(client: Client, queues: Sequence[str], odd: Mapping[str, bytes]) -> Mapping[str, QueueName]:
    """Return the key of each queue's list. `odd`: names that are no UTF-8, as `odd_names` returns them.

    Nothing is sent to Redis, and nothing is raised.
    """
    return {queue: client.keys.queue_of(odd.get(queue, queue)) for queue in queues}


def names(client: Client) -> frozenset[str]:
    """Return every queue that a client has announced. Raise `StoreUnavailable` or `StoreRefused`."""
    return texts(client.command("SMEMBERS", client.keys.queues))


def read_odd_names(client: Client) -> Mapping[str, bytes]:
    """Return the announced or paused queues whose names are no UTF-8: how each is shown → its name.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    keys = client.keys
    return odd_names(client.commands([("SMEMBERS", keys.queues), ("SMEMBERS", keys.paused_queues)]))


def odd_names(replies: Iterable[Reply]) -> Mapping[str, bytes]:
    """Return the names in these sets that are no UTF-8: how each is shown → the name."""
    found = (raw(name) for reply in replies for name in items(reply))
    # Of two that are shown alike, the one that nothing is done to (`operate.names`).
    return {shown: name for name in sorted(found, key=looks_escaped) if (shown := text(name)).encode() != name}


def looks_escaped(name: bytes) -> bool:
    """Tell whether a name looks like one that is no UTF-8 and is shown with escapes."""
    return b"\\x" in name


def is_known(client: Client, queue: str) -> bool:
    """Tell whether a queue of this very name is announced or paused, or has a key.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    keys = client.keys
    commands = [
        ("SISMEMBER", keys.queues, queue),
        ("SISMEMBER", keys.paused_queues, queue),
        ("EXISTS", keys.queue(queue), keys.key_queue(queue)),
    ]
    return any(client.commands(commands))


def peek(client: Client, queue: QueueName, skip: int, limit: int, *, newest_first: bool = False) -> list[bytes]:
    """Return up to `limit` jobs after the first `skip`, the next one to be taken first. They stay where they are.

    With `newest_first`, those that were pushed last come first. There are fewer if they are large, and none at the end.
    Raise `StoreUnavailable` or `StoreRefused`.
    """
    order = "newest" if newest_first else "next"
    reply = client.run("listed", [client.keys.queue_of(queue)], [order, skip, limit, MAX_BYTES])
    return [raw(job) for job in items(reply)]


def newest(client: Client, queue: QueueName) -> bytes | None:
    """Return the job that was pushed last, of those that wait in a queue; None: the queue is empty.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    job = client.command("LINDEX", client.keys.queue_of(queue), 0)
    return None if job is None else raw(job)


def clear(
    client: Client, queue: QueueName, last: bytes, most: int, job_key: bytes | None = None, target: str | None = None
) -> tuple[int, int, list[bytes]]:
    """Delete at most `most` jobs that wait in a queue's list, the oldest first: the job `last`, and those before it.

    `job_key`: those in the line of this one, which `target` serves, are meant instead. There are fewer if they are
    large. Return how many were deleted, how many of these are left, and the deleted ones that may hold a lock or claim
    (`job.claims`). Raise `StoreUnavailable`: they may be gone.
    """
    keys, shown = client.keys, queue if isinstance(queue, str) else text(queue)
    place = keys.queue_of(queue) if job_key is None else key_queue_of(keys, shown, job_key)
    names = [place, keys.pace(shown), keys.ready_keys(shown), keys.key_queue(shown), keys.busy_keys(target or "")]
    meant = b"" if job_key is None else b"=" + job_key
    arguments: list[Argument] = [meant, last, most, MAX_BYTES, f'"{LOCK_FIELD}"', f'"{KEY_FIELD}"']
    deleted, left, held = items(client.run("clear", names, arguments), 3)
    return integer(deleted), integer(left), [raw(job) for job in items(held)]


def key_queue_of(keys: RedisKeys, queue: str, job_key: bytes) -> bytes:
    """Return the Redis key of the list of a job's key in this queue (`key_queues`)."""
    return f"{keys.key_queue(queue)}{BEFORE_ORDER}".encode() + job_key


def jobs_at(client: Client, places: Sequence[tuple[QueueName, int]]) -> Sequence[Reply]:
    """Return the jobs at these places: a list's key, and the number of a job there; 0 is the newest, -1 the next one.

    b"" for one that this call has no room for; None: there is none, or the key is no list that may be read. Raise
    `StoreUnavailable` or `StoreRefused`.
    """
    return items(client.run("jobs_at", [key for key, _ in places], [MAX_BYTES, *(place for _, place in places)]))


def waits_s(
    client: Client, lists: Mapping[str, QueueName], now_s: float, targets: Mapping[str, str]
) -> Mapping[str, float | None]:
    """Return for how long the oldest of each queue's next jobs has been waiting, as `latency_s` does.

    `targets` as in `next_jobs`. Raise `StoreUnavailable` or `StoreRefused`.
    """
    found = next_jobs(client, lists, targets)
    return {queue: longest_wait_s(jobs, now_s) for queue, jobs in found.items()}


def next_jobs(
    client: Client, lists: Mapping[str, QueueName], targets: Mapping[str, str]
) -> Mapping[str, Sequence[Reply]]:
    """Return the next job of each list (queue → key), None for none, and the first of at most 150 of its lines.

    These are the ones that come next, that are due next, and that have been stopped for longest; `targets` are those
    that serve the queues: without one, only the first are known. Raise as `waits_s` does.
    """
    keys, heads = client.keys, jobs_at(client, [(key, -1) for key in lists.values()])
    sizes = client.commands([("GET", keys.key_queue(queue)) for queue in lists])
    found = {queue: [head] for queue, head in zip(lists, heads, strict=True)}
    places = _first_keys(client, [queue for queue, size in zip(lists, sizes, strict=True) if size], targets)
    if places:
        of_lines = jobs_at(client, [(key_queue_of(keys, queue, job_key), -1) for queue, job_key in places])
        for (queue, _), job in zip(places, of_lines, strict=True):
            found[queue] += [job] if job else []
    return found


def _first_keys(client: Client, queues: Sequence[str], targets: Mapping[str, str]) -> list[tuple[str, bytes]]:
    commands: list[tuple[Argument, ...]] = [
        ("ZRANGE", client.keys.ready_keys(queue), 0, _HEADS - 1) for queue in queues
    ]
    names = list(queues)
    for queue in queues:
        if (target := targets.get(queue)) is not None:
            for least in ("-inf", f"{STOPPED:.0f}"):
                commands.append(("ZRANGEBYSCORE", client.keys.busy_keys(target), least, "+inf", "LIMIT", 0, _HEADS))
                names.append(queue)
    replies = zip(names, client.commands(commands) if commands else (), strict=True)
    return [*dict.fromkeys((queue, raw(job_key)) for queue, reply in replies for job_key in items(reply))]


def longest_wait_s(jobs: Iterable[Reply], now_s: float) -> float | None:
    """Return for how long the oldest of these jobs has been waiting, as `latency_s` does."""
    return _longest([latency_s(job, now_s) for job in jobs])


def expired_s(jobs: Iterable[Reply], now_s: float) -> float | None:
    """Return how many seconds ago the first of these jobs expired, by their own `expiry`; None: none did."""
    # Most say nothing of it, and are not read.
    told = [object_of(job) or {} for job in jobs if isinstance(job, bytes) and b'"expiry"' in job]
    found = [expiry.read(fields, None) for fields in told]
    return max((now_s - at_s for at_s in found if isinstance(at_s, float) and at_s <= now_s), default=None)


def _longest(waits: Sequence[float | None]) -> float | None:
    known = [wait for wait in waits if wait is not None]
    # A list that is empty counts as no wait, beside lines of which no one says how long.
    return None if None in waits and not any(known) else max(known)


def latency_s(job: Reply, now_s: float) -> float | None:
    """Return how long this job has been waiting, in seconds; 0 without a job, None for one that does not say.

    Sidekiq 8 writes times in milliseconds, older ones in seconds; a bare push has `created_at` at most.
    """
    if not isinstance(job, bytes):
        return 0.0
    try:
        fields = orjson.loads(job)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(fields, dict):
        return None
    for at in (fields.get("enqueued_at"), fields.get("created_at")):
        if isinstance(at, int | float) and not isinstance(at, bool) and math.isfinite(at):
            return max(0.0, now_s - (at / 1000 if at >= LEAST_MILLISECONDS else at))
    return None


def wait_reply(client: Client, reply_id: str, timeout_s: float) -> bytes | None:
    """Wait for the detailed answer in `restbroker:reply:<reply_id>` and take it; None: none came in `timeout_s`.

    Raise `StoreUnavailable` or `StoreRefused`, and ValueError for an id that cannot be part of a key.
    """
    key = client.keys.reply(f"restbroker:reply:{reply_id}")
    deadline = time.monotonic() + timeout_s
    while True:
        # Slices: a block must end before the socket's time-out, and Ctrl-C then works everywhere. 0 would be for ever.
        slice_s = min(max(deadline - time.monotonic(), 0.01), LONGEST_BLOCK_S)
        reply = client.command("BLPOP", key, f"{slice_s:.3f}")
        if reply is not None:
            return raw(pair(reply)[1])
        if time.monotonic() >= deadline:
            return None
